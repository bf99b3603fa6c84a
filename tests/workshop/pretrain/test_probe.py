"""Probes of frozen features: perfect on separable data, and never choosing on the test split."""

from __future__ import annotations

import pytest
import torch

from benchmark.workshop.pretrain.probe import (
    Split,
    effective_dimensions,
    linear_probe,
    nearest_class_mean,
    nearest_neighbour,
)


@pytest.fixture
def clusters() -> Split:
    """Features [80, 8] and [40, 8] around four orthogonal centres."""
    draws = torch.Generator().manual_seed(0)
    labels = torch.arange(120) % 4
    features = 5.0 * torch.eye(4, 8)[labels] + 0.3 * torch.randn(120, 8, generator=draws)
    return Split(features[:80], labels[:80], features[80:], labels[80:])


def test_separable_classes_are_found(clusters: Split) -> None:
    assert linear_probe(clusters)[0] == 100.0
    assert nearest_class_mean(clusters) == 100.0
    assert nearest_neighbour(clusters) == 100.0


def test_random_labels_are_at_chance() -> None:
    draws = torch.Generator().manual_seed(2)
    features = torch.randn(400, 8, generator=draws)
    labels = torch.randint(0, 4, (400,), generator=draws)
    assert linear_probe(Split(features[:300], labels[:300], features[300:], labels[300:]))[0] < 45.0


def test_weight_decay_does_not_depend_on_the_test_split(clusters: Split) -> None:
    other = clusters._replace(test_labels=clusters.test_labels.flip(0))
    assert linear_probe(clusters)[1] == linear_probe(other)[1]


def test_scale_of_features_does_not_matter_to_the_probe(clusters: Split) -> None:
    scaled = clusters._replace(train=1e3 * clusters.train + 7, test=1e3 * clusters.test + 7)
    assert linear_probe(clusters)[0] == pytest.approx(linear_probe(scaled)[0])


def test_effective_dimensions_count_directions_of_equal_variance() -> None:
    generator = torch.Generator().manual_seed(0)
    round_cloud = torch.randn(20_000, 8, generator=generator)
    assert effective_dimensions(round_cloud) == pytest.approx(8.0, abs=0.02)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=generator)).Q
    flat = round_cloud * torch.tensor([5.0, 5.0, 5.0, 0, 0, 0, 0, 0])
    assert effective_dimensions(flat @ turn + 100.0) == pytest.approx(3.0, abs=0.02)
    assert effective_dimensions(torch.arange(9.0)[:, None] * torch.ones(1, 4)) == pytest.approx(1.0)
