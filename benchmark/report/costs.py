"""What every row of a block costs, as a table of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.report.blocks import Block, Line
from benchmark.report.fairness.check import facts_that_differ
from benchmark.report.model import Cell, Column, Table
from benchmark.report.notes import Notes
from benchmark.report.tables import line_cell, line_row, time_column
from benchmark.results.costs import OTHER, stored_kinds
from benchmark.results.store import Result

_PARAMETERS, _KEPT = "Parameters", "Statistics kept between tasks"
_FLOPS, _USED = "FLOPs per image", "Memory and time"
_COLUMNS = (
    Column("trainable_parameters", "Trainable a task", "k", scale=1e3, decimals=1),
    Column("expanded_parameters", "Added", "k", scale=1e3, decimals=1, group=_PARAMETERS),
    Column("stored_parameters", "Stored", "M", scale=1e6, drop=3),
    Column("stored_statistics", "All", "k", scale=1e3, decimals=1, group=_KEPT),
    Column("train_flops_per_image", "Training", scale=1e9, group=_FLOPS),
    Column("predict_flops_per_image", "Prediction", scale=1e9, group=_FLOPS),
    Column("query_flops_per_image", "Of these query", scale=1e9, group=_FLOPS, drop=5),
    Column("peak_memory_mb", "Peak memory", "GB", scale=1024, group=_USED, drop=2),
)
_CAPTION = (
    "Means over the finished runs. "
    "Parameters: trained in a task, of the task with the most; added beside backbone and "
    "classifier, counted as the papers do, with the offline copy that LAE and its forms keep; "
    "stored at the end, backbone, classifier and what was added. "
    "Statistics: numbers kept between tasks that are no parameters, all of them and by kind "
    "(covariances as Cholesky factors, bases of gradient subspaces). k: thousands, M: millions. "
    "FLOPs: operations for one image, in millions or in 10^9 (G), a multiply-add counts two; "
    "training is one step, "
    "forward and backward, what a step does once shared out among its images; both contain the "
    "query pass through the frozen backbone, as in use, although the benchmark keeps the features "
    "of test images. Not in them: passes that gather statistics before and after a task, alignment "
    "of the classifier, the optimiser. "
    "Peak memory: of the GPU, or of the whole process on a CPU. Training holds all tasks with what "
    "a method does before and after each, evaluation all stages."
)


@dataclass(frozen=True)
class _Kind:
    """Something that methods store, by the name they declare for it."""

    part: Literal["parameters", "statistics"]
    name: str

    @property
    def key(self) -> str:
        """Key of its column."""
        name = "other statistics" if self.name == OTHER else self.name
        return name.replace(" ", "_")

    @property
    def column(self) -> Column:
        """Its column, in thousands."""
        title, group = self.name[:1].upper() + self.name[1:], _KEPT
        if self.part == "parameters":
            group = _PARAMETERS
        return Column(self.key, title, "k", scale=1e3, decimals=1, group=group, drop=6)

    def cell(self, line: Line) -> Cell:
        """How much of it every run stores: 0 where it stores others alone, nan if unknown."""
        values = []
        for run in line.done:
            outcome = run.result["outcome"]
            count = stored_kinds(outcome, self.part).get(self.name, 0)
            values.append(count if "stored" in outcome else math.nan)
        some = line_cell(line, replace(self.column, key="stored_statistics"))
        return replace(some, values=tuple(values))  # runs, failures and the like are every cell's


def cost_table(block: Block) -> Table:
    """Everything that the rows of a block cost, in the order of its other table."""
    times = (
        time_column(block.lines, "train_seconds", "Training"),
        time_column(block.lines, "eval_seconds", "Evaluation"),
    )
    kinds = {kind.key: kind for kind in _stored(block.lines)}
    found = [*_needed(block.lines, kinds.values())]
    found += [replace(column, group=_USED) for column in times]
    giga = _most("train_flops_per_image", block.lines) >= 1e9
    columns = tuple(_in_its_unit(column, giga) for column in found)
    machines = facts_that_differ(
        [[run.result for run in line.done] for line in block.lines], _machine
    )
    notes = Notes()
    rows = []
    for line, other in zip(block.lines, machines, strict=True):
        row = line_row(line, (), notes, (f"{text}: other memory and time" for text in other))
        cells = (kinds[c.key].cell(line) if c.key in kinds else line_cell(line, c) for c in columns)
        rows.append(replace(row, cells=tuple(cells)))
    title, name = f"{block.title}: costs", f"{block.name}-costs"
    return Table(name, title, _CAPTION, columns, tuple(rows), notes.texts)


def _in_its_unit(column: Column, giga: bool) -> Column:
    """The column as a mean; operations in 10^9, or in millions for small networks."""
    column = replace(column, kind="value", group=column.group or _PARAMETERS)
    if column.group != _FLOPS:
        return column
    return replace(column, unit="G") if giga else replace(column, unit="M", scale=1e6, decimals=1)


def _stored(lines: Iterable[Line]) -> list[_Kind]:
    """All kinds that the rows store, in the order in which they name them, other statistics last.

    Parameters of no declared kind are in the sum of what is added alone.
    """
    parts: tuple[Literal["parameters", "statistics"], ...] = ("parameters", "statistics")
    met = {
        _Kind(part, name): None
        for part in parts
        for line in lines
        for run in line.done
        for name in stored_kinds(run.result["outcome"], part)
    }
    other = _Kind("statistics", OTHER)
    return [kind for kind in met if kind.name != OTHER] + [other] * (other in met)


def _needed(lines: Sequence[Line], kinds: Iterable[_Kind]) -> Iterator[Column]:
    """The columns, with those of kinds behind the sums they are parts of."""
    after = {"parameters": "expanded_parameters", "statistics": "stored_statistics"}
    for column in _COLUMNS:
        if column.key != "query_flops_per_image" or _most(column.key, lines) > 0:
            yield column
        yield from (kind.column for kind in kinds if after[kind.part] == column.key)


def _most(name: str, lines: Sequence[Line]) -> float:
    """The largest of a number over all finished runs; 0 where none is known."""
    values = [value for line in lines for value in line.values(name)]
    return max((value for value in values if not math.isnan(value)), default=0.0)


def _machine(run: Result) -> dict[str, str]:
    """What memory and time depend on and accuracy does not."""
    environment = run["environment"]
    return {
        "device": environment["device"],
        "hardware": environment["hardware"],
        "threads": str(environment["threads"]),
    }
