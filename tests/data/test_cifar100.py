"""CIFAR100 from its pickles: pixels, labels, places, and no file but the published ones."""

from __future__ import annotations

import os
import pickle
import pickletools
import shutil
from pathlib import Path
from typing import Any

import miniatures
import numpy as np
import pytest

from benchmark.data import cifar100, dataset_info
from benchmark.data.base import ArrayImages, DataError, DataSource, MissingDataError
from benchmark.spec import Augmentation, Evaluation

INFO = dataset_info("cifar100")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of a miniature, taken for the published ones."""
    top = miniatures.cifar100(tmp_path, train=2, test=1, classes=4) / "cifar-100-python"
    miniatures.accept_cifar100(top, monkeypatch)
    return top


def test_the_miniature_is_pickled_as_by_python_2(folder: Path) -> None:
    opcodes = list(pickletools.genops((folder / "train").read_bytes()))
    names = {argument for opcode, argument, _ in opcodes if opcode.name == "GLOBAL"}
    assert opcodes[0][1] == 2
    assert names == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}


def test_images_and_labels_are_those_of_the_file(folder: Path) -> None:
    data = INFO.load(DataSource(folder.parent.parent))
    assert data.class_names == ("fine_00", "fine_01", "fine_02", "fine_03")
    assert (INFO.evaluation, INFO.augmentation) == (Evaluation("both", 1.0), Augmentation())
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
    expected = INFO.manifest_hash(DataSource(tmp_path))
    assert (
        INFO.manifest_hash(DataSource(tmp_path / "cifar100")) == expected
    )  # the root is the folder
    assert INFO.manifest_hash(DataSource(folder)) == expected
    for other in ("a/cifar-100-python", "b/CIFAR100/cifar-100-python", "c/cifar100"):
        shutil.copytree(folder, tmp_path / other)
        source = DataSource(tmp_path / other.partition("/")[0])
        assert INFO.manifest_hash(source) == expected
        assert INFO.class_names(source) == ["fine_00", "fine_01", "fine_02", "fine_03"]


def test_an_incomplete_folder_is_not_used(folder: Path, tmp_path: Path) -> None:
    (folder / "meta").unlink()
    with pytest.raises(MissingDataError):
        INFO.load(DataSource(tmp_path))


@pytest.mark.parametrize("name", cifar100.FILES)
def test_a_file_that_is_not_the_published_one_is_named(
    folder: Path, tmp_path: Path, name: str
) -> None:
    (folder / name).write_bytes((folder / name).read_bytes() + b"x")
    with pytest.raises(DataError, match="its MD5 is") as caught:
        INFO.load(DataSource(tmp_path))
    for part in (str(folder / name), cifar100.MD5[name], "data prepare cifar100"):
        assert part in str(caught.value)


class _Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch hostile-code-ran",)


def test_a_pickle_can_call_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / "meta").write_bytes(pickle.dumps(_Hostile()))
    miniatures.accept_cifar100(folder, monkeypatch)
    with pytest.raises(DataError, match="system"):
        INFO.load(DataSource(tmp_path))
    assert not (tmp_path / "hostile-code-ran").exists()


def test_images_in_memory_cannot_be_changed_by_accident(folder: Path, tmp_path: Path) -> None:
    images = INFO.load(DataSource(tmp_path)).train.images
    with pytest.raises(ValueError, match="read-only"):
        images.read(0)[:] = 0
