"""Probes of frozen features: perfect on separable data, and never choosing on the test split."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmark.workshop.pretrain.images import UpstreamImages
from benchmark.workshop.pretrain.probe import (
    Split,
    TaskSettings,
    curve_split,
    effective_dimensions,
    linear_probe,
    nearest_class_mean,
    nearest_neighbour,
    nearest_pixels,
    ridge,
    task_by_task,
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
    assert nearest_pixels(clusters) == 100.0
    assert ridge(clusters)[0] == 100.0
    assert task_by_task(clusters, TaskSettings(tasks=1, learning_rate=0.1)) == 100.0


def test_random_labels_are_at_chance() -> None:
    draws = torch.Generator().manual_seed(2)
    features = torch.randn(400, 8, generator=draws)
    labels = torch.randint(0, 4, (400,), generator=draws)
    assert linear_probe(Split(features[:300], labels[:300], features[300:], labels[300:]))[0] < 45.0


def test_weight_decay_does_not_depend_on_the_test_split(clusters: Split) -> None:
    other = clusters._replace(test_labels=clusters.test_labels.flip(0))
    assert linear_probe(clusters)[1] == linear_probe(other)[1]
    assert ridge(clusters)[1] == ridge(other)[1]


def test_ridge_is_least_squares_with_a_penalty_and_a_free_offset(clusters: Split) -> None:
    train, targets = clusters.train.double(), torch.eye(4, dtype=torch.float64)
    rows = torch.cat([train, torch.ones(len(train), 1)], dim=1)
    penalty = 3.0 * torch.eye(9, dtype=torch.float64)
    penalty[-1, -1] = 0.0
    weight = torch.linalg.solve(rows.T @ rows + penalty, rows.T @ targets[clusters.train_labels])
    noisy = clusters._replace(test=clusters.test + 4.0 * torch.randn(40, 8))
    found, chosen = ridge(noisy, penalties=(3.0,))
    scores = torch.cat([noisy.test.double(), torch.ones(40, 1)], dim=1) @ weight
    assert chosen == 3.0
    assert found == 100.0 * float((scores.argmax(dim=1) == noisy.test_labels).double().mean())


def test_heads_of_single_classes_learn_nothing(clusters: Split) -> None:
    assert task_by_task(clusters, TaskSettings(tasks=4)) == 25.0


def test_curve_is_measured_on_the_words_with_most_images_that_can_be_validated() -> None:
    train = np.array([[0, -1]] * 3 + [[1, -1]] * 2 + [[2, -1]] * 4 + [[3, -1], [0, 1]])
    val = np.array([[0, -1], [1, 3], [3, -1]])
    pixels = np.arange(11, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    upstream = UpstreamImages(pixels, train, pixels[:3], val, ("a", "b", "c", "d"), "digest")
    split = curve_split(upstream, names=2)
    assert split.train_labels.tolist() == [0, 0, 0, 1, 1]
    assert split.train[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]
    assert split.test_labels.tolist() == [0, 1]


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
