"""The decoded copy: the same pixels, never stale, never half written."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.data.base import DataError, Dataset, DatasetInfo, DataSource, FileImages, Split
from benchmark.data.decoded import DecodedImages, decode, with_decoded

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def info(tmp_path: Path) -> DatasetInfo:
    """Seven pictures of different sizes; four to train on."""
    random = np.random.default_rng(0)
    names = [f"{i}.jpg" for i in range(7)]
    for i, name in enumerate(names):
        image = random.integers(0, 256, (20 + i, 30 - i, 3), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / name)

    def split(part: list[str]) -> Split:
        labels = np.zeros(len(part), dtype=np.int64)
        return Split(FileImages(tmp_path, tuple(part)), labels, ("",) * len(part))

    dataset = Dataset("few", ("a",), split(names[:4]), split(names[4:]))
    return DatasetInfo(
        "few", "", 1, 1, lambda source: ["a"], lambda source: "f" * 64, lambda source: dataset
    )


def quiet(what: str, done: int, total: int) -> None:
    """No progress."""


def test_pixels_are_those_of_the_files(info: DatasetInfo, tmp_path: Path) -> None:
    source = DataSource(tmp_path)
    plain = info.load(source)
    assert with_decoded(plain, info, source) is plain
    decode(info, source, quiet)
    copied = with_decoded(plain, info, source)
    for ours, theirs in ((copied.train, plain.train), (copied.test, plain.test)):
        assert isinstance(ours.images, DecodedImages)
        for i in range(len(theirs.images)):
            assert np.array_equal(ours.images.read(i), theirs.images.read(i))
    chosen = copied.train.images.take(np.array([2, 0]))
    assert np.array_equal(chosen.read(1), plain.train.images.read(0))
    assert len(chosen) == 2


def test_a_changed_file_is_an_error(info: DatasetInfo, tmp_path: Path) -> None:
    source = DataSource(tmp_path)
    decode(info, source, quiet)
    images = with_decoded(info.load(source), info, source).train.images
    os.utime(tmp_path / "1.jpg", ns=(1, 1))
    images.read(0)
    with pytest.raises(DataError, match=r"1\.jpg: changed since"):
        images.read(1)


def test_no_room_leaves_nothing_behind(
    info: DatasetInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 5))
    with pytest.raises(DataError, match="are free"):
        decode(info, DataSource(tmp_path), quiet)
    assert list((tmp_path / ".decoded").iterdir()) == []


def test_an_unreadable_file_leaves_nothing_behind(info: DatasetInfo, tmp_path: Path) -> None:
    (tmp_path / "5.jpg").write_bytes((tmp_path / "5.jpg").read_bytes()[:200])
    with pytest.raises(DataError, match=r"5\.jpg"):
        decode(info, DataSource(tmp_path), quiet)
    assert list((tmp_path / ".decoded").iterdir()) == []
