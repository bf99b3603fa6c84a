"""What every row of a block costs, as a table of its own."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.report.fairness.check import facts_that_differ
from benchmark.report.model import Cell, Column, Table
from benchmark.report.notes import Notes
from benchmark.report.rows import Block, Row
from benchmark.report.tables import column, row_cell, table_row, time_column
from benchmark.results.costs import COSTS, FLOPS, KEPT, OTHER, PARAMETERS, Cost, stored_kinds
from benchmark.results.store import Result

_CAPTION = (
    "Means over the finished runs. k: thousands, M: millions, G: 10^9. Columns with the name of "
    "what a method stores are parts of the expanded parameters or of all statistics. A "
    "multiply-add counts two FLOPs. Not in the FLOPs: passes that gather statistics before and "
    "after a task, alignment of the classifier, the optimizer. Prediction contains the frozen "
    "query, although the benchmark keeps the features of test images."
)


def cost_table(block: Block) -> Table:
    """Everything that the rows of a block cost, in the order of its other table."""
    shown = [cost for cost in COSTS.values() if _is_shown(cost, block.rows)]
    kinds = {kind.key: kind for kind in _stored(block.rows)}
    columns = tuple(_columns(shown, block.rows, kinds.values()))
    machines = facts_that_differ([[run.result for run in row.done] for row in block.rows], _machine)
    notes = Notes()
    rows = []
    for row, texts in zip(block.rows, machines, strict=True):
        named = table_row(row, (), notes, (f"memory and time: {text}" for text in texts))
        cells = (kinds[c.key].cell(row) if c.key in kinds else row_cell(row, c) for c in columns)
        rows.append(replace(named, cells=tuple(cells)))
    definitions = (f"{cost.label}: {cost.explanation}." for cost in shown)
    caption = " ".join((_CAPTION, *definitions))
    title, name = f"{block.title}: costs", f"{block.name}-costs"
    return Table(name, title, caption, columns, tuple(rows), notes.texts)


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
        title, group = self.name[:1].upper() + self.name[1:], KEPT
        if self.part == "parameters":
            group = PARAMETERS
        return Column(self.key, title, "k", "value", scale=1e3, decimals=1, group=group, drop=6)

    def cell(self, row: Row) -> Cell:
        """How much of it every run stores: 0 where it stores others alone."""
        values = []
        for run in row.done:
            outcome = run.result["outcome"]
            values.append(stored_kinds(outcome, self.part).get(self.name, 0))
        some = row_cell(row, replace(self.column, key="stored_statistics"))
        return replace(some, values=tuple(values))  # runs, failures and the like are every cell's


def _stored(rows: Iterable[Row]) -> list[_Kind]:
    """All kinds that the rows store, in the order in which they name them, other statistics last.

    Parameters of no declared kind are in the sum of the expanded ones alone.
    """
    parts: tuple[Literal["parameters", "statistics"], ...] = ("parameters", "statistics")
    met = {
        _Kind(part, name): None
        for part in parts
        for row in rows
        for run in row.done
        for name in stored_kinds(run.result["outcome"], part)
    }
    other = _Kind("statistics", OTHER)
    return [kind for kind in met if kind.name != OTHER] + [other] * (other in met)


def _columns(
    shown: Iterable[Cost], rows: Sequence[Row], kinds: Iterable[_Kind]
) -> Iterator[Column]:
    """The columns, with those of kinds behind the sums they are parts of."""
    after = {"parameters": "expanded_parameters", "statistics": "stored_statistics"}
    for cost in shown:
        yield _column(cost, rows)
        yield from (kind.column for kind in kinds if after[kind.part] == cost.name)


def _column(cost: Cost, rows: Sequence[Row]) -> Column:
    """The cost as a mean, operations and times in the unit that suits the largest."""
    if cost.unit == "s":
        return time_column(rows, cost.name, group=cost.group, drop=cost.drop)
    shown = column(cost.name, kind="value", group=cost.group, drop=cost.drop)
    if cost.unit != FLOPS:
        return shown
    if _most("train_flops_per_image", rows) >= 1e9:
        return replace(shown, unit="G", scale=1e9)
    return replace(shown, unit="M", scale=1e6, decimals=1)


def _is_shown(cost: Cost, rows: Sequence[Row]) -> bool:
    return bool(cost.group) and (not cost.optional or _most(cost.name, rows) > 0)


def _most(name: str, rows: Sequence[Row]) -> float:
    """The largest of a number over all finished runs; 0 where none is known."""
    values = [value for row in rows for value in row.values(name)]
    return max((value for value in values if not math.isnan(value)), default=0.0)


def _machine(run: Result) -> dict[str, str]:
    """What memory and time depend on and accuracy does not."""
    environment = run["environment"]
    return {
        "device": environment["device"],
        "hardware": environment["hardware"],
        "threads": str(environment["threads"]),
    }
