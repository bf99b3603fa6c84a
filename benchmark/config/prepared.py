"""How the images of each data set are prepared: its own way, changed by suite and options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from benchmark.config.assignments import Assignment
from benchmark.config.preparation import (
    AUGMENTATION,
    EVALUATION,
    NONE,
    changed,
    read_change,
    read_evaluation,
)
from benchmark.config.suite import Suite
from benchmark.data import dataset_info
from benchmark.spec import Augmentation, Evaluation, NoAugmentation
from benchmark.validation import Errors, check_field


def augmentations(
    suite: Suite, datasets: Iterable[str], assignments: Iterable[Assignment], errors: Errors
) -> dict[str, Augmentation | NoAugmentation]:
    """The augmentation on each data set: its own, then the suite's and the user's values."""
    asked: list[Mapping[str, Any] | NoAugmentation] = []
    for one in assignments:
        if one.block == AUGMENTATION:
            with errors.at(one.option):
                asked.append(
                    {one.key: check_field(Augmentation, one.key, one.value)}
                    if one.key
                    else read_change(one.value)
                )
                if NONE in asked and any(change != NONE for change in asked):
                    raise ValueError(f"cannot go with {AUGMENTATION}={NONE}")
    found = {}
    for name in datasets:
        own = suite.per_dataset.get(name)
        suites = [suite.augmentation, *([own.augmentation] if own else [])]
        found[name] = changed(dataset_info(name).augmentation, [*suites, *asked])
    return found


def evaluations(
    suite: Suite, datasets: Iterable[str], assignments: Iterable[Assignment], errors: Errors
) -> dict[str, Evaluation]:
    """How test images are resized on each data set: its way, then the suite's and the user's."""
    asked: dict[str, Any] = {}
    for one in assignments:
        if one.block == EVALUATION:
            with errors.at(one.option):
                asked |= (
                    {one.key: check_field(Evaluation, one.key, one.value)}
                    if one.key
                    else read_evaluation(one.value)
                )
    found = {}
    for name in datasets:
        own = suite.per_dataset.get(name)
        values = {**suite.evaluation, **(own.evaluation if own else {}), **asked}
        found[name] = replace(dataset_info(name).evaluation, **values)
    return found
