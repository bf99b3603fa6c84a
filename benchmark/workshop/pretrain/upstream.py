"""Reads the folder of upstream images that the embedded backbones are pre-trained on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

FILES = (
    "train_images.npy",
    "train_labels.npy",
    "val_images.npy",
    "val_labels.npy",
    "classes.txt",
    "manifest.json",
)


class UpstreamError(ValueError):
    """The upstream folder is missing, incomplete or inconsistent."""


@dataclass(frozen=True)
class UpstreamImages:
    """Training and validation images (uint8 [N, H, W, 3]), labels (int64 [N]), class names."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    val_images: NDArray[np.uint8]
    val_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    digest: str


def load_upstream(folder: Path) -> UpstreamImages:
    """Gives the checked contents of `folder`; the digest covers pixels, labels and class names."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UpstreamError(
            f"upstream folder {folder} lacks {', '.join(missing)}: make it with `clbench data "
            "build icons`, or name the one you have with --upstream"
        )
    train_images, train_labels = _load_pair(folder, "train")
    val_images, val_labels = _load_pair(folder, "val")
    try:
        classes = tuple((folder / "classes.txt").read_text(encoding="utf-8").splitlines())
    except (OSError, UnicodeDecodeError) as error:
        raise UpstreamError(f"{folder / 'classes.txt'}: cannot be read ({error})") from error
    for part, labels in (("train", train_labels), ("val", val_labels)):
        if labels.size and not 0 <= labels.min() <= labels.max() < len(classes):
            raise UpstreamError(
                f"{folder / f'{part}_labels.npy'}: labels {labels.min()}..{labels.max()} "
                f"do not fit {len(classes)} classes"
            )
    digest = hashlib.sha256("\n".join(classes).encode())
    for array in (train_images, train_labels, val_images, val_labels):
        digest.update(np.ascontiguousarray(array).tobytes())
    return UpstreamImages(
        train_images, train_labels, val_images, val_labels, classes, digest.hexdigest()
    )


def check_fit(upstream: UpstreamImages, size: int, batch_size: int) -> None:
    """Raises `UpstreamError` unless both parts hold images of `size` pixels, the training a batch
    of them.
    """
    for part, images in (("training", upstream.train_images), ("validation", upstream.val_images)):
        if not len(images):
            raise UpstreamError(f"there are no {part} images")
        if images.shape[1:3] != (size, size):
            height, width = images.shape[1:3]
            raise UpstreamError(
                f"{part} images have {height} x {width} pixels; the backbone takes {size} x {size}"
            )
    if (count := len(upstream.train_images)) < batch_size:
        raise UpstreamError(f"{count} training images do not fill one batch of {batch_size}")


def _load_pair(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Gives the images and labels of one part, refusing other types and shapes."""
    images = _load_array(folder / f"{part}_images.npy")
    labels = _load_array(folder / f"{part}_labels.npy")
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UpstreamError(
            f"{folder / f'{part}_images.npy'}: expected uint8 [N, H, W, 3], "
            f"found {images.dtype} {list(images.shape)}"
        )
    if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
        raise UpstreamError(
            f"{folder / f'{part}_labels.npy'}: expected {len(images)} integers, "
            f"found {labels.dtype} {list(labels.shape)}"
        )
    return images.astype(np.uint8, copy=False), labels.astype(np.int64, copy=False)


def _load_array(path: Path) -> NDArray[np.generic]:
    """Gives one array, never unpickling objects."""
    try:
        array: NDArray[np.generic] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UpstreamError(f"{path}: cannot be read ({error})") from error
    return array
