"""Pre-training: the data it accepts, its augmentation, its loop, its resumption."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import safetensors.torch
import torch
from small_recipes import DINO, IBOT, SUPERVISED, KilledError, ignore, killed_after
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from benchmark.backbones.hashing import with_heads
from benchmark.backbones.load import load_backbone, weight_hash_of
from benchmark.workshop.pretrain.images import Standardise, UpstreamError, load_upstream, to_float
from benchmark.workshop.pretrain.loop import (
    CheckpointError,
    identity_of,
    load_checkpoint,
    pretrain,
)
from benchmark.workshop.pretrain.recipes import OptimizerSettings, Settings
from benchmark.workshop.pretrain.training import build_optimizer, learning_rate
from benchmark.workshop.pretrain.vit import class_token_features


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
    torch.manual_seed(4)
    whole = pretrain(settings, upstream_dir, tmp_path / "whole", ignore, threads=3)
    cut = tmp_path / "cut"
    torch.manual_seed(5)  # the global random state has no part in it
    with pytest.raises(KilledError):
        pretrain(settings, upstream_dir, cut, killed_after(1), threads=1)
    epochs: list[int] = []
    resumed = pretrain(settings, upstream_dir, cut, lambda report: epochs.append(report.epoch))
    assert epochs == list(range(2, settings.epochs + 1))
    assert resumed.weight_hash == whole.weight_hash
    assert [p.figures for p in resumed.curve] == [p.figures for p in whole.curve]
    weights = f"file:{cut / 'small.safetensors'}"
    backbone = load_backbone(weights)
    assert backbone.spec.shape == settings.shape
    heads = settings.shape.num_heads
    assert backbone.weight_hash == weight_hash_of(weights)
    assert backbone.weight_hash == with_heads(resumed.weight_hash, heads)
    stored = safetensors.torch.load_file(cut / "small.safetensors")
    assert {value.dtype for value in stored.values()} == {torch.bfloat16}
    for name, value in backbone.model.state_dict().items():
        assert value.dtype == torch.float32 and torch.equal(value, stored[name].float())
    card = (cut / "small.md").read_text(encoding="utf-8")
    assert resumed.weight_hash in card
    assert json.loads((cut / "small.json").read_text())["weight_hash"] == resumed.weight_hash
    again = f"clbench pretrain {settings.objective} --epochs {settings.epochs} --decay-epochs "
    assert again in card
    supervised = settings is SUPERVISED
    assert ("Upstream validation accuracy" if supervised else "upstream linear probe") in card
    assert ("masked" in card) == (settings is IBOT)


def test_longer_training_repeats_a_shorter_one_until_its_decay(
    upstream_dir: Path, tmp_path: Path
) -> None:
    weights = []
    for epochs in (4, 7):
        settings = replace(SUPERVISED, epochs=epochs, optimizer=OptimizerSettings(decay_epochs=1.0))
        folder = tmp_path / str(epochs)
        with pytest.raises(KilledError):
            pretrain(settings, upstream_dir, folder, killed_after(3))
        identity = identity_of(asdict(settings), load_upstream(upstream_dir).digest)
        saved = load_checkpoint(folder / "small.checkpoint", identity)
        assert saved is not None
        weights.append(saved["backbone"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_checkpoint_of_other_settings_is_refused(upstream_dir: Path, tmp_path: Path) -> None:
    pretrain(replace(SUPERVISED, epochs=1), upstream_dir, tmp_path, ignore)
    with pytest.raises(CheckpointError, match="other settings"):
        pretrain(replace(SUPERVISED, epochs=2), upstream_dir, tmp_path, ignore)


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
