"""The embedded data set `letters`: 100 characters in many typefaces, as coloured drawings.

Stored are masks. Ink, ground, shading and noise are added when they are read, by whole numbers
from a generator that is fixed for ever, so that every machine sees the same pixels.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmark.data import DATASETS
from benchmark.data.base import Dataset, DatasetInfo, DataSource, Split
from benchmark.data.packed import ASSETS as ALL_ASSETS
from benchmark.data.packed import Packed, Side, embedded_dataset
from benchmark.spec import Augmentation, Evaluation

ASSETS = ALL_ASSETS / "letters"

LEVELS = 15  # of a mask: 0 is ground, 15 is ink
CONTRAST = 89  # least difference of the luminance of ink and ground, of 255: 0.35
SHADING = 38  # largest change of brightness across an image, of 255: 0.15
NOISE = 13  # largest change of a pixel by noise, of 255: 0.05, a standard deviation of 0.03
GHOST = 4  # how far a ghost takes the ground to its colour, of 16
LUMINANCE = (299, 587, 114)  # thousandths
SMALL_TRAIN, SMALL_TEST = 40, 20  # images of each class in letters_small
_TRIES = 16  # pairs of colours drawn for an image; the first with enough contrast is taken


@functools.cache
def load_split(side: Side, folder: Path = ASSETS) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 [N, 32, 32, 3] and labels int64 [N], classes in alphabetical order.

    The arrays are cached and read-only: copy before writing.
    """
    packed = Packed(folder)
    return packed.checked(side, colour(packed.array(side), f"letters {side}"))


def families(side: Side, folder: Path = ASSETS) -> list[str]:
    """The type family of each image of a split."""
    return [row["family"] for row in Packed(folder).rows(side)]


def colour(masks: np.ndarray, name: str) -> np.ndarray:
    """Return coloured drawings uint8 [N, H, W, 3] of masks uint8 [N, H, W] with levels 0 to 15.

    On the ground of each lies a ghost, a faint part of another drawing at twice its size. Random
    numbers depend on `name` alone; PCG64's raw output is the same in every version of numpy.
    """
    count, height, width = masks.shape
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "big")
    raw = np.random.PCG64(seed)
    ink, ground = _colours(_bytes(raw, count * _TRIES * 6).reshape(count, _TRIES, 2, 3))
    slopes = _bytes(raw, count * 2).reshape(count, 2) - 128  # across and down
    strength = _bytes(raw, count).reshape(count, 1, 1, 1)  # of the noise
    veil = _bytes(raw, count * 3).reshape(count, 3)
    ghosts = _ghosts(masks, raw)
    across = np.arange(width) * 2 - (width - 1)
    down = np.arange(height) * 2 - (height - 1)
    lean = slopes[:, :1, None] * across + slopes[:, 1:, None] * down[:, None]  # [N, H, W]
    shading = lean * SHADING // (2 * 128 * (height + width))
    images = np.empty((count, height, width, 3), np.uint8)
    for start in range(0, count, 1024):  # a part at a time, for memory's sake
        part = slice(start, start + 1024)
        below = ground[part, None, None]
        ghost = ghosts[part].astype(np.int32)[..., None] * GHOST
        below = below + (veil[part, None, None] - below) * ghost // (LEVELS * 16)
        mask = masks[part].astype(np.int32)[..., None]
        mixed = (below * (LEVELS - mask) + ink[part, None, None] * mask) // LEVELS
        noise = (_bytes(raw, mixed.size).reshape(mixed.shape) - 128) * strength[part]
        noise = noise * NOISE // (128 * 256)
        images[part] = (mixed + shading[part, ..., None] + noise).clip(0, 255)
    return images


def _ghosts(masks: np.ndarray, raw: np.random.PCG64) -> np.ndarray:
    """Return for each mask a part of another one at twice its size, uint8 [N, H, W]."""
    count, height, width = masks.shape
    words = raw.random_raw(3 * count).reshape(3, count)
    others, tops, lefts = words % np.array([[count], [height + 1], [width + 1]], np.uint64)
    rows = (np.arange(height) + tops.astype(np.int64)[:, None]) // 2  # [N, H]
    columns = (np.arange(width) + lefts.astype(np.int64)[:, None]) // 2
    ghosts: np.ndarray = masks[
        others.astype(np.int64)[:, None, None], rows[:, :, None], columns[:, None, :]
    ]
    return ghosts


def _bytes(raw: np.random.PCG64, count: int) -> np.ndarray:
    """Return `count` numbers from 0 to 255, int32."""
    words: np.ndarray = raw.random_raw(-(-count // 8))
    return words.astype("<u8").view(np.uint8)[:count].astype(np.int32)


def _colours(pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ink and ground, int32 [N, 3] each, of candidates int32 [N, tries, 2, 3].

    The first pair with enough contrast is taken; where none has it, black or white is the ground.
    """
    brightness = pairs @ np.array(LUMINANCE) // 1000  # [N, tries, 2]
    fits = np.abs(brightness[..., 0] - brightness[..., 1]) >= CONTRAST
    chosen = pairs[np.arange(len(pairs)), fits.argmax(axis=1)]
    ink, ground = chosen[:, 0], chosen[:, 1]
    plain = np.where(brightness[:, 0, :1] < 128, 255, 0)
    return ink, np.where(fits.any(axis=1)[:, None], ground, plain)


def spaced(split: Split, count: int) -> Split:
    """`count` images of each class, evenly spaced among those that there are."""
    rows = [np.flatnonzero(split.labels == label) for label in np.unique(split.labels)]
    kept = [own[np.arange(count) * len(own) // count] for own in rows]
    return split.subset(np.sort(np.concatenate(kept)))


def _load_small(source: DataSource) -> Dataset:
    whole = INFO.load(source)
    train, test = spaced(whole.train, SMALL_TRAIN), spaced(whole.test, SMALL_TEST)
    return replace(whole, name="letters_small", train=train, test=test)


def _small_hash(source: DataSource) -> str:
    content = f"{Packed(ASSETS).manifest_hash()} {SMALL_TRAIN} {SMALL_TEST}"
    return hashlib.sha256(content.encode()).hexdigest()


INFO = DATASETS.add(
    "letters",
    DatasetInfo(
        name="letters",
        summary="100 characters in 120 type families, coloured and turned; comes with the package",
        classes=100,
        default_tasks=10,
        class_names=lambda source: Packed(ASSETS).class_names(),
        manifest_hash=lambda source: Packed(ASSETS).manifest_hash(),
        load=lambda source: embedded_dataset(Packed(ASSETS), load_split, families),
        images=(12000, 3000),
        # No flip: mirrored, some characters are others.
        augmentation=Augmentation(scale=(0.85, 1.0), ratio=(0.9, 1.1), flip=0.0),
        evaluation=Evaluation(resize="both", crop=1.0),
    ),
)
SMALL = DATASETS.add(
    "letters_small",
    replace(
        INFO,
        name="letters_small",
        summary="part of letters, 40 + 20 images a class, for a first look within minutes",
        manifest_hash=_small_hash,
        load=_load_small,
        images=(100 * SMALL_TRAIN, 100 * SMALL_TEST),
    ),
)
