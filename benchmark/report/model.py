"""A table without a form: columns, rows, cells that know their runs, and notes."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from benchmark.metrics import Summary, summarize

Source = Literal["ours", "reported", "delta"]


@dataclass(frozen=True)
class Column:
    """One column and how its numbers are shown: value / scale with `decimals`.

    kind: "spread" shows mean and standard deviation, "value" the mean, "runs" how many runs are
    behind the row. source: numbers of our runs, published ones, or ours less the published.
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
    should be; failure: the word to show when no run finished and at least one broke off; broken:
    keys of the runs that broke off; best: belongs to the set of rows that no row of the column is
    significantly better than; published: what others reported for the same.
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
class Row:
    """A method, or a variant of it.

    section: rows of different sections are set apart; notes: 1-based numbers of the table's notes.
    """

    label: str
    method: str
    section: int
    cells: tuple[Cell, ...]  # one per column
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Table:
    """name: for file names; caption: what the numbers are and how the rows are ordered."""

    name: str
    title: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = field(default=())

    def column(self, key: str) -> int:
        """Position of the first column called `key`."""
        return [column.key for column in self.columns].index(key)

    def row(self, label: str) -> Row:
        """The row called `label`."""
        return next(row for row in self.rows if row.label == label)

    @property
    def groups(self) -> list[tuple[str, int]]:
        """Headings over the columns with the number of columns each covers."""
        spans: list[tuple[str, int]] = []
        for column in self.columns:
            if spans and spans[-1][0] == column.group:
                spans[-1] = (column.group, spans[-1][1] + 1)
            else:
                spans.append((column.group, 1))
        return spans
