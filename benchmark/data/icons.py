"""The embedded data set `icons`: 100 classes of small drawings, shipped with the package."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from benchmark.data import DATASETS
from benchmark.data.base import DatasetInfo
from benchmark.data.packed import ASSETS as ALL_ASSETS
from benchmark.data.packed import Packed, Side, embedded_dataset
from benchmark.spec import Augmentation, Evaluation

ASSETS = ALL_ASSETS / "icons"


@functools.cache
def load_split(side: Side, folder: Path = ASSETS) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 32, 32, 3] and labels int64 [N], classes in alphabetical order.

    The arrays are cached and read-only: copy before writing.
    """
    packed = Packed(folder)
    return packed.checked(side, from_planes(packed.array(side)))


def domains(side: Side, folder: Path = ASSETS) -> list[str]:
    """The drawing style of each image of a split."""
    return [row["domain"] for row in Packed(folder).rows(side)]


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


INFO = DATASETS.add(
    "icons",
    DatasetInfo(
        name="icons",
        summary="100 classes of 32 x 32 icons drawn by many hands; comes with the package",
        classes=100,
        default_tasks=10,
        class_names=lambda source: Packed(ASSETS).class_names(),
        manifest_hash=lambda source: Packed(ASSETS).manifest_hash(),
        load=lambda source: embedded_dataset(Packed(ASSETS), load_split, domains),
        images=(5529, 1804),
        # A small drawing of which much is cut off is no longer told from others.
        augmentation=Augmentation(scale=(0.85, 1.0), ratio=(0.9, 1.1)),
        evaluation=Evaluation(resize="both", crop=1.0),
    ),
)
