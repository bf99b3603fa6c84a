"""An optional copy of image files as plain pixels, for machines whose disk is faster than decoding.

    <root>/.decoded/<data set>-<manifest>/<split>.pixels   uint8, all images one after the other
                                          <split>.npz      height, width, start of each

Pixels are those that decoding gives, so no number depends on the copy. The folder gets its name
when it is complete. The name holds the manifest hash, so a copy is used as long as the files hold
what they held: after a change they are read themselves until they are decoded again. A file that
changes while the copy is in use is an error.
"""

from __future__ import annotations

import hashlib
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock, Timeout

from benchmark.data.base import (
    DataError,
    Dataset,
    DatasetInfo,
    DataSource,
    FileImages,
    Images,
    Progress,
    Split,
)
from benchmark.data.digests import Stamp, file_stamps
from benchmark.data.pictures import UNREADABLE, size_of

CHUNK = 512  # images decoded between two reports


@dataclass(frozen=True)
class DecodedImages(Images):
    """Files whose pixels lie in a memory-mapped file.

    table: height, width and start by position in that file; stamps: of the files when they were
    opened; rows: positions of these images.
    """

    files: FileImages
    pixels: np.memmap
    table: dict[str, np.ndarray]
    stamps: dict[str, Stamp]
    rows: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int) -> np.ndarray:
        """One image, uint8 [H, W, 3]; `DataError` when its file has changed since it was opened."""
        row = self.rows[index]
        path = self.files.paths[row]
        if file_stamps(self.files.folder, [path])[path] != self.stamps[path]:
            raise DataError(f"{self.files.folder / path}: changed while it was in use")
        height, width = int(self.table["height"][row]), int(self.table["width"][row])
        start = int(self.table["start"][row])
        return np.asarray(self.pixels[start : start + height * width * 3]).reshape(height, width, 3)

    def take(self, index: np.ndarray) -> DecodedImages:
        """The images at `index`, in that order."""
        return replace(self, rows=self.rows[index])

    def originals(self) -> FileImages:
        """The files of these images."""
        return self.files.take(self.rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process: what belongs to these images alone, and where the pixels lie."""
        files = self.originals()
        table = {name: column[self.rows] for name, column in self.table.items()}
        stamps = {path: self.stamps[path] for path in files.paths}
        return _reopened, (files, str(self.pixels.filename), table, stamps)


def _reopened(
    files: FileImages, pixels: str, table: dict[str, np.ndarray], stamps: dict[str, Stamp]
) -> DecodedImages:
    mapped = np.memmap(pixels, dtype=np.uint8, mode="r")
    return DecodedImages(files, mapped, table, stamps, np.arange(len(files)))


def decode(info: DatasetInfo, source: DataSource, on_progress: Progress) -> Path:
    """Write the copy and delete older ones of the same split; gives its folder.

    `DataError` when the disk has no room for it, or another process is writing it.
    """
    folder = _folder(info, source, info.manifest_hash(source))
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.parent / f"{_name(info, source)}.lock", timeout=0):
            if not folder.is_dir():
                _write_copy(info.load(source), folder, on_progress)
            for other in _copies(info, source):
                if other != folder:
                    shutil.rmtree(other, ignore_errors=True)
    except Timeout:
        raise DataError(f"{info.name} is being decoded by another process") from None
    return folder


def _write_copy(dataset: Dataset, folder: Path, on_progress: Progress) -> None:
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        for name, split in (("train", dataset.train), ("test", dataset.test)):
            if not isinstance(split.images, FileImages):
                raise DataError(f"{dataset.name} is held in memory: there is nothing to decode")
            _write(split.images, partial / name, name, on_progress)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    partial.rename(folder)


def with_decoded(dataset: Dataset, info: DatasetInfo, source: DataSource) -> Dataset:
    """The data set reading from its copy, if there is one of what its files hold now."""
    if not _copies(info, source):
        return dataset
    splits = {"train": dataset.train, "test": dataset.test}
    if not all(isinstance(split.images, FileImages) for split in splits.values()):
        return dataset
    # Taken before the contents are compared: what changes from here on is found when it is read.
    stamps = [_stamps(split) for split in splits.values()]
    folder = _folder(info, source, info.manifest_hash(source))
    if not folder.is_dir():
        return dataset
    train, test = (
        _open(split, folder / name, stamp)
        for (name, split), stamp in zip(splits.items(), stamps, strict=True)
    )
    return replace(dataset, train=train, test=test)


def _name(info: DatasetInfo, source: DataSource) -> str:
    """How the copies of a split are called, whatever its files hold."""
    words = re.sub(r"[^\w.-]+", "_", info.name, flags=re.ASCII)[-40:].strip("_")
    told = hashlib.sha256(f"{info.name}\0{source.split}".encode()).hexdigest()[:8]
    return f"{words}-{told}"


def _folder(info: DatasetInfo, source: DataSource, manifest: str) -> Path:
    return source.root / ".decoded" / f"{_name(info, source)}-{manifest[:16]}"


def _copies(info: DatasetInfo, source: DataSource) -> list[Path]:
    """Folders with copies of the split, also of what its files held before."""
    found = (source.root / ".decoded").glob(f"{_name(info, source)}-*")
    return [path for path in found if path.is_dir() and path.suffix != ".part"]


def _stamps(split: Split) -> dict[str, Stamp]:
    assert isinstance(split.images, FileImages)
    return file_stamps(split.images.folder, split.images.paths)


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
        paths=np.array(images.paths),
    )


def _open(split: Split, base: Path, stamps: dict[str, Stamp]) -> Split:
    files = split.images
    assert isinstance(files, FileImages)
    with np.load(base.with_suffix(".npz")) as stored:
        table = {name: stored[name] for name in stored.files}
    if tuple(table.pop("paths").tolist()) != files.paths:
        raise DataError(f"{base.parent}: decoded from other lists; delete it and decode again")
    pixels = np.memmap(base.with_suffix(".pixels"), dtype=np.uint8, mode="r")
    if pixels.size != int((3 * table["height"] * table["width"]).sum()):
        raise DataError(f"{base.parent}: damaged; delete it and decode again")
    rows = np.arange(len(files))
    return replace(split, images=DecodedImages(files, pixels, table, stamps, rows))


def _size(images: FileImages, index: int) -> tuple[int, int]:
    path = images.folder / images.paths[index]
    try:
        return size_of(path)
    except UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as an image: {error}") from error
