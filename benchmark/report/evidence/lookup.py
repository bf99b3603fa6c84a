"""Finding one cell of the report by the words a reader has: its row, its column, its table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from benchmark.registry import UnknownNameError
from benchmark.report.formats.csv_table import headings
from benchmark.report.model import Column, Table, TableRow

# What the formats put around a name: numbers of notes, and signs against another meaning.
_MARKS = re.compile(r"<sup>.*?</sup>|(\s*\[\d+\])+$|\\(?=[^a-zA-Z0-9\s])")


class AmbiguousCellError(ValueError):
    """Several cells are meant; `candidates` holds arguments of `clbench explain` for each."""

    def __init__(self, asked: str, candidates: Sequence[str]) -> None:
        self.asked, self.candidates = asked, tuple(candidates)
        super().__init__(f"{asked} is in several places: {' | '.join(candidates)}")


class _Found(NamedTuple):
    """A cell and where it stands."""

    table: Table
    i: int
    j: int

    @property
    def filled(self) -> bool:
        """Whether there is anything behind it."""
        cell = self.table.rows[self.i].cells[self.j]
        return bool(cell.runs or cell.broken or cell.total or cell.published)

    @property
    def number(self) -> object:
        """The same for two cells that show the same number of the same runs."""
        cell, column = self.table.rows[self.i].cells[self.j], self.table.columns[self.j]
        if not cell.runs:
            return id(cell)
        published = None if column.source == "ours" else cell.published
        counted = column.kind == "runs"
        return column.key, column.source, counted, cell.runs, cell.total, published

    @property
    def arguments(self) -> str:
        """The arguments of `clbench explain` that mean this cell alone."""
        row, column = row_names(self.table)[self.i], column_names(self.table)[self.j]
        return shlex.join(["--table", self.table.name, row, column])


def find_cell(
    tables: Sequence[Table], row_text: str, column_text: str, table_text: str = ""
) -> tuple[Table, TableRow, Column]:
    """The cell that is meant; upper and lower case count only where it decides.

    Args:
        tables: Where to look.
        row_text: The row's name as any format shows it, or the name of its method.
        column_text: Key, title, or title with unit of a column, with `group: ` before it or
            without, or a heading of the CSV file.
        table_text: Name or title of a table, empty for any.

    Raises:
        UnknownNameError: Nothing fits; with the nearest name.
        AmbiguousCellError: Several cells with different numbers do.
    """
    if table_text:
        tables = _tables(tables, table_text)
    with_row = [(table, rows) for table in tables if (rows := _rows(table, row_text))]
    if not with_row:
        names = {name for table in tables for name in row_names(table)}
        raise UnknownNameError("row", row_text, names)
    found = [
        ((row_level, column_level), _Found(table, i, j))
        for table, rows in with_row
        for i, row_level in rows.items()
        for j, column_level in _columns(table, column_text).items()
    ]
    if not found:
        names = {name for table, _ in with_row for name in column_names(table)}
        raise UnknownNameError(f"column with a row {row_text!r}", column_text, names)
    best = min(level for level, _ in found)
    meant = [cell for level, cell in found if level == best]
    numbers: dict[object, _Found] = {}
    for cell in [cell for cell in meant if cell.filled] or meant:
        numbers.setdefault(cell.number, cell)
    if len(numbers) > 1:
        arguments = [cell.arguments for cell in numbers.values()]
        raise AmbiguousCellError(f"{row_text} {column_text}", arguments)
    [(table, i, j)] = numbers.values()
    return table, table.rows[i], table.columns[j]


def row_names(table: Table) -> list[str]:
    """A name for every row that no other row of the table has."""
    return _unique([row.label for row in table.rows])


def column_names(table: Table) -> list[str]:
    """A name for every column that no other column of the table has: `group: title (unit)`."""
    plain = [_grouped(column, column.heading) for column in table.columns]
    twice = {name for name in plain if plain.count(name) > 1}
    return _unique(
        [
            f"{name} [{column.source}]" if name in twice else name
            for name, column in zip(plain, table.columns, strict=True)
        ]
    )


def position_of(table: Table, column: Column) -> int:
    """Where a column of the table stands; two that look alike are distinguished by identity."""
    same = [i for i, one in enumerate(table.columns) if one is column]
    return same[0] if same else table.columns.index(column)


def _tables(tables: Sequence[Table], text: str) -> list[Table]:
    for fold in (str, str.casefold):
        chosen = [t for t in tables if fold(text) in (fold(t.name), fold(t.title))]
        if chosen:
            return chosen
    raise UnknownNameError("table", text, [table.name for table in tables])


def _rows(table: Table, text: str) -> dict[int, int]:
    """Positions of the rows that the text may name, and how well: 0 is best."""
    names = zip(row_names(table), table.rows, strict=True)
    return _levels(text, [[[name], [row.label], [row.method]] for name, row in names])


def _columns(table: Table, text: str) -> dict[int, int]:
    """Positions of the columns that the text may name, and how well: 0 is best."""
    names = zip(column_names(table), table.columns, strict=True)
    return _levels(text, [[[name], _aliases(column)] for name, column in names])


def _aliases(column: Column) -> list[str]:
    csv = headings(replace(column, group=""))
    words = [column.heading, column.title, column.key, *csv]
    return words + [_grouped(column, word) for word in words]


def _levels(text: str, words: Sequence[Sequence[Sequence[str]]]) -> dict[int, int]:
    """words: of every position its names, the surest kind of name first."""
    spaced = " ".join(text.split())
    bare = " ".join(_MARKS.sub("", spaced).split())  # without the marks of a format
    readings: list[tuple[str, Callable[[str], str]]] = [
        (spaced, str),
        (bare, str),
        (spaced.casefold(), str.casefold),
        (bare.casefold(), str.casefold),
    ]
    found: dict[int, int] = {}
    for i, kinds in enumerate(words):
        tries = [(said, fold, names) for said, fold in readings for names in kinds]
        hits = (n for n, (said, fold, names) in enumerate(tries) if said in map(fold, names))
        level = next(hits, None)
        if level is not None:
            found[i] = level
    return found


def _grouped(column: Column, words: str) -> str:
    return f"{column.group}: {words}" if column.group else words


def _unique(names: list[str]) -> list[str]:
    """The names, those given several times with their number among these."""
    numbered = []
    for i, name in enumerate(names):
        several = names.count(name) > 1
        numbered.append(f"{name} #{names[: i + 1].count(name)}" if several else name)
    return numbered
