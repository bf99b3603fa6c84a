"""The embedded data set `icons`: its files and its loader."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.data import icons
from benchmark.workshop.icons_build.catalogue import load_catalogue
from benchmark.workshop.icons_build.select import DOWNSTREAM

MANIFEST: dict[str, Any] = json.loads((icons.ASSETS / "manifest.json").read_text())


def test_the_counts_are_those_of_the_manifest() -> None:
    train, test = icons.load_split("train"), icons.load_split("test")
    counts = MANIFEST["counts"]
    assert len(icons.class_names()) == counts["classes"] == 100
    for split, (images, labels) in (("train", train), ("test", test)):
        assert images.shape == (counts[split], 32, 32, 3) and images.dtype == np.uint8
        assert labels.shape == (counts[split],) and labels.dtype == np.int64
        assert len(icons.domains(split)) == counts[split]  # type: ignore[arg-type]
        assert np.array_equal(np.unique(labels), np.arange(100))


def test_classes_are_in_alphabetical_order() -> None:
    assert icons.class_names() == sorted(icons.class_names())
    assert set(icons.class_names()) == set(load_catalogue().classes)


def test_every_class_has_what_the_rules_ask() -> None:
    per_class = sum(
        (Counter(icons.load_split(split)[1].tolist()) for split in ("train", "test")), Counter()
    )
    assert min(per_class.values()) >= DOWNSTREAM.min_images
    assert max(per_class.values()) <= DOWNSTREAM.max_images


def test_no_test_image_is_a_training_image() -> None:
    train, test = (
        {image.tobytes() for image in icons.load_split(split)[0]} for split in ("train", "test")
    )
    assert not train & test


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
        assert (left @ right.T / norms).max() < 0.96, icons.class_names()[label]


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


@pytest.mark.parametrize("name", ["train.npy.xz", "images.csv"])
def test_a_changed_file_is_named(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "icons"
    shutil.copytree(icons.ASSETS, folder)
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}.*corrupt"):
        icons.load_split("train", folder)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"manifest\.json"):
        icons.load_split("train", tmp_path)


def test_the_hash_follows_the_files(tmp_path: Path) -> None:
    manifest = json.loads(json.dumps(MANIFEST))
    manifest["files"]["train.npy.xz"]["sha256"] = "0" * 64
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    assert icons.manifest_hash(tmp_path) != icons.manifest_hash()
