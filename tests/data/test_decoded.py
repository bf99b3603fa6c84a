"""The decoded copy: the same pixels, never stale, never half written."""

from __future__ import annotations

import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmark.data import dataset_info, folder
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
    with pytest.raises(DataError, match=r"1\.jpg: changed while"):
        images.read(1)


def test_no_room_leaves_nothing_behind(
    info: DatasetInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 5))
    with pytest.raises(DataError, match="are free"):
        decode(info, DataSource(tmp_path), quiet)
    assert not [path for path in (tmp_path / ".decoded").iterdir() if path.is_dir()]


def test_an_unreadable_file_leaves_nothing_behind(info: DatasetInfo, tmp_path: Path) -> None:
    (tmp_path / "5.jpg").write_bytes((tmp_path / "5.jpg").read_bytes()[:200])
    with pytest.raises(DataError, match=r"5\.jpg"):
        decode(info, DataSource(tmp_path), quiet)
    assert not [path for path in (tmp_path / ".decoded").iterdir() if path.is_dir()]


# --- files that change -------------------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> tuple[DatasetInfo, DataSource]:
    """A user's folder of eight pictures, one of them on its side, and the root of its copy."""
    random = np.random.default_rng(1)
    for number in range(8):
        file = tmp_path / "photos" / "ab"[number % 2] / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        exif = Image.Exif()
        exif[274] = 6 if number == 0 else 1
        pixels = random.integers(0, 256, (12, 9, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(file, exif=exif)
    return folder.info(tmp_path / "photos"), DataSource(tmp_path)


def pixels_of(dataset: Dataset) -> list[np.ndarray]:
    return [
        split.images.read(index)
        for split in (dataset.train, dataset.test)
        for index in range(len(split.images))
    ]


def equal(ours: Dataset, theirs: Dataset) -> bool:
    pairs = zip(pixels_of(ours), pixels_of(theirs), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)


@pytest.mark.parametrize("change", ["content", "time", "none"])
def test_decoding_again_after_a_change_works(
    change: str, own: tuple[DatasetInfo, DataSource], tmp_path: Path
) -> None:
    info, source = own
    first = decode(info, source, quiet)
    file = tmp_path / "photos" / "a" / "2.jpg"
    if change == "content":
        Image.new("RGB", (5, 6), (200, 0, 0)).save(file)
    elif change == "time":
        os.utime(file, ns=(1, 1))
    plain = info.load(source)
    used = with_decoded(plain, info, source)
    assert equal(used, plain)
    assert isinstance(used.train.images, DecodedImages) == (change != "content")
    second = decode(info, source, quiet)
    assert (second == first) == (change != "content")
    copied = with_decoded(plain, info, source)
    assert isinstance(copied.train.images, DecodedImages) and equal(copied, plain)
    folders = [path for path in (tmp_path / ".decoded").iterdir() if path.is_dir()]
    assert folders == [second]  # the copy of what is no longer there is gone


def test_a_damaged_copy_is_refused(own: tuple[DatasetInfo, DataSource]) -> None:
    info, source = own
    copy = decode(info, source, quiet)
    (copy / "train.pixels").write_bytes((copy / "train.pixels").read_bytes()[:-1])
    with pytest.raises(DataError, match="decode again"):
        with_decoded(info.load(source), info, source)


def test_a_copy_is_found_under_every_spelling_of_a_path(
    own: tuple[DatasetInfo, DataSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    decode(dataset_info("folder:photos"), own[1], quiet)
    info = dataset_info(f"folder:{tmp_path / 'photos' / '..' / 'photos'}")
    assert isinstance(with_decoded(info.load(own[1]), info, own[1]).train.images, DecodedImages)
