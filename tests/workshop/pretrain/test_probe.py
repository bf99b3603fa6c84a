"""Probes of frozen features: perfect on separable data, and never choosing on the test split."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from benchmark.workshop.pretrain.probe import (
    effective_dimensions,
    linear_probe,
    nearest_class_mean,
    nearest_neighbour,
)


def clusters(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Features [N, 8] around four orthogonal centres, and labels [N]."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    return 5.0 * torch.eye(4, 8)[labels] + 0.3 * torch.randn(count, 8, generator=generator), labels


def test_separable_classes_are_found() -> None:
    pairs = (*clusters(80, 0), *clusters(40, 1))
    assert linear_probe(*pairs)[0] == 100.0
    assert nearest_class_mean(*pairs) == 100.0
    assert nearest_neighbour(*pairs) == 100.0


def test_random_labels_are_at_chance() -> None:
    features, _ = clusters(400, 0)
    labels = torch.randint(0, 4, (400,), generator=torch.Generator().manual_seed(2))
    score, _ = linear_probe(features[:300], labels[:300], features[300:], labels[300:])
    assert score < 45.0


def test_weight_decay_does_not_depend_on_the_test_split() -> None:
    train = clusters(80, 0)
    first, second = clusters(40, 1), clusters(40, 2)
    _, decay = linear_probe(*train, *first)
    _, other = linear_probe(*train, second[0], second[1].flip(0))
    assert decay == other


def test_scale_of_features_does_not_matter_to_the_probe() -> None:
    train, test = clusters(80, 0), clusters(40, 1)
    plain, _ = linear_probe(*train, *test)
    scaled, _ = linear_probe(1e3 * train[0] + 7, train[1], 1e3 * test[0] + 7, test[1])
    assert plain == pytest.approx(scaled)


def test_effective_dimensions_count_directions_of_equal_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    round_cloud = torch.randn(20_000, 8, generator=generator)
    assert effective_dimensions(round_cloud) == pytest.approx(8.0, abs=0.02)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    flat = round_cloud * torch.tensor([5.0, 5.0, 5.0, 0, 0, 0, 0, 0])
    assert effective_dimensions(flat @ turn + 100.0) == pytest.approx(3.0, abs=0.02)
    assert effective_dimensions(torch.arange(9.0)[:, None] * torch.ones(1, 4)) == pytest.approx(1.0)
