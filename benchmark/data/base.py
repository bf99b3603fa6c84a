"""What a data set is to the suite; no torch here, so that names can be listed quickly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np


class DataError(ValueError):
    """Data that is missing, damaged or asked for in a way it cannot be given."""


@dataclass(frozen=True)
class Split:
    """images: uint8 [N, H, W, 3]; labels: int64 [N], natural class order; domains: style names."""

    images: np.ndarray
    labels: np.ndarray
    domains: tuple[str, ...]

    def subset(self, index: np.ndarray) -> Split:
        """The images at `index`, in that order."""
        return Split(self.images[index], self.labels[index], tuple(self.domains[i] for i in index))


@dataclass(frozen=True)
class Dataset:
    """A loaded data set; `manifest_hash` changes with any image, label or split list."""

    name: str
    class_names: tuple[str, ...]
    train: Split
    test: Split
    manifest_hash: str
    crop_scale: tuple[float, float]  # area share of the training crops


@dataclass(frozen=True)
class DatasetInfo:
    """What is known of a data set without loading it."""

    name: str
    summary: str
    classes: int
    default_tasks: int
    class_names: Callable[[], list[str]]
    manifest_hash: Callable[[Path | None], str]  # given the data root
    load: Callable[[Path | None], Dataset]
