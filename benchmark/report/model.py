"""A format-independent table and the report: columns, rows, cells that know their runs, notes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Literal

from benchmark.metrics import Summary, summarize
from benchmark.report.formatting import number
from benchmark.report.rows import Block
from benchmark.results.store import Result

UNDEFINED = "-"
PLUS_MINUS = "±"
UNVERIFIED = "?"  # after a published number that no first-hand source states

Source = Literal["ours", "reported", "logged", "delta"]


@dataclass(frozen=True)
class Column:
    """One column and how its numbers are shown: value / scale with `decimals`.

    kind: "spread" shows mean and standard deviation, "value" the mean, "runs" how many runs are
    behind the row. source: numbers of our runs, published ones, those of the official logs, or ours
    less the published.
    group: a heading over neighbouring columns. drop: where there is no room, columns go in falling
    order of this number; 0 stays.
    """

    key: str
    title: str
    unit: str = ""
    kind: Literal["spread", "value", "runs"] = "spread"
    source: Source = "ours"
    scale: float = 1.0
    decimals: int = 2
    group: str = ""
    drop: int = 0

    @property
    def theirs(self) -> bool:
        """Whether the numbers were made by others."""
        return self.source in ("reported", "logged")

    @property
    def heading(self) -> str:
        """Title with its unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


@dataclass(frozen=True)
class Published:
    """A number somebody else reported, in the metric's own unit, and how far it can be trusted.

    std, n: None where not stated; source: where it stands; verified: a first-hand source states it;
    differs: in what its setting differs from the table's, empty if in nothing known.
    """

    mean: float
    std: float | None
    n: int | None
    source: str
    confidence: str
    verified: bool
    differs: str = ""


@dataclass(frozen=True)
class Cell:
    """One number and the finished runs it rests on.

    values: one per run, in the metric's own unit; runs: their keys; total: how many runs there
    should be; failure: the word to show when no run finished and at least one failed or was
    interrupted; broken: keys of the runs that did; best: the row has the best mean of the column,
    or is not significantly below it; published: what others reported for the same.
    """

    values: tuple[float, ...] = ()
    runs: tuple[str, ...] = ()
    total: int = 0
    failure: str = ""
    best: bool = False
    published: Published | None = None
    broken: tuple[str, ...] = ()

    @cached_property
    def summary(self) -> Summary:
        """Mean, sample standard deviation and n."""
        return summarize(self.values)


@dataclass(frozen=True)
class TableRow:
    """A method, or a variant of it.

    section: rows of different sections are set apart, 0 and 2 step back; notes: 1-based numbers of
    the table's notes.
    """

    label: str
    method: str
    section: int
    cells: tuple[Cell, ...]  # one per column
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Table:
    """name: for file names; caption: what the numbers are and how the rows are ordered.

    reading: lines above the table on how to read it.
    """

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]
    notes: tuple[str, ...] = field(default=())
    reading: tuple[str, ...] = ()

    def column(self, key: str) -> int:
        """Position of the first column called `key`."""
        return [column.key for column in self.columns].index(key)

    def row(self, label: str) -> TableRow:
        """The row called `label`."""
        return next(row for row in self.rows if row.label == label)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings over the columns with the number of columns each covers."""
        neighbours = groupby(self.columns, key=lambda column: column.group)
        return [(group, len(list(columns))) for group, columns in neighbours]


@dataclass(frozen=True)
class Report:
    """What there is to show.

    tables: all of them; printed: those for the terminal; problems: files that could not be used,
    and rows that stand beside published numbers of another split;
    message: how many runs there were, in one sentence; results: by key; files: what was written.
    """

    blocks: tuple[Block, ...]
    tables: tuple[Table, ...]
    problems: tuple[str, ...]
    message: str
    printed: tuple[Table, ...] = ()
    results: Mapping[str, Result] = field(default_factory=dict)
    files: tuple[Path, ...] = ()


# -- cells as text ------------------------------------------------------------------------------


def cell_text(cell: Cell, column: Column, plus_minus: str = PLUS_MINUS) -> str:
    """What stands in a cell: a number, `mean ± std`, `n of N`, `failed`, or `-` for undefined.

    A published number that no first-hand source states ends with `?`; where nothing was published
    the cell is blank.
    """
    if column.source != "ours":
        return _published_text(cell, column, plus_minus)
    if column.kind == "runs":
        n = len(cell.values)
        if not cell.total:
            return UNDEFINED
        return f"{n} of {cell.total}" if cell.total > n else str(n)
    if cell.failure:
        return cell.failure
    summary = cell.summary
    if math.isnan(summary.mean):
        return UNDEFINED
    std = None if column.kind == "value" or math.isnan(summary.std) else summary.std
    return _with_spread(summary.mean, std, column, plus_minus)


def bold(cell: Cell, column: Column) -> bool:
    """Whether the number is shown as one of the best of its column."""
    return cell.best and column.source == "ours" and column.kind != "runs"


def _published_text(cell: Cell, column: Column, plus_minus: str) -> str:
    published, mean = cell.published, cell.summary.mean
    if published is None:
        return ""
    doubt = "" if published.verified else UNVERIFIED
    if column.theirs:
        std = None if column.kind == "value" else published.std
        return _with_spread(published.mean, std, column, plus_minus) + doubt
    if math.isnan(mean):
        return ""
    difference = (mean - published.mean) / column.scale
    return ("+" if difference > 0 else "") + number(difference, column.decimals) + doubt


def _with_spread(mean: float, std: float | None, column: Column, plus_minus: str) -> str:
    text = number(mean / column.scale, column.decimals)
    if std is None:
        return text
    return f"{text} {plus_minus} {number(std / column.scale, column.decimals)}"
