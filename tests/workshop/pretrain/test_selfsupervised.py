"""Self-supervised pre-training: the equations, what reaches training, resumption, collapse."""

from __future__ import annotations

import inspect
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from small_recipes import DINO, IBOT, KilledError, ignore, killed_after
from torch import Tensor

from benchmark.backbones.catalogue import VitShape
from benchmark.cli import main
from benchmark.cli import pretrain as cli_pretrain
from benchmark.data import icons, letters
from benchmark.workshop.pretrain import recipes
from benchmark.workshop.pretrain.augment import MaskSettings
from benchmark.workshop.pretrain.distillation import (
    MissingLibraryError,
    spread,
    teacher_momentum,
    teacher_temperature,
    used_prototypes,
)
from benchmark.workshop.pretrain.loop import CheckpointError, pretrain
from benchmark.workshop.pretrain.recipes import TINY_DINO, TINY_IBOT, SelfSupervisedSettings
from benchmark.workshop.pretrain.selfsupervised import SelfSupervisedTraining
from benchmark.workshop.pretrain.vit import embed, new_backbone


def images(count: int = 24) -> Tensor:
    """Random images uint8 [N, 16, 16, 3]."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (count, 16, 16, 3), dtype=torch.uint8, generator=generator)


def training_of(settings: SelfSupervisedSettings, count: int = 24) -> SelfSupervisedTraining:
    """A training at its start, on random images and one thread."""
    return SelfSupervisedTraining(settings, images(count), ThreadPoolExecutor(1))


@pytest.mark.parametrize("settings", [DINO, IBOT], ids=["dino", "ibot"])
def test_spreading_weight_reaches_the_class_tokens(settings: SelfSupervisedSettings) -> None:
    losses = {
        weight: training_of(replace(settings, spreading_weight=weight, epochs=1), 12).epoch(0)[
            "loss"
        ]
        for weight in (0.0, 0.1, 0.2)
    }
    assert losses[0.1] != losses[0.0]
    assert losses[0.2] - losses[0.0] == pytest.approx(2 * (losses[0.1] - losses[0.0]), rel=1e-4)


def test_schedules_of_the_teacher() -> None:
    settings = replace(DINO, epochs=10, teacher_temperature=(0.04, 0.06), temperature_warmup=4.0)
    found = [teacher_temperature(settings, step, 10) for step in (0, 20, 40, 90)]
    assert found == pytest.approx([0.04, 0.05, 0.06, 0.06])
    momenta = [teacher_momentum(settings, step, 100, 10) for step in range(100)]
    plateau = 100 - 10 * round(settings.optimizer.decay_epochs)
    assert momenta[: plateau + 1] == pytest.approx([settings.teacher_momentum] * (plateau + 1))
    assert momenta == sorted(momenta)
    assert momenta[-1] == pytest.approx(1.0)


def test_centres_move_with_the_teachers_scores_and_are_part_of_the_state() -> None:
    training = training_of(IBOT)
    assert not training.view_loss.center.any()
    training.epoch(0)
    again = training_of(IBOT)
    again.restore(training.state())
    for part in (training, again):
        assert part.view_loss.center.any() and part.patch_loss.center.value.any()
    assert torch.equal(again.view_loss.center, training.view_loss.center)


def test_a_step_without_masked_patches_leaves_everything_finite() -> None:
    training = training_of(replace(IBOT, masks=MaskSettings(views=0.0)))
    assert np.isfinite(training.epoch(0)["loss"])
    assert bool(training.patch_loss.center.value.isfinite().all())


def test_without_the_library_the_extra_is_named(
    upstream_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightly.loss", None)
    with pytest.raises(MissingLibraryError, match=r"clbench\[pretrain\]"):
        pretrain(DINO, upstream_dir, tmp_path / "out", ignore, threads=1)


def test_signs_of_collapse() -> None:
    assert spread(torch.ones(50, 8) * torch.rand(50, 1)) == pytest.approx(0.0, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    assert spread(torch.randn(4000, 8, generator=generator)) == pytest.approx(1.0, abs=0.05)
    assert used_prototypes(torch.eye(10)) == pytest.approx(10.0)
    assert used_prototypes(torch.eye(10)[[3, 3]]) == pytest.approx(1.0)


def test_masked_patches_reach_nothing() -> None:
    torch.manual_seed(0)
    backbone = new_backbone(DINO.shape)
    masked = torch.tensor([[True, False, False, True]])
    first, second = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    second[:, :, :8, 8:], second[:, :, 8:, :8] = first[:, :, :8, 8:], first[:, :, 8:, :8]
    token = torch.rand(32)
    results = [
        backbone.norm(backbone.blocks(embed(backbone, views, masked, token)))
        for views in (first, second)
    ]
    torch.testing.assert_close(results[0], results[1])


def test_masks_are_the_students_only(monkeypatch: pytest.MonkeyPatch) -> None:
    training = training_of(IBOT)
    for network in (training.student, training.teacher):
        watched = Mock(wraps=network.features_with_patches)
        monkeypatch.setattr(network, "features_with_patches", watched)
    training.epoch(0)
    for network, hidden in ((training.student, True), (training.teacher, False)):
        assert {call.kwargs["hide"] for call in network.features_with_patches.mock_calls} == {
            hidden
        }


@pytest.mark.parametrize("settings", [DINO, IBOT], ids=["dino", "ibot"])
def test_teacher_gets_no_gradient_and_prototypes_wait(settings: SelfSupervisedSettings) -> None:
    training = training_of(settings)
    teacher = [p.clone() for p in training.teacher.parameters()]
    prototypes = training.student.head.last_layer.weight_v.clone()
    first = training.student.backbone.patch_embed.proj.weight.clone()
    training.epoch(0)
    assert torch.equal(training.student.head.last_layer.weight_v, prototypes)
    assert not torch.equal(training.student.backbone.patch_embed.proj.weight, first)
    training.epoch(1)
    assert not torch.equal(training.student.head.last_layer.weight_v, prototypes)
    assert all(p.grad is None and not p.requires_grad for p in training.teacher.parameters())
    after = list(training.teacher.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(teacher, after, strict=True))


def test_no_label_reaches_training(upstream_dir: Path, tmp_path: Path) -> None:
    parameters = inspect.signature(SelfSupervisedTraining).parameters
    assert list(parameters) == ["settings", "images", "pool"]
    hashes = []
    for part in ("one", "two"):
        record = pretrain(replace(DINO, epochs=1), upstream_dir, tmp_path / part, ignore, threads=1)
        hashes.append(record.weight_hash)
        labels = np.load(upstream_dir / "train_labels.npy")
        np.save(upstream_dir / "train_labels.npy", labels[::-1].copy())
    assert hashes[0] == hashes[1]


def test_run_may_be_ended_early_before_its_decay_only(upstream_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        long = replace(DINO, epochs=9, optimizer=replace(DINO.optimizer, decay_epochs=4.0))
        pretrain(long, upstream_dir, tmp_path / "cut", killed_after(2), threads=1)
    ended = pretrain(DINO, upstream_dir, tmp_path / "cut", ignore, threads=1)
    direct = pretrain(DINO, upstream_dir, tmp_path / "direct", ignore, threads=1)
    assert ended.weight_hash == direct.weight_hash
    longer = replace(DINO, epochs=4, optimizer=replace(DINO.optimizer, decay_epochs=2.0))
    with pytest.raises(CheckpointError, match="3 of 3 epochs are done"):
        pretrain(longer, upstream_dir, tmp_path / "cut", ignore)
    with pytest.raises(CheckpointError, match="3 of 3 epochs are done"):
        pretrain(replace(DINO, epochs=5), upstream_dir, tmp_path / "cut", ignore)


def test_recipes_are_of_one_architecture() -> None:
    assert (TINY_DINO.name, TINY_DINO.objective) == ("tiny_dino", "dino")
    assert (TINY_IBOT.name, TINY_IBOT.objective) == ("tiny_ibot", "ibot")
    assert TINY_DINO.shape == TINY_IBOT.shape == VitShape()
    assert sum(p.numel() for p in new_backbone(TINY_DINO.shape).parameters()) == 1_216_896


def test_command_line_writes_weights_and_card(
    upstream_dir: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(recipes, "TINY_IBOT", replace(IBOT, name="toy"))
    monkeypatch.setattr(cli_pretrain, "COLLAPSED", 2.0)
    pair = (images(40).numpy(), np.arange(40) % 4)
    for data in (icons, letters):
        monkeypatch.setattr(data, "load_split", lambda part: pair)
    out = tmp_path / "out"
    options = ["--upstream", str(upstream_dir), "--out", str(out), "--epochs", "1"]
    assert main(["pretrain", "ibot", *options, "--threads", "1"]) == 0
    shown = capsys.readouterr()
    assert "epoch 1/1: loss" in shown.out
    assert "linear probe" in shown.out
    assert "has collapsed" in shown.err
    card = (out / "toy.md").read_text(encoding="utf-8")
    assert "| linear probe |" in card
    assert "7 bear the name of a class" in card
