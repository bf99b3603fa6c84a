"""The embedded data set `icons`: 100 classes of small drawings, shipped with the package."""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
import lzma
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmark.data import DATASETS
from benchmark.data.base import ArrayImages, DataError, Dataset, DatasetInfo, DataSource, Split
from benchmark.spec import Augmentation

ASSETS = Path(__file__).parent / "assets" / "icons"

DATA_FILES = ("classes.txt", "images.csv", "test.npy.xz", "train.npy.xz")

Side = Literal["train", "test"]


def load_split(side: Side, folder: Path = ASSETS) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 32, 32, 3] and labels int64 [N], classes in alphabetical order.

    The arrays are cached and read-only: copy before writing.
    """
    return _read_split(side, folder)


def class_names(folder: Path = ASSETS) -> list[str]:
    """The class names; the position is the label."""
    return _verified(folder, "classes.txt").decode().splitlines()


def domains(side: Side, folder: Path = ASSETS) -> list[str]:
    """The drawing style of each image of a split."""
    return [row["domain"] for row in _rows(side, folder)]


def manifest_hash(folder: Path = ASSETS) -> str:
    """The SHA-256 that stands for the data set: it changes if any image or list does."""
    files = _manifest(folder)["files"]
    content = [f"{name}:{files[name]['sha256']}" for name in DATA_FILES]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()


def to_planes(images: np.ndarray) -> np.ndarray:
    """Images uint8 [N, H, W, 3] as they are stored, [3, N, H, W]: green, red - green, blue - green.

    Most icons are grey, so the last two planes are nearly all zero and compress to almost nothing.
    """
    red, green, blue = (images[..., channel] for channel in range(3))
    return np.stack([green, red - green, blue - green])  # modulo 256


def from_planes(stored: np.ndarray) -> np.ndarray:
    """Undo `to_planes`: uint8 [3, N, H, W] to [N, H, W, 3]."""
    green, red, blue = stored
    return np.stack([red + green, green, blue + green], axis=-1)


@functools.cache
def _read_split(side: Side, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    stored = np.load(io.BytesIO(lzma.decompress(_verified(folder, f"{side}.npy.xz"))))
    images = from_planes(stored)
    number = {name: label for label, name in enumerate(class_names(folder))}
    labels = np.array([number[row["class"]] for row in _rows(side, folder)], np.int64)
    if len(labels) != len(images):
        raise DataError(
            f"{folder}: {len(images)} {side} images but {len(labels)} rows in images.csv"
        )
    images.setflags(write=False)
    labels.setflags(write=False)
    return images, labels


@functools.cache
def _rows(side: Side, folder: Path) -> list[dict[str, str]]:
    table = csv.DictReader(io.StringIO(_verified(folder, "images.csv").decode()))
    return [row for row in table if row["split"] == side]


@functools.cache
def _manifest(folder: Path) -> dict[str, Any]:
    file = folder / "manifest.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"{file}: missing; reinstall clbench, or rebuild with "
            "'clbench data build icons --package DIR|TARBALL'"
        )
    manifest: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return manifest


def _verified(folder: Path, name: str) -> bytes:
    """Read a file and check it against the manifest."""
    file = folder / name
    expected = _manifest(folder)["files"][name]["sha256"]
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != expected:
        raise DataError(
            f"{file}: corrupt, its SHA-256 is not the one in manifest.json; reinstall clbench"
        )
    return content


def _split(side: Side) -> Split:
    images, labels = load_split(side)
    return Split(ArrayImages(images), labels, tuple(domains(side)))


def _load(_source: DataSource) -> Dataset:
    names = tuple(class_names())
    train, test = _split("train"), _split("test")
    return Dataset("icons", names, train, test, evaluation="resize")


INFO = DATASETS.add(
    "icons",
    DatasetInfo(
        name="icons",
        summary="100 classes of 32 x 32 icons drawn by many hands; comes with the package",
        classes=100,
        default_tasks=10,
        class_names=lambda source: class_names(),
        manifest_hash=lambda source: manifest_hash(),
        load=_load,
        images=(5529, 1804),
        # A small drawing of which much is cut off is no longer told from others.
        augmentation=Augmentation(scale=(0.85, 1.0), ratio=(0.9, 1.1)),
    ),
)
