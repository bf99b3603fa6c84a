"""An optional copy of image files as plain pixels, for machines whose disk is faster than decoding.

    <root>/.decoded/<name>-<hash>/<split>.pixels   uint8, all images one after the other
                                  <split>.npz      height, width, start; size and time of the file

Pixels are those that decoding gives, so no number depends on the copy. The folder gets its name
when it is complete, and a file that changed after it was copied is an error.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from benchmark.data.base import (
    UNREADABLE,
    DataError,
    Dataset,
    DatasetInfo,
    DataSource,
    FileImages,
    Images,
    Split,
)

Progress = Callable[[str, int, int], None]  # what, how far, of how many
CHUNK = 512  # images decoded between two reports


@dataclass(frozen=True)
class DecodedImages(Images):
    """Files whose pixels lie in a memory-mapped file; `rows` are positions in that file."""

    files: FileImages
    pixels: np.memmap
    table: dict[str, np.ndarray]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> np.ndarray:
        """One image, uint8 [H, W, 3]; `DataError` when its file is no longer what was copied."""
        row = self.rows[index]
        path = self.files.folder / self.files.paths[row]
        if _stamp(path) != (self.table["bytes"][row], self.table["time"][row]):
            raise DataError(
                f"{path}: changed since it was decoded; run `clbench data decode` again"
            )
        height, width = int(self.table["height"][row]), int(self.table["width"][row])
        start = int(self.table["start"][row])
        return np.asarray(self.pixels[start : start + height * width * 3]).reshape(height, width, 3)

    def take(self, index: np.ndarray) -> DecodedImages:
        """The images at `index`, in that order."""
        return replace(self, rows=self.rows[index])


def decode(info: DatasetInfo, source: DataSource, on_progress: Progress) -> Path:
    """Write the copy; gives its folder. `DataError` when the disk has no room for it."""
    dataset = info.load(source)
    folder = _folder(info, source)
    if folder.is_dir():
        return folder
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for name, split in (("train", dataset.train), ("test", dataset.test)):
            if not isinstance(split.images, FileImages):
                raise DataError(f"{info.name} is held in memory: there is nothing to decode")
            _write(split.images, partial / name, name, on_progress)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)
    return folder


def with_decoded(dataset: Dataset, info: DatasetInfo, source: DataSource) -> Dataset:
    """The data set reading from its copy, if there is one."""
    folder = _folder(info, source)
    if not folder.is_dir():
        return dataset
    train, test = (
        _open(s, folder / n) for n, s in (("train", dataset.train), ("test", dataset.test))
    )
    return replace(dataset, train=train, test=test)


def _folder(info: DatasetInfo, source: DataSource) -> Path:
    name = info.name.replace(os.sep, "_").replace(":", "_")
    return source.root / ".decoded" / f"{name}-{info.manifest_hash(source)[:16]}"


def _write(images: FileImages, base: Path, name: str, on_progress: Progress) -> None:
    count = len(images)
    with ThreadPoolExecutor() as pool:
        sizes = np.array(list(pool.map(lambda i: _size(images, i), range(count))), dtype=np.int64)
        volume = sizes[:, 0] * sizes[:, 1] * 3
        start = np.concatenate([[0], np.cumsum(volume)])
        free = shutil.disk_usage(base.parent).free
        if start[-1] > free:
            raise DataError(
                f"{base.parent}: decoded {name} images take {start[-1] / 1e9:.1f} GB, "
                f"{free / 1e9:.1f} GB are free"
            )
        stamps = [_stamp(images.folder / path) for path in images.paths]
        with base.with_suffix(".pixels").open("wb") as out:
            for first in range(0, count, CHUNK):
                part = range(first, min(first + CHUNK, count))
                for index, image in zip(part, pool.map(images.read, part), strict=True):
                    if image.nbytes != volume[index]:
                        raise DataError(f"{images.paths[index]}: its header gives another size")
                    out.write(image.tobytes())
                on_progress(f"decoded {name}", part.stop, count)
    np.savez(
        base.with_suffix(".npz"),
        height=sizes[:, 0],
        width=sizes[:, 1],
        start=start[:-1],
        bytes=np.array([s for s, _ in stamps]),
        time=np.array([t for _, t in stamps]),
        paths=np.array(images.paths),
    )


def _open(split: Split, base: Path) -> Split:
    files = split.images
    assert isinstance(files, FileImages)
    with np.load(base.with_suffix(".npz")) as stored:
        table = {name: stored[name] for name in stored.files}
    if tuple(table.pop("paths").tolist()) != files.paths:
        raise DataError(f"{base.parent}: decoded from other lists; delete it and decode again")
    pixels = np.memmap(base.with_suffix(".pixels"), dtype=np.uint8, mode="r")
    rows = np.arange(len(files))
    return replace(split, images=DecodedImages(files, pixels, table, rows))


def _size(images: FileImages, index: int) -> tuple[int, int]:
    path = images.folder / images.paths[index]
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as an image: {error}") from error


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error
    return found.st_size, found.st_mtime_ns
