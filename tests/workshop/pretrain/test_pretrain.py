"""Pre-training: the data it accepts, its augmentation, its loop, its resumption."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from small_recipes import DINO, IBOT, SUPERVISED, ignore
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from benchmark.backbones.load import load_backbone, weight_hash_of
from benchmark.workshop.pretrain.images import Standardise, UpstreamError, load_upstream, to_float
from benchmark.workshop.pretrain.loop import (
    CheckpointError,
    OnEpoch,
    identity_of,
    load_checkpoint,
)
from benchmark.workshop.pretrain.optimize import (
    OptimizerSettings,
    build_optimizer,
    learning_rate,
)
from benchmark.workshop.pretrain.recipes import Settings, SupervisedSettings
from benchmark.workshop.pretrain.record import EpochReport, PretrainRecord
from benchmark.workshop.pretrain.selfsupervised import pretrain_selfsupervised
from benchmark.workshop.pretrain.supervised import pretrain_supervised
from benchmark.workshop.pretrain.vit import class_token_features


class KilledError(RuntimeError):
    """Stands for a process that is killed."""


def test_to_float_moves_channels_and_range() -> None:
    images = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    moved = to_float(images)
    assert moved.shape == (2, 3, 4, 5)
    assert moved[1, 2, 3, 4] == images[1, 3, 4, 2] / 255


def test_short_last_block_equals_the_whole_model() -> None:
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=32, depth=3, num_heads=2, num_classes=0
    ).eval()
    images = torch.rand(4, 3, 16, 16)
    torch.testing.assert_close(class_token_features(model, images), model(images))


def test_folded_standardisation_gives_the_same_features() -> None:
    torch.manual_seed(0)
    images = torch.randint(128, 256, (8, 16, 16, 3), dtype=torch.uint8)
    standardise = Standardise.of(images)
    plain = to_float(images)
    standard = standardise(plain)
    torch.testing.assert_close(standard.mean(dim=(0, 2, 3)), torch.zeros(3), rtol=0, atol=1e-5)
    torch.testing.assert_close(standard.var(dim=(0, 2, 3)), torch.ones(3), rtol=0, atol=1e-3)
    projection = nn.Conv2d(3, 5, 8, stride=8)
    before = projection(standard)
    standardise.fold_into(projection)
    torch.testing.assert_close(projection(plain), before, rtol=1e-4, atol=1e-5)


def test_weight_decay_is_for_matrices_only() -> None:
    model = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=32, depth=1, num_heads=2, num_classes=0
    )
    decayed, free = build_optimizer([model], OptimizerSettings()).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all(names[id(p)].endswith("weight") for p in decayed["params"])
    assert {"cls_token", "pos_embed", "norm.weight"} <= {names[id(p)] for p in free["params"]}
    assert free["weight_decay"] == 0.0


def test_schedule_warms_up_and_ends_at_zero() -> None:
    settings = OptimizerSettings(learning_rate=1.0, warmup_epochs=2, decay_epochs=5)
    rates = [learning_rate(settings, step, 100, 10) for step in range(101)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) == rates[20] == rates[50] == pytest.approx(1.0)
    assert rates[75] == pytest.approx(0.5)
    assert rates[100] == pytest.approx(0.0)


@pytest.mark.parametrize("settings", [SUPERVISED, DINO, IBOT], ids=["sup", "dino", "ibot"])
def test_resumed_run_ends_at_the_same_bits_whatever_the_threads(
    settings: Settings, upstream_dir: Path, tmp_path: Path
) -> None:
    def run(folder: str, on_epoch: OnEpoch, threads: int | None = None) -> PretrainRecord:
        if isinstance(settings, SupervisedSettings):
            return pretrain_supervised(settings, upstream_dir, tmp_path / folder, on_epoch, threads)
        return pretrain_selfsupervised(settings, upstream_dir, tmp_path / folder, on_epoch, threads)

    def cut(report: EpochReport) -> None:
        if report.epoch == 1:
            raise KilledError

    whole = run("whole", ignore, threads=3)
    torch.manual_seed(5)
    with pytest.raises(KilledError):
        run("cut", cut, threads=1)
    epochs: list[int] = []
    resumed = run("cut", lambda report: epochs.append(report.epoch))
    assert epochs == list(range(2, settings.epochs + 1))
    assert resumed.weight_hash == whole.weight_hash
    assert [p.figures for p in resumed.curve] == [p.figures for p in whole.curve]
    backbone = load_backbone(f"file:{tmp_path / 'cut' / 'small.safetensors'}")
    assert backbone.spec.shape == settings.shape
    card = (tmp_path / "cut" / "small.md").read_text(encoding="utf-8")
    again = f"clbench pretrain {settings.objective} --epochs {settings.epochs} --decay-epochs "
    assert again in card
    supervised = settings is SUPERVISED
    assert ("Upstream validation accuracy" if supervised else "upstream linear probe") in card
    assert ("masked" in card) == (settings is IBOT)


def test_longer_training_repeats_a_shorter_one_until_its_decay(
    upstream_dir: Path, tmp_path: Path
) -> None:
    def cut(report: EpochReport) -> None:
        if report.epoch == 3:
            raise KilledError

    weights = []
    for epochs in (4, 7):
        settings = replace(SUPERVISED, epochs=epochs, optimizer=OptimizerSettings(decay_epochs=1.0))
        folder = tmp_path / str(epochs)
        with pytest.raises(KilledError):
            pretrain_supervised(settings, upstream_dir, folder, cut)
        identity = identity_of(asdict(settings), load_upstream(upstream_dir).digest)
        saved = load_checkpoint(folder / "small.checkpoint", identity)
        assert saved is not None
        weights.append(saved["backbone"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_checkpoint_of_other_settings_is_refused(upstream_dir: Path, tmp_path: Path) -> None:
    pretrain_supervised(replace(SUPERVISED, epochs=1), upstream_dir, tmp_path, ignore)
    with pytest.raises(CheckpointError, match="other settings"):
        pretrain_supervised(replace(SUPERVISED, epochs=2), upstream_dir, tmp_path, ignore)
    (tmp_path / "small.checkpoint").write_bytes(b"half a file")
    with pytest.raises(CheckpointError, match="cannot be read"):
        pretrain_supervised(replace(SUPERVISED, epochs=1), upstream_dir, tmp_path, ignore)


def test_written_weights_load_with_the_recorded_hash(upstream_dir: Path, tmp_path: Path) -> None:
    record = pretrain_supervised(replace(SUPERVISED, epochs=1), upstream_dir, tmp_path, ignore)
    name = f"file:{tmp_path / 'small.safetensors'}"
    backbone = load_backbone(name)
    assert backbone.spec.shape == SUPERVISED.shape
    assert backbone.weight_hash == weight_hash_of(name) == record.weight_hash
    card = (tmp_path / "small.md").read_text(encoding="utf-8")
    assert record.weight_hash in card
    assert (tmp_path / "small.json").is_file()


def test_training_does_not_depend_on_the_global_random_state(
    upstream_dir: Path, tmp_path: Path
) -> None:
    hashes = set()
    for seed in (1, 2):
        torch.manual_seed(seed)
        folder = tmp_path / str(seed)
        settings = replace(SUPERVISED, epochs=1)
        hashes.add(pretrain_supervised(settings, upstream_dir, folder, ignore).weight_hash)
    assert len(hashes) == 1


def test_upstream_faults_are_named(upstream_dir: Path) -> None:
    (upstream_dir / "val_images.npy").write_bytes(b"cut")
    with pytest.raises(UpstreamError, match=r"val_images\.npy: cannot be read"):
        load_upstream(upstream_dir)
    (upstream_dir / "val_images.npy").unlink()
    with pytest.raises(UpstreamError, match=r"lacks val_images\.npy"):
        load_upstream(upstream_dir)


def test_labels_beyond_the_classes_are_refused(upstream_dir: Path) -> None:
    (upstream_dir / "classes.txt").write_text("a\nb\n", encoding="utf-8")
    with pytest.raises(UpstreamError, match=r"labels 0\.\.3 do not fit 2 classes"):
        load_upstream(upstream_dir)
