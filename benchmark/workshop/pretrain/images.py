"""The upstream images that the embedded backbones are pre-trained on, and how they are scaled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

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
    """Training and validation images (uint8 [N, H, W, 3]), labels and their words.

    Labels are int64 [N, L]: the words of an image, positions in `classes`, filled up with -1.
    Counts are those of the manifest: of images left out, and of those named like a class.
    """

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    val_images: NDArray[np.uint8]
    val_labels: NDArray[np.int64]
    classes: tuple[str, ...]
    digest: str
    counts: Mapping[str, int] = field(default_factory=dict)


def load_upstream(folder: Path) -> UpstreamImages:
    """Return the checked contents of `folder`; the digest covers pixels, labels and class names."""
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise UpstreamError(
            f"upstream folder {folder} lacks {', '.join(missing)}: make it with `clbench data "
            "build upstream`, or name the one you have with --upstream"
        )
    classes = tuple(_read_text(folder / "classes.txt").splitlines())
    try:
        counts = dict(json.loads(_read_text(folder / "manifest.json"))["counts"])
    except (ValueError, KeyError, TypeError) as error:
        raise UpstreamError(f"{folder / 'manifest.json'}: it holds no counts") from error
    train, val = (_load_part(folder, part, len(classes)) for part in ("train", "val"))
    digest = hashlib.sha256("\n".join(classes).encode())
    for array in (*train, *val):
        digest.update(np.ascontiguousarray(array).data)
    return UpstreamImages(*train, *val, classes, digest.hexdigest(), counts)


def check_fit(upstream: UpstreamImages, size: int, batch_size: int) -> None:
    """Raise `UpstreamError` unless the images fit a backbone and fill a batch.

    Both parts must hold images of `size` pixels, the training part at least one batch of them.
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


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UpstreamError(f"{path}: cannot be read ({error})") from error


def _load_part(
    folder: Path, part: str, classes: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the images and labels of one part, refusing other types, shapes and labels."""
    files = folder / f"{part}_images.npy", folder / f"{part}_labels.npy"
    images, labels = map(_load_array, files)
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise UpstreamError(
            f"{files[0]}: expected uint8 [N, H, W, 3], found {images.dtype} {list(images.shape)}"
        )
    rows = labels.ndim == 2 and len(labels) == len(images)
    if not (rows and np.issubdtype(labels.dtype, np.integer)):
        raise UpstreamError(
            f"{files[1]}: expected {len(images)} rows of integers, "
            f"found {labels.dtype} {list(labels.shape)}"
        )
    labels = labels.astype(np.int64, copy=False)
    if labels.size and not -1 <= labels.min() <= labels.max() < classes:
        raise UpstreamError(
            f"{files[1]}: labels {labels.min()}..{labels.max()} do not fit {classes} classes"
        )
    if labels.size and (labels.max(axis=1) < 0).any():
        raise UpstreamError(f"{files[1]}: an image without a label")
    return images, labels


def _load_array(path: Path) -> NDArray[Any]:
    """Return one array, never unpickling objects."""
    try:
        array: NDArray[Any] = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UpstreamError(f"{path}: cannot be read ({error})") from error
    return array


def to_float(images: Tensor) -> Tensor:
    """Return float32 [B, 3, H, W] in [0, 1] from uint8 [B, H, W, 3]."""
    return images.permute(0, 3, 1, 2).float().div_(255.0)


@dataclass(frozen=True)
class Standardise:
    """Take a mean from each channel and divide by a standard deviation, both float32 [3].

    Drawings on white are far from zero mean, which slows the first epochs down; the finished
    backbone shall nevertheless take plain images in [0, 1], so `fold_into` moves the step there.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, images: Tensor) -> Standardise:
        """Return the statistics of images uint8 [N, H, W, 3], scaled to [0, 1]."""
        # Counts of values are exact, whatever the number of threads.
        value = torch.arange(256, dtype=torch.float64) / 255.0
        counts = torch.zeros(3, 256, dtype=torch.int64)
        for part in torch.split(images, 4096):
            for channel in range(3):
                counts[channel] += part[..., channel].flatten().bincount(minlength=256)
        share = counts.double() / counts.sum(dim=1, keepdim=True)  # [3, 256]
        mean = share @ value
        std = (share @ value.square() - mean.square()).clamp(min=1e-4).sqrt()
        return cls(mean.float(), std.float())

    def __call__(self, images: Tensor) -> Tensor:
        """Return standardised images, float32 [B, 3, H, W] in and out."""
        return (images - self.mean.view(3, 1, 1)) / self.std.view(3, 1, 1)

    @torch.no_grad()
    def fold_into(self, patch_projection: nn.Conv2d) -> None:
        """Change an unpadded convolution so that it gives the same for plain images."""
        weight, bias = patch_projection.weight, patch_projection.bias
        if bias is None:
            raise ValueError("a projection without bias cannot take up a mean")
        weight.div_(self.std.view(1, 3, 1, 1))
        bias.sub_((weight * self.mean.view(1, 3, 1, 1)).sum(dim=(1, 2, 3)))
