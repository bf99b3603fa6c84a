"""The data set of the exam: classes of noise around a colour; a plug-in of `exam_world`."""

from __future__ import annotations

from functools import cache

import numpy as np

from benchmark.data import DATASETS
from benchmark.data.base import ArrayImages, Dataset, DatasetInfo, Split
from benchmark.workshop.exam_world import EVALUATION, SIDE, TASKS

NAMES = [f"class {number}" for number in range(sum(TASKS))]


@cache
def dataset() -> Dataset:
    """6 images of each class to train on, 4 to test on."""
    return Dataset("exam", tuple(NAMES), _split(6, 1), _split(4, 2))


def _split(per_class: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(NAMES)), per_class).astype(np.int64)
    colours = np.random.default_rng(0).integers(30, 225, (len(NAMES), 1, 1, 3))
    noise = random.integers(-30, 30, (len(labels), SIDE, SIDE, 3))
    images = (colours[labels] + noise).clip(0, 255).astype(np.uint8)
    return Split(ArrayImages(images), labels, ("",) * len(labels))


DATASETS.add(
    "exam",
    DatasetInfo(
        name="exam",
        summary="noise, for clbench check",
        classes=len(NAMES),
        default_tasks=len(TASKS),
        class_names=lambda _source: list(NAMES),
        manifest_hash=lambda _source: "exam",
        load=lambda _source: dataset(),
        evaluation=EVALUATION,
    ),
)
