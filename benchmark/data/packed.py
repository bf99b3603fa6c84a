"""The files of a data set that comes with the package, checked against their manifest."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import lzma
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmark.data.base import ArrayImages, DataError, Dataset, Split

ASSETS = Path(__file__).parent / "assets"
DATA_FILES = ("classes.txt", "images.csv", "test.npy.xz", "train.npy.xz")

Side = Literal["train", "test"]
SIDES: tuple[Side, Side] = ("train", "test")


@dataclass(frozen=True)
class Packed:
    """A folder with the arrays of both sides, a row for each image, the classes and a manifest.

    What is read is cached: copy before writing.
    """

    folder: Path

    def class_names(self) -> list[str]:
        """The class names; the position is the label."""
        return self.verified("classes.txt").decode().splitlines()

    def array(self, side: Side) -> np.ndarray:
        """The array of one side, as it is stored: uint8."""
        stored: np.ndarray = np.load(
            io.BytesIO(lzma.decompress(self.verified(f"{side}.npy.xz"))), allow_pickle=False
        )
        return stored

    def rows(self, side: Side) -> list[dict[str, str]]:
        """What `images.csv` says of each image of one side, in the array's order."""
        return _rows(self, side)

    def labels(self, side: Side) -> np.ndarray:
        """The labels of one side, int64 [N]."""
        number = {name: label for label, name in enumerate(self.class_names())}
        labels = np.array([number[row["class"]] for row in self.rows(side)], np.int64)
        labels.setflags(write=False)
        return labels

    def checked(self, side: Side, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of one side, read-only; `DataError` where their numbers differ."""
        labels = self.labels(side)
        if len(labels) != len(images):
            raise DataError(
                f"{self.folder}: {len(images)} {side} images but {len(labels)} rows in images.csv"
            )
        images.setflags(write=False)
        return images, labels

    def manifest(self) -> dict[str, Any]:
        """Where the data come from, how they were made, and the hash of each file."""
        return _manifest(self.folder)

    def manifest_hash(self) -> str:
        """The SHA-256 that stands for the data set: it changes if any image or list does."""
        files = self.manifest()["files"]
        content = [f"{name}:{files[name]['sha256']}" for name in DATA_FILES]
        return hashlib.sha256("\n".join(content).encode()).hexdigest()

    def verified(self, name: str) -> bytes:
        """Read a file and check it against the manifest."""
        file = self.folder / name
        expected = self.manifest()["files"][name]["sha256"]
        content = file.read_bytes()
        if hashlib.sha256(content).hexdigest() != expected:
            raise DataError(
                f"{file}: corrupt, its SHA-256 is not the one in manifest.json; reinstall clbench"
            )
        return content


def embedded_dataset(
    packed: Packed,
    load_split: Callable[[Side], tuple[np.ndarray, np.ndarray]],
    domains: Callable[[Side], Sequence[str]],
) -> Dataset:
    """The data set in a folder, of its images and labels and the domain of each image."""
    train, test = (
        Split(ArrayImages(images), labels, tuple(domains(side)))
        for side in SIDES
        for images, labels in [load_split(side)]
    )
    names = tuple(packed.class_names())
    return Dataset(packed.folder.name, names, train, test)


@functools.cache
def _rows(packed: Packed, side: Side) -> list[dict[str, str]]:
    table = csv.DictReader(io.StringIO(packed.verified("images.csv").decode()))
    return [row for row in table if row["split"] == side]


@functools.cache
def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / "manifest.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: missing; reinstall clbench, or rebuild with "
            f"'clbench data build {folder.name} --package PACKAGE'"
        )
    manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return manifest
