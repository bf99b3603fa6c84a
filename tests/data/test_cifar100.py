"""CIFAR100 from its pickles: pixels, labels, places, and what each damaged file is told."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import miniatures
import numpy as np
import pytest

from benchmark.data import dataset_info
from benchmark.data.base import ArrayImages, DataError, MissingDataError, Place
from benchmark.data.unpickle import load_pickle

INFO = dataset_info("cifar100")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    miniatures.cifar100(tmp_path, train=2, test=1, classes=4)
    return tmp_path / "cifar100" / "cifar-100-python"


def _rewrite(file: Path, change: Callable[[dict[str, Any]], Any], protocol: int = 2) -> None:
    table = load_pickle(file)
    for key, value in table.items():
        table[key] = np.array(value) if isinstance(value, np.ndarray) else value
    file.write_bytes(pickle.dumps(change(table) or table, protocol=protocol))


def test_images_and_labels_are_those_of_the_file(folder: Path) -> None:
    data = INFO.load(Place(folder.parent.parent))
    assert data.class_names == ("fine_00", "fine_01", "fine_02", "fine_03")
    assert (data.evaluation, data.crop_scale) == ("resize", (0.08, 1.0))
    for side, split in (("train", data.train), ("test", data.test)):
        table = pickle.loads((folder / side).read_bytes(), encoding="bytes")
        assert isinstance(split.images, ArrayImages)
        assert split.labels.tolist() == table[b"fine_labels"]
        assert split.labels.dtype == np.int64
        assert len(split.domains) == len(split.labels)
        for index, row in enumerate(table[b"data"]):
            pixels = split.images.read(index)
            assert (pixels.shape, pixels.dtype) == ((32, 32, 3), np.uint8)
            for channel in range(3):  # all of red, then all of green, then all of blue
                plane = row[1024 * channel : 1024 * (channel + 1)].reshape(32, 32)
                assert np.array_equal(pixels[:, :, channel], plane)


def test_it_is_found_wherever_it_is_usually_put(folder: Path, tmp_path: Path) -> None:
    expected = INFO.manifest_hash(Place(tmp_path))
    assert INFO.manifest_hash(Place(tmp_path / "cifar100")) == expected  # the root is the folder
    assert INFO.manifest_hash(Place(folder)) == expected
    for other in ("a/cifar-100-python", "b/CIFAR100/cifar-100-python", "c/cifar100"):
        shutil.copytree(folder, tmp_path / other)
        place = Place(tmp_path / other.partition("/")[0])
        assert INFO.manifest_hash(place) == expected
        assert INFO.class_names(place) == ["fine_00", "fine_01", "fine_02", "fine_03"]


def test_the_hash_is_of_the_contents(folder: Path, tmp_path: Path) -> None:
    place = Place(tmp_path)
    first = INFO.manifest_hash(place)
    _rewrite(folder / "train", lambda table: None, protocol=4)
    assert INFO.manifest_hash(place) == first  # other bytes, the same data
    hashes = {first}
    _rewrite(folder / "train", lambda table: table["data"].__setitem__((3, 5), 0))
    hashes.add(INFO.manifest_hash(place))
    _rewrite(folder / "test", lambda table: table["fine_labels"].reverse())
    hashes.add(INFO.manifest_hash(place))
    _rewrite(folder / "meta", lambda table: table["fine_label_names"].reverse())
    hashes.add(INFO.manifest_hash(place))
    assert len(hashes) == 4


def test_what_is_absent_is_named(tmp_path: Path) -> None:
    for ask in (INFO.load, INFO.class_names, INFO.manifest_hash):
        with pytest.raises(MissingDataError) as caught:
            ask(Place(tmp_path))
        assert str(tmp_path / "cifar100" / "cifar-100-python.tar.gz") in str(caught.value)
        assert "eb9058c3a382ffc7106e4002c42a8d85" in str(caught.value)


def test_an_incomplete_folder_is_not_used(folder: Path, tmp_path: Path) -> None:
    (folder / "meta").unlink()
    with pytest.raises(MissingDataError):
        INFO.load(Place(tmp_path))


def test_an_archive_has_to_be_unpacked_first(tmp_path: Path) -> None:
    miniatures.cifar100_archive(tmp_path, train=1, test=1, classes=2)
    with pytest.raises(DataError, match="data prepare cifar100"):
        INFO.load(Place(tmp_path))


def test_there_is_one_split(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'default'"):
        INFO.load(Place(tmp_path, "defualt"))


DAMAGE: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "CIFAR10": (
        "train",
        lambda t: {"data": t["data"], "labels": t["fine_labels"]},
        "no 'fine_labels'; it has 'data', 'labels' .*CIFAR10",
    ),
    "no data": ("train", lambda t: {"fine_labels": [0]}, "no 'data'; it has 'fine_labels'"),
    "list": ("train", lambda t: [1], "no dictionary"),
    "shape": ("train", lambda t: {**t, "data": t["data"][:, 1:]}, r"'data' is uint8 \[8, 3071\]"),
    "flat": ("train", lambda t: {**t, "data": t["data"][0]}, r"'data' is uint8 \[3072\]"),
    "type": ("test", lambda t: {**t, "data": t["data"].astype("f4")}, "'data' is float32"),
    "text": ("test", lambda t: {**t, "data": "pixels"}, "'data' is <U6"),
    "too few labels": ("test", lambda t: t["fine_labels"].pop() and None, "4 images .* 3 'fine"),
    "label": ("test", lambda t: t["fine_labels"].__setitem__(2, 4), "has 4 at image 2.* 0 to 3"),
    "negative": ("test", lambda t: t["fine_labels"].__setitem__(2, -1), "has -1 at image 2"),
    "fraction": ("test", lambda t: t["fine_labels"].__setitem__(2, 0.5), "whole numbers"),
    "huge": ("test", lambda t: t["fine_labels"].__setitem__(2, 2**70), "whole numbers"),
    "nested": ("test", lambda t: t["fine_labels"].__setitem__(2, [1]), "whole numbers"),
    "true": ("test", lambda t: {**t, "fine_labels": [True] * 4}, "whole numbers"),
    "no names": ("meta", lambda t: {**t, "fine_label_names": []}, "not a list of class names"),
    "numbers": ("meta", lambda t: {**t, "fine_label_names": [1, 2]}, "not names"),
    "twice": ("meta", lambda t: {**t, "fine_label_names": ["a", "a"]}, "not names that differ"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_told_with_file_and_key(folder: Path, tmp_path: Path, case: str) -> None:
    name, change, told = DAMAGE[case]
    _rewrite(folder / name, change)
    with pytest.raises(DataError, match=told) as caught:
        INFO.load(Place(tmp_path))
    assert str(folder / name) in str(caught.value)


def test_labels_may_be_an_array_and_keys_bytes(folder: Path, tmp_path: Path) -> None:
    expected = INFO.manifest_hash(Place(tmp_path))

    def change(table: dict[str, Any]) -> dict[bytes, Any]:
        table["fine_labels"] = np.array(table["fine_labels"], np.int16)
        return {key.encode(): value for key, value in table.items()}

    _rewrite(folder / "train", change, protocol=5)
    assert INFO.manifest_hash(Place(tmp_path)) == expected


def test_images_in_memory_cannot_be_changed_by_accident(folder: Path, tmp_path: Path) -> None:
    images = INFO.load(Place(tmp_path)).train.images
    with pytest.raises(ValueError, match="read-only"):
        images.read(0)[:] = 0
