"""What is known of numbers that others published: values, sources, doubts and settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from benchmark.report.model import Published

Confidence = Literal["high", "medium", "low", "none"]
Spread = Literal["sample", "standard error", "unstated"]
METRICS = ("final", "average", "final_weighted", "average_weighted")  # as in benchmark.metrics


@dataclass(frozen=True)
class Setting:
    """What is known of how a published number was made, in the words of our specifications.

    Empty or None: not known, or of no use. order: natural | shuffled | shuffled:SEED; split: the
    name of one of our splits, `unknown`, or a description of another; protocol: which classes and
    images make the tasks, where a data set is used in several ways; weighting: whether a stage's
    accuracy weighs tasks or test images alike; unknown: what else would matter and was not
    published.
    """

    order: str = ""
    split: str = ""
    protocol: str = ""
    input_range: str = ""
    precision: str = ""
    validation: float | None = None
    weighting: Literal["", "tasks", "images", "unclear"] = ""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    augmentation: Mapping[str, Any] = field(default_factory=dict)
    evaluation: Mapping[str, Any] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """One published number, or the statement that none is known (mean None).

    paper: short name, title: full; method: ours, None where we have none; label: as the paper
    writes it; tasks: None where not known; metric: one of METRICS, in percent; spread: what std is;
    n: runs, None where not stated; source: where it was read, first-hand or not, also: further
    places; verified: a first-hand source states it; recalled: known from memory alone.
    """

    paper: str
    title: str
    table: str
    dataset: str
    scenario: str
    tasks: int | None
    backbone: str
    method: str | None
    label: str
    metric: str
    mean: float | None
    std: float | None
    spread: Spread
    n: int | None
    source: str
    also: tuple[str, ...]
    confidence: Confidence
    verified: bool
    recalled: bool
    note: str
    setting: Setting

    @property
    def identity(self) -> tuple[object, ...]:
        """What no two entries share."""
        where = (self.paper, self.table, self.dataset, self.scenario, self.tasks, self.backbone)
        return (*where, self.label, self.metric)

    @property
    def name(self) -> str:
        """`inflora, Table 1, imagenet_r, 10 tasks, vit_b16_in21k, InfLoRA, final`."""
        tasks = f"{self.tasks or 'some'} tasks"
        parts = (self.paper, self.table, self.dataset, tasks, self.backbone, self.label)
        return ", ".join((*parts, self.metric))

    @property
    def usable(self) -> bool:
        """Whether tables and rankings may show it: there is a number, and somebody read it."""
        return self.mean is not None and not self.recalled

    def published(self, differs: str = "") -> Published:
        """As a cell has it; ValueError for an entry without a usable number."""
        if self.mean is None or self.recalled:
            raise ValueError(f"{self.title}, {self.table}: no number of {self.label} to show")
        std = None if self.spread == "standard error" else self.std
        places = "; ".join((self.source, *self.also))
        return Published(
            self.mean,
            std,
            self.n,
            f"{self.title}, {self.table}, read in: {places}",
            self.confidence,
            self.verified,
            differs,
        )
