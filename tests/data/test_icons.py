"""The embedded data set `icons`: its files and its loader."""

from __future__ import annotations

from collections import Counter

import numpy as np

from benchmark.data import icons
from benchmark.data.packed import Packed
from benchmark.workshop.icons_build.catalogue import load_catalogue
from benchmark.workshop.icons_build.select import DOWNSTREAM

NAMES = Packed(icons.ASSETS).class_names()


def test_classes_are_those_of_the_catalogue() -> None:
    assert set(NAMES) == set(load_catalogue().classes)


def test_every_class_has_what_the_rules_ask() -> None:
    per_class = sum(
        (Counter(icons.load_split(split)[1].tolist()) for split in ("train", "test")), Counter()
    )
    assert min(per_class.values()) >= DOWNSTREAM.min_images
    assert max(per_class.values()) <= DOWNSTREAM.max_images


def test_no_test_image_is_nearly_a_training_image_of_its_class() -> None:
    # The shipped images have lost their alpha; on icons this correlation of ink stands in for
    # the descriptor, whose limit is lower.
    train, train_labels = icons.load_split("train")
    test, test_labels = icons.load_split("test")
    for label in range(100):
        rows = [
            (255 - images[labels == label].min(axis=-1).astype(np.float64)).reshape(-1, 1024)
            for images, labels in ((train, train_labels), (test, test_labels))
        ]
        left, right = (ink - ink.mean(axis=1, keepdims=True) for ink in rows)
        norms = np.linalg.norm(left, axis=1)[:, None] * np.linalg.norm(right, axis=1)
        assert (left @ right.T / norms).max() < 0.96, NAMES[label]


def test_clusters_and_icons_are_on_one_side_of_the_split() -> None:
    sides: dict[str, set[str]] = {"train": set(), "test": set()}
    for row in (icons.ASSETS / "images.csv").read_text().splitlines()[1:]:
        split, _, _, prefix, icon, _, cluster = row.split(",")
        sides[split] |= {cluster, f"{prefix}:{icon}"}
    assert not sides["train"] & sides["test"]


def test_every_set_is_credited() -> None:
    rows = (icons.ASSETS / "images.csv").read_text().splitlines()[1:]
    used = Counter(row.split(",")[3] for row in rows)
    credit = (icons.ASSETS / "ATTRIBUTION.md").read_text()
    for prefix, count in used.items():
        (line,) = (row for row in credit.splitlines() if row.startswith(f"| `{prefix}` |"))
        assert line.endswith(f"| {count} |")


def test_planes_are_undone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3)).astype(np.uint8)
    assert np.array_equal(icons.from_planes(icons.to_planes(images)), images)
