"""A toy data set: classes that are told apart by colour, learnable in a few steps."""

from __future__ import annotations

import numpy as np

from benchmark.data.base import ArrayImages, Dataset, Split

CLASSES = 8
NAMES = tuple(f"class {c}" for c in range(CLASSES))


def toy_dataset() -> Dataset:
    """Images of 16 x 16 pixels: 12 of every class to train on, 6 to test on, in two domains."""
    return Dataset("toy", NAMES, _split(12, 1), _split(6, 2))


def _split(per_class: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), per_class).astype(np.int64)
    colours = np.random.default_rng(0).integers(30, 225, (CLASSES, 1, 1, 3))
    noise = random.integers(-30, 30, (len(labels), 16, 16, 3))
    images = (colours[labels] + noise).clip(0, 255).astype(np.uint8)
    domains = tuple(np.where(np.arange(len(labels)) % 3 == 0, "drawn", "painted").tolist())
    return Split(ArrayImages(images), labels, domains)
