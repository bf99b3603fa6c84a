"""Self-supervised pre-training: the equations, what reaches training, resumption, collapse."""

from __future__ import annotations

import inspect
import math
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
from benchmark.data import icons
from benchmark.workshop.pretrain import recipes
from benchmark.workshop.pretrain.images import UpstreamImages
from benchmark.workshop.pretrain.loop import CheckpointError, pretrain
from benchmark.workshop.pretrain.losses import (
    HeadSettings,
    ProjectionHead,
    balanced_probabilities,
    follow,
    patch_loss,
    spread,
    spreading_loss,
    teacher_momentum,
    teacher_probabilities,
    teacher_temperature,
    used_prototypes,
    view_loss,
)
from benchmark.workshop.pretrain.probe import curve_split
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


def softmax(row: np.ndarray) -> np.ndarray:
    powers = np.exp(row - row.max())
    return np.asarray(powers / powers.sum())


def test_view_loss_is_the_mean_cross_entropy_over_pairs_of_different_views() -> None:
    random = np.random.default_rng(0)
    teacher, student, centre = (random.normal(size=shape) for shape in ((2, 3, 5), (4, 3, 5), (5,)))
    expected, pairs = 0.0, 0
    for t in range(2):
        for v in range(4):
            if t == v:
                continue
            pairs += 1
            for image in range(3):
                p = softmax((teacher[t, image] - centre) / 0.04)
                q = softmax(student[v, image] / 0.1)
                expected -= float((p * np.log(q)).sum()) / 3
    target = teacher_probabilities(torch.tensor(teacher), torch.tensor(centre), 0.04)
    found = view_loss(target, torch.tensor(student), 0.1)
    assert float(found) == pytest.approx(expected / pairs, rel=1e-10)


def test_patch_loss_is_the_mean_over_the_masked_patches_of_each_view() -> None:
    random = np.random.default_rng(1)
    masked = np.array([[True, False, True, True], [False] * 4, [False, False, False, True]])
    teacher, student = random.normal(size=(3, 4, 6)), random.normal(size=(3, 4, 6))
    expected = 0.0
    for view in range(3):
        losses = [
            -float(
                (softmax(teacher[view, i] / 0.05) * np.log(softmax(student[view, i] / 0.1))).sum()
            )
            for i in range(4)
            if masked[view, i]
        ]
        expected += sum(losses) / max(1, len(losses)) / 3
    where = torch.tensor(masked)
    target = teacher_probabilities(torch.tensor(teacher)[where], torch.zeros(6), 0.05)
    found = patch_loss(target, torch.tensor(student)[where], 0.1, where)
    assert float(found) == pytest.approx(expected, rel=1e-10)


def test_centre_and_temperature_work_against_the_two_collapses() -> None:
    scores = torch.tensor([[3.0, 0.1, 0.0], [3.0, 0.0, 0.1]])
    plain = teacher_probabilities(scores, torch.zeros(3), 0.1)
    assert plain.argmax(dim=1).tolist() == [0, 0]
    centred = teacher_probabilities(scores, scores.mean(dim=0), 0.01)
    assert centred.argmax(dim=1).tolist() == [1, 2]
    assert centred.max() > teacher_probabilities(scores, scores.mean(dim=0), 0.1).max()


def test_balanced_probabilities_use_every_prototype() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 0.1 * torch.randn(60, 6, generator=generator)
    scores[:, 0] += 0.5  # alone, one prototype would take all
    found = balanced_probabilities(scores, 0.1, rounds=50)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(60))
    torch.testing.assert_close(found.sum(dim=0), torch.full((6,), 10.0), rtol=1e-3, atol=0)
    # Scaling rows and columns leaves the cross ratios as they were.
    logs, plain = found.log(), scores / 0.1
    expected = plain[0, 1] - plain[0, 2] - plain[1, 1] + plain[1, 2]
    torch.testing.assert_close(logs[0, 1] - logs[0, 2] - logs[1, 1] + logs[1, 2], expected)
    assert balanced_probabilities(torch.zeros(0, 6), 0.1).shape == (0, 6)


def test_spreading_loss_is_the_mean_log_distance_to_the_nearest_neighbour() -> None:
    angles = torch.tensor([0.0, 0.3, 1.0], dtype=torch.float64)
    lengths = torch.tensor([[1.0], [5.0], [0.2]], dtype=torch.float64)  # without effect
    features = lengths * torch.stack([angles.cos(), angles.sin()], dim=1)
    chords = [2 * math.sin(0.15), 2 * math.sin(0.15), 2 * math.sin(0.35)]
    expected = -sum(map(math.log, chords)) / 3
    assert float(spreading_loss(features)) == pytest.approx(expected, rel=1e-6)
    # Its descent takes points on a line apart, in all directions there are.
    points = 0.01 * torch.randn(32, 8, generator=torch.Generator().manual_seed(0))
    points[:, 0] = torch.linspace(-1.0, 1.0, 32)
    points.requires_grad_()
    before = torch.linalg.svdvals(torch.nn.functional.normalize(points, dim=1).detach())
    for _ in range(50):
        (slope,) = torch.autograd.grad(spreading_loss(points), points)
        points = (points - 0.05 * slope).detach().requires_grad_()
    after = torch.linalg.svdvals(torch.nn.functional.normalize(points, dim=1).detach())
    assert after[1] / after[0] > 2 * before[1] / before[0]
    assert bool(torch.isfinite(spreading_loss(torch.ones(4, 8))))


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


def test_teacher_follows_the_student() -> None:
    slow, fast = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 2.5])
    follow([slow], [fast], momentum=0.9)
    torch.testing.assert_close(slow, torch.tensor([1.2, 2.05]))


def test_schedules_of_the_teacher() -> None:
    assert teacher_momentum(0.99, 0.0) == pytest.approx(0.99)
    assert teacher_momentum(0.99, 0.5) == pytest.approx(0.995)
    assert teacher_momentum(0.99, 1.0) == pytest.approx(1.0)
    found = [teacher_temperature(0.04, 0.06, 4.0, epoch) for epoch in (0.0, 2.0, 4.0, 9.0)]
    assert found == pytest.approx([0.04, 0.05, 0.06, 0.06])
    assert teacher_temperature(0.04, 0.06, 0.0, 0.0) in (0.04, 0.06)


def test_scores_are_cosines() -> None:
    head = ProjectionHead(8, HeadSettings(hidden=16, bottleneck=4, prototypes=6))
    scores = head(100.0 * torch.randn(5, 8))
    assert scores.shape == (5, 6)
    assert scores.abs().max() <= 1.0 + 1e-6
    with torch.no_grad():
        head.prototypes.mul_(7.0)
    again = head(torch.ones(2, 8))
    with torch.no_grad():
        head.prototypes.div_(7.0)
    torch.testing.assert_close(again, head(torch.ones(2, 8)))


def test_signs_of_collapse() -> None:
    assert spread(torch.ones(50, 8) * torch.rand(50, 1)) == pytest.approx(0.0, abs=1e-6)
    generator = torch.Generator().manual_seed(0)
    assert spread(torch.randn(4000, 8, generator=generator)) == pytest.approx(1.0, abs=0.05)
    assert used_prototypes(torch.full((10,), 0.1)) == pytest.approx(10.0)
    assert used_prototypes(torch.eye(10)[3]) == pytest.approx(1.0)


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
    prototypes = training.student.head.prototypes.clone()
    first = training.student.backbone.patch_embed.proj.weight.clone()
    training.epoch(0)
    assert torch.equal(training.student.head.prototypes, prototypes)
    assert not torch.equal(training.student.backbone.patch_embed.proj.weight, first)
    training.epoch(1)
    assert not torch.equal(training.student.head.prototypes, prototypes)
    assert all(p.grad is None and not p.requires_grad for p in training.teacher.parameters())
    after = list(training.teacher.parameters())
    assert any(not torch.equal(a, b) for a, b in zip(teacher, after, strict=True))


def test_centre_is_the_running_mean_of_the_teachers_scores(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = training_of(replace(DINO, batch_size=12, chunk_size=12), 12)
    seen: list[Tensor] = []
    original = training.teacher.scores

    def noted(views: Tensor) -> Tensor:
        seen.append(original(views))
        return seen[-1]

    monkeypatch.setattr(training.teacher, "scores", noted)
    training.epoch(0)
    torch.testing.assert_close(training.class_centre, 0.1 * seen[0].mean(dim=0))


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


def test_curve_is_measured_on_the_most_frequent_names_that_can_be_validated() -> None:
    train, val = np.array([0, 0, 0, 1, 1, 2, 2, 2, 2, 3]), np.array([0, 1, 3])
    pixels = np.arange(10, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    upstream = UpstreamImages(pixels, train, pixels[:3], val, ("a", "b", "c", "d"), "digest")
    split = curve_split(upstream, names=2)
    assert split.train_labels.tolist() == [0, 0, 0, 1, 1]
    assert split.train[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert split.test_labels.tolist() == [0, 1]


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
    monkeypatch.setattr(icons, "load_split", lambda part: pair)
    out = tmp_path / "out"
    options = ["--upstream", str(upstream_dir), "--out", str(out), "--epochs", "1"]
    assert main(["pretrain", "ibot", *options, "--threads", "1"]) == 0
    shown = capsys.readouterr()
    assert "epoch 1/1: loss" in shown.out
    assert "linear probe" in shown.out
    assert "has collapsed" in shown.err
    card = (out / "toy.md").read_text(encoding="utf-8")
    assert "Linear probe on `icons`" in card
    assert "Sinkhorn" in card
