"""Class statistics, drawn features and the training of heads on them."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.peft.alignment import (
    RIDGE,
    AlignmentConfig,
    Draws,
    Gaussians,
    align,
    load_classifier_,
    mean_scale,
    normalise,
)
from benchmark.peft.cosine import CosFace, cosines

WIDTH = 6


def gaussians(
    classes: int = 4, per_class: int = 12, dtype: torch.dtype = torch.float64
) -> Gaussians:
    """Statistics of classes with means well apart."""
    draws = torch.Generator().manual_seed(3)
    centres = 3 * torch.randn(classes, 1, WIDTH, generator=draws)
    features = centres + torch.randn(classes, per_class, WIDTH, generator=draws)
    found = Gaussians(WIDTH).to(dtype)
    found.grow(classes)
    labels = torch.arange(classes).repeat_interleave(per_class)
    found.fit(range(classes), features.flatten(0, 1).to(dtype), labels)
    return found


def heads(sizes: tuple[int, ...], dtype: torch.dtype = torch.float64) -> list[nn.Linear]:
    torch.manual_seed(4)
    return [nn.Linear(WIDTH, size, dtype=dtype) for size in sizes]


def membership(sizes: tuple[int, ...]) -> Tensor:
    task = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    return F.one_hot(task).double()


# -- statistics -----------------------------------------------------------------------------------


def test_statistics_are_mean_and_unbiased_covariance() -> None:
    torch.manual_seed(0)
    features, labels = torch.randn(20, WIDTH).double(), torch.tensor([3, 2] * 10)
    found = Gaussians(WIDTH).double()
    found.grow(4)
    found.fit(range(2, 4), features, labels)
    for c in (2, 3):
        own = features[labels == c]
        wanted = torch.cov(own.T) + RIDGE * torch.eye(WIDTH)
        assert torch.allclose(found.mean[c], own.mean(0), atol=1e-14)
        assert torch.allclose(found.factor[c] @ found.factor[c].T, wanted, atol=1e-14)
    assert not found.mean[:2].any()
    assert not found.factor[:2].any()


def test_class_with_a_single_image_has_no_spread() -> None:
    found = Gaussians(WIDTH)
    found.grow(1)
    feature = torch.randn(1, WIDTH)
    found.fit(range(1), feature, torch.tensor([0]))
    assert torch.equal(found.mean[0], feature[0])
    assert torch.allclose(found.factor[0], math.sqrt(RIDGE) * torch.eye(WIDTH))


def test_class_without_images_and_broken_features_are_reported() -> None:
    found = Gaussians(WIDTH)
    found.grow(2)
    with pytest.raises(ValueError, match="class 1 has no training images"):
        found.fit(range(2), torch.randn(3, WIDTH), torch.zeros(3))
    with pytest.raises(ValueError, match="not finite"):
        found.fit(range(1), torch.full((3, WIDTH), float("nan")), torch.zeros(3))


def test_statistics_survive_few_large_features_and_autocast() -> None:
    """In float32 rounding would exceed the ridge, and a flat covariance would lose its root."""
    torch.manual_seed(0)
    features = 1000 * torch.randn(3, WIDTH)
    found = Gaussians(WIDTH)
    found.grow(1)
    with torch.autocast("cpu", torch.bfloat16):
        found.fit(range(1), features, torch.zeros(3))
    wanted = torch.cov(features.double().T) + RIDGE * torch.eye(WIDTH)
    factor = torch.linalg.cholesky(wanted)
    assert torch.allclose(found.factor[0].double(), factor, rtol=1e-5, atol=1e-6)


def test_statistics_resume() -> None:
    found = gaussians()
    fresh = Gaussians(WIDTH).double()
    fresh.grow(1)
    fresh.grow(3)
    fresh.load_state_dict(found.state_dict(), strict=True)
    assert torch.equal(fresh.factor, found.factor)


# -- logit normalisation --------------------------------------------------------------------------


def test_normalised_logits_do_not_depend_on_the_scale_of_the_features() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(5, 6).double(), torch.tensor([0, 1, 2, 3, 5])
    tasks = membership((1, 3, 2))
    losses = [
        float(F.cross_entropy(normalise(c * logits, tasks, 0.1), labels)) for c in (0.5, 1.0, 30.0)
    ]
    assert max(losses) - min(losses) < 1e-5 * max(losses)
    assert abs(float(F.cross_entropy(30 * logits, labels)) - losses[0]) > 0.1


def test_gradient_flows_through_the_norms() -> None:
    """Moving along the logits changes nothing, so the gradient has no part along them."""
    torch.manual_seed(0)
    logits = torch.randn(5, 6).double().requires_grad_()
    labels = torch.tensor([0, 1, 2, 3, 5])
    F.cross_entropy(normalise(logits, membership((2, 2, 2)), 0.1), labels).backward()
    assert logits.grad is not None
    assert float(logits.grad.norm()) > 0.1
    assert float((logits.grad * logits.detach()).sum(dim=1).abs().max()) < 1e-6


def test_zero_logits_give_no_nan() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    normalised = normalise(logits, membership((1, 2)).float(), 0.1)
    F.cross_entropy(normalised, torch.tensor([0, 2])).backward()
    assert logits.grad is not None
    assert bool(torch.isfinite(logits.grad).all())


# -- alignment ------------------------------------------------------------------------------------


@pytest.mark.parametrize("logit_norm", [0.1, 0.0])
def test_alignment_repairs_heads_that_never_met_each_other(logit_norm: float) -> None:
    found, old_and_new = gaussians(), heads((2, 2))
    with torch.no_grad():
        old_and_new[1].bias += 20  # the newest head outvotes the others
    torch.manual_seed(6)
    settings = AlignmentConfig(logit_norm=logit_norm, align_lr=0.1, align_epochs=30)
    aligned = align(old_and_new, found, settings)
    samples = found.sample(mean_scale([2, 2]), torch.randn(4, 50, WIDTH).double())
    labels = torch.arange(4)[:, None]

    def accuracy(weight: Tensor, bias: Tensor) -> float:
        return float((F.linear(samples, weight, bias).argmax(2) == labels).double().mean())

    before = accuracy(
        *(torch.cat([getattr(h, n) for h in old_and_new]) for n in ("weight", "bias"))
    )
    assert before <= 0.5
    assert accuracy(aligned.weight, aligned.bias) > 0.95


def test_alignment_leaves_the_heads_alone_and_trains_all_of_the_copy() -> None:
    given = heads((1, 3))
    for head in given:
        head.requires_grad_(False)
    before = torch.cat([head.weight for head in given]).clone()
    aligned = align(given, gaussians(), AlignmentConfig(align_epochs=1))
    assert torch.equal(torch.cat([head.weight for head in given]), before)
    assert bool(((aligned.weight - before).abs().amax(dim=1) > 0).all())
    assert not aligned.weight.requires_grad


def test_no_epochs_change_nothing() -> None:
    given = heads((2, 2))
    aligned = align(given, gaussians(), AlignmentConfig(align_epochs=0))
    assert torch.equal(aligned.weight, torch.cat([head.weight for head in given]))
    assert aligned.losses == []


def test_draws_are_fresh_in_every_epoch_and_follow_the_global_seed() -> None:
    class Watched(Draws):
        def __init__(self) -> None:
            self.seen: list[Tensor] = []

        def noise(self, epoch: int, shape: torch.Size, like: Tensor) -> Tensor:
            self.seen.append(super().noise(epoch, shape, like))
            return self.seen[-1]

    given, statistics = heads((2, 2)), gaussians()

    def once(seed: int) -> tuple[Tensor, list[Tensor]]:
        torch.manual_seed(seed)
        watched = Watched()
        return align(given, statistics, AlignmentConfig(), watched).weight, watched.seen

    first, again, other = once(1), once(1), once(2)
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])
    assert len(first[1]) == 5
    assert not torch.equal(first[1][0], first[1][1])
    order = Draws().order(0, 100, torch.zeros(()))
    assert torch.equal(order.sort().values, torch.arange(100))
    assert not torch.equal(order, torch.arange(100))


def test_alignment_is_the_same_under_autocast() -> None:
    def run(**options: Any) -> Tensor:
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16, **options):
            given, statistics = heads((2, 2), torch.float32), gaussians(dtype=torch.float32)
            torch.manual_seed(1)
            return align(given, statistics, AlignmentConfig(align_epochs=2)).weight

    assert torch.equal(run(enabled=True), run(enabled=False))


@pytest.mark.parametrize("sizes", [(1,), (1, 1), (1, 3), (4,)])
def test_odd_tasks_give_finite_heads(sizes: tuple[int, ...]) -> None:
    count = sum(sizes)
    settings = AlignmentConfig(align_epochs=2, align_samples=3, align_batch=1)
    aligned = align(heads(sizes), gaussians(count, per_class=1), settings)
    assert aligned.weight.shape == (count, WIDTH)
    assert bool(torch.isfinite(aligned.weight).all())


# -- other heads, other statistics ----------------------------------------------------------------


def test_variances_alone() -> None:
    torch.manual_seed(0)
    features = torch.randn(9, WIDTH).double()
    found = Gaussians(WIDTH, ridge=0.5, diagonal=True).double()
    found.grow(1)
    found.fit(range(1), features, torch.zeros(9))
    deviation = (features.var(dim=0) + 0.5).sqrt()
    torch.testing.assert_close(found.factor, deviation[None])
    noise = torch.randn(1, 4, WIDTH).double()
    expected = 0.9 * features.mean(0) + noise[0] * deviation
    drawn = found.sample(torch.tensor([0.9]).double(), noise)
    torch.testing.assert_close(drawn[0], expected)


def test_cosine_heads_are_aligned_without_a_bias() -> None:
    torch.manual_seed(0)
    heads = [CosFace(WIDTH, 2).double(), CosFace(WIDTH, 2).double()]
    config = AlignmentConfig(align_epochs=7, align_samples=8, align_batch=8, logit_norm=0.0)

    def logits(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return 20 * cosines(features, weight, bias)  # raises where it is given one

    aligned = align(heads, gaussians(), config, scale=torch.ones(4), logits=logits, period=5)
    assert not aligned.bias.any()
    assert not torch.equal(aligned.weight, torch.cat([head.weight for head in heads]))
    rates = aligned.rates[:: len(aligned.rates) // 7]
    expected = [0.01 * (1 + math.cos(math.pi * epoch / 5)) / 2 for epoch in range(7)]
    assert rates == pytest.approx(expected)  # falls to 0 in five epochs and rises again
    load_classifier_(heads, aligned.weight, aligned.bias)
    assert torch.equal(torch.cat([head.weight for head in heads]), aligned.weight)


def test_means_are_scaled_as_told() -> None:
    class Centre(Draws):
        def noise(self, epoch: int, shape: torch.Size, like: Tensor) -> Tensor:
            return like.new_zeros(shape)

    seen: list[Tensor] = []

    def logits(features: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        seen.append(features)
        return F.linear(features, weight, bias)

    config = AlignmentConfig(align_epochs=1, align_samples=2, align_batch=8)
    scale, found = torch.tensor([1.0, 0.5, 2.0, -1.0]).double(), gaussians()
    align(heads((2, 2)), found, config, Centre(), scale=scale, logits=logits)
    shown = {tuple(row.tolist()) for row in seen[0]}
    assert shown == {tuple(row.tolist()) for row in found.mean * scale[:, None]}
