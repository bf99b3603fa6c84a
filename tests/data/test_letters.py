"""The embedded data set `letters`: whole families held out, colours that every machine sees."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest

from benchmark.data import DATASETS, letters
from benchmark.data.base import DataSource
from benchmark.data.packed import Packed


def test_whole_families_are_held_out() -> None:
    train, test = (set(letters.families(side)) for side in ("train", "test"))
    assert not train & test
    assert len(train | test) >= 120


def test_every_class_has_enough_images() -> None:
    for side, least in (("train", 80), ("test", 30)):
        counts = Counter(Packed(letters.ASSETS).labels(side).tolist())  # type: ignore[arg-type]
        assert min(counts.values()) >= least


def test_every_family_is_credited_with_a_licence() -> None:
    credit = (letters.ASSETS / "ATTRIBUTION.md").read_text().splitlines()
    for family in {*letters.families("train"), *letters.families("test")}:
        (row,) = (line for line in credit if line.startswith(f"| `{family}` |"))
        assert row.split("|")[3].strip() not in ("", "not listed")


def test_the_pixels_are_the_same_on_every_machine() -> None:
    images, _ = letters.load_split("test")
    digest = hashlib.sha256(np.ascontiguousarray(images)).hexdigest()
    assert digest == "e255baa27790df2ba8ce06edb43966959d9650ed5cd033b354da947d8864d527"


def test_ink_stands_out_from_its_ground(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(letters, "GHOST", 0)
    masks = np.zeros((300, 8, 8), np.uint8)
    masks[:, 2:6, 2:6] = letters.LEVELS
    drawn = letters.colour(masks, "a name").astype(float) @ np.array(letters.LUMINANCE) / 1000
    ink = drawn[:, 2:6, 2:6].mean(axis=(1, 2))
    ground = np.concatenate([drawn[:, :2].reshape(300, -1), drawn[:, 6:].reshape(300, -1)], axis=1)
    assert (np.abs(ink - ground.mean(axis=1)) > letters.CONTRAST - 12).all()
    assert len({tuple(image[0, 0]) for image in letters.colour(masks, "a name")}) > 250


def test_a_ghost_is_fainter_than_the_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = np.zeros((200, 8, 8), np.uint8)
    masks[:, 2:6, 2:6] = letters.LEVELS
    with_ghost = letters.colour(masks, "a name").astype(int)
    monkeypatch.setattr(letters, "GHOST", 0)
    change = np.abs(with_ghost - letters.colour(masks, "a name"))
    assert not change[:, 2:6, 2:6].any(), "under the ink there is nothing to see"
    assert 0 < change.max() <= 255 // 4 + 1


def test_colours_depend_on_the_name_alone() -> None:
    masks = np.full((3, 8, 8), 7, np.uint8)
    assert np.array_equal(letters.colour(masks, "one"), letters.colour(masks, "one"))
    assert not np.array_equal(letters.colour(masks, "one"), letters.colour(masks, "two"))


def test_the_small_set_has_equal_parts_of_every_class_and_its_own_hash() -> None:
    whole, small = (DATASETS.get(name) for name in ("letters", "letters_small"))
    source = DataSource()
    loaded = small.load(source)
    assert loaded.name == "letters_small"
    for split, full, count, total in (
        (loaded.train, whole.load(source).train, letters.SMALL_TRAIN, small.images[0]),
        (loaded.test, whole.load(source).test, letters.SMALL_TEST, small.images[1]),
    ):
        assert len(split.labels) == len(split.images) == len(split.domains) == total
        assert np.bincount(split.labels).tolist() == [count] * 100
        known = {image.tobytes() for image in full.images.array}  # type: ignore[attr-defined]
        assert all(image.tobytes() in known for image in split.images.array)  # type: ignore[attr-defined]
        assert len(set(split.domains)) > 0.8 * len(set(full.domains)), "spread over the families"
    assert small.manifest_hash(source) != whole.manifest_hash(source)
