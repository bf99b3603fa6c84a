"""The numbers behind the figures, without matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmark import metrics
from benchmark.metrics import Predictions, Summary, summarize
from benchmark.registry import UnknownNameError
from benchmark.report.figures.options import NothingToDrawError, Options
from benchmark.report.formatting import number
from benchmark.report.model import PLUS_MINUS
from benchmark.report.rows import Block, Row, replicate
from benchmark.results.schema import Outcome

_MOST_SIZES = 5  # ticks of sizes
DEFAULT_REFERENCE = "inflora"
Array: TypeAlias = NDArray[np.float64]


def usable(block: Block) -> Block:
    """The block with finished rows alone; NothingToDrawError when there are none."""
    rows = tuple(row for row in block.rows if row.done)
    if not rows:
        raise NothingToDrawError("no run is finished")
    return replace(block, rows=rows)


def task_word(block: Block) -> str:
    """What the block calls a task."""
    return "domain" if block.key.scenario == "domain" else "task"


def summary_text(summary: Summary, *, sign: bool = False) -> str:
    """`81.20 ± 0.52, n = 3`; sign: with a plus before differences above zero."""
    text = ("+" if sign and summary.mean > 0 else "") + number(summary.mean, 2)
    if not math.isnan(summary.std):
        text += f" {PLUS_MINUS} {number(summary.std, 2)}"
    return f"{text}, n = {summary.n}"


# -- accuracy after each task -------------------------------------------------------------------


def stage_summaries(row: Row) -> list[Summary]:
    """Mean and standard deviation over the runs of the accuracy after each task; nan if unknown."""
    runs = [metrics.stage_accuracies(run.result["outcome"]["accuracy"]) for run in row.done]
    return [summarize(values) for values in zip(*runs, strict=True)]


# -- accuracy on each task relative to a chosen row ---------------------------------------------


def check_names(options: Options, blocks: Iterable[Block]) -> None:
    """Raises UnknownNameError, with the nearest name, for a method or row that no block has."""
    rows = [row for block in blocks for row in block.rows]
    known = {row.method for row in rows} | {row.label for row in rows}
    if options.relative_to and options.relative_to not in known:
        raise UnknownNameError("method to compare with", options.relative_to, known)
    for name in options.highlight:
        if name not in known:
            raise UnknownNameError("method to highlight", name, known)


def reference_row(block: Block, name: str) -> Row:
    """The row called `name`, or the first of that method; see `Options` for an empty name."""
    rows = [row for row in block.rows if row.done]
    wanted = name or DEFAULT_REFERENCE
    first = sorted(rows, key=lambda row: (row.label != wanted, row.variant))
    for row in first:
        if wanted in (row.label, row.method):
            return row
    if name:
        raise NothingToDrawError(f"no finished run of {name} to compare with")
    return next((row for row in rows if row.section == 1), rows[0])


def relative_summaries(row: Row, reference: Row) -> list[Summary]:
    """a[T][j] less the reference's for every task j, in percentage points.

    Over the pairs of runs of the same seed and class order: others do not have the same tasks.
    Empty when there is no such pair.
    """
    theirs = {
        replicate(run.result["spec"]): _last_row(run.result["outcome"]) for run in reference.done
    }
    pairs = [
        (_last_row(run.result["outcome"]), theirs[replicate(run.result["spec"])])
        for run in row.done
        if replicate(run.result["spec"]) in theirs
    ]
    differences = [[a - b for a, b in zip(own, other, strict=True)] for own, other in pairs]
    return [summarize(values) for values in zip(*differences, strict=True)]


def _last_row(outcome: Outcome) -> Sequence[float]:
    row = outcome["accuracy"][-1]
    return row or []  # the schema's check refuses a result without a last row


# -- what costs how much ------------------------------------------------------------------------


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the (cost, accuracy) that no other beats in one without losing in the other.

    In order of rising cost; undefined points never belong to it.
    """
    defined = [i for i, point in enumerate(points) if not any(map(math.isnan, point))]
    front: list[int] = []
    for i in sorted(defined, key=lambda i: (points[i][0], -points[i][1])):
        better = not front or points[i][1] > points[front[-1]][1]
        if better or points[i] == points[front[-1]]:
            front.append(i)
    return front


# -- forgetting and confusion -------------------------------------------------------------------


def forgetting_by_task(row: Row) -> list[float]:
    """Mean over the runs of the forgetting of every task but the last; nan where undefined."""
    runs = [metrics.forgetting_by_task(run.result["outcome"]["accuracy"]) for run in row.done]
    return [summarize(values).mean for values in zip(*runs, strict=True)]


@dataclass(frozen=True)
class Confusion:
    """Means over the `runs` whose predictions are stored, after the last task.

    shares: percent of the images of each task (rows) put into a class of each task (columns),
    float64 [T, T]; wrong_task, wrong_class: the error in percent in its two parts.
    """

    shares: Array
    wrong_task: float
    wrong_class: float
    runs: int


def confusion(row: Row, predictions: Callable[[str], Predictions]) -> Confusion | None:
    """The row's confusion; None when no run has predictions of the last stage that can be used."""
    found = []
    last = len(row.spec["tasks"]) - 1
    for run in row.done:
        try:
            arrays = predictions(run.result["key"])
            shares = metrics.task_confusion(arrays, last)
            split = metrics.error_split(arrays, last)
        except (ValueError, LookupError):  # missing, damaged, or of earlier stages alone
            continue
        if not math.isnan(split.wrong_task + split.wrong_class):
            found.append((shares, split))
    if not found:
        return None
    return Confusion(
        np.mean([shares for shares, _ in found], axis=0),
        summarize(split.wrong_task for _, split in found).mean,
        summarize(split.wrong_class for _, split in found).mean,
        len(found),
    )


def round_sizes(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis: powers of ten, with 2 and 5 between when few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        values = [step * 10.0**decade for decade in decades for step in steps]
        inside = [value for value in values if low * 0.95 <= value <= high * 1.05]
        if len(inside) >= 3:
            break
    return inside[:: math.ceil(len(inside) / _MOST_SIZES) or 1] or [low]


def size_text(value: float) -> str:
    """A size as a tick names it: `20,000`, `0.5`; `1e6` and `1e-5` where digits take room."""
    if value >= 1e6 or value < 1e-3:
        digits, power = f"{value:.1e}".split("e")
        return f"{digits.removesuffix('.0')}e{int(power)}"
    return number(value, 0) if value >= 10 else f"{value:.3g}"
