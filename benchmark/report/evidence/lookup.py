"""Finding one cell of the report by the words a reader has: its row, its column, its table."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from benchmark.registry import UnknownNameError
from benchmark.report.formats.csv_table import headings
from benchmark.report.model import Cell, Column, Table, TableRow

# What the formats put around a name: numbers of notes, and signs against another meaning.
_MARKS = re.compile(r"<sup>.*?</sup>|(\s*\[\d+\])+$|\\(?=[^a-zA-Z0-9\s])")


class AmbiguousCellError(ValueError):
    """Several cells are meant; `candidates` holds arguments of `clbench explain` for each."""

    def __init__(self, asked: str, candidates: Sequence[str]) -> None:
        self.asked, self.candidates = asked, tuple(candidates)
        super().__init__(f"{asked} is in several places: {' | '.join(candidates)}")


@dataclass(frozen=True)
class _Found:
    """A cell, and how well the words name it: smaller is better."""

    table: Table
    row: int
    position: int
    level: tuple[int, int]

    @property
    def column(self) -> Column:
        return self.table.columns[self.position]

    @property
    def cell(self) -> Cell:
        return self.table.rows[self.row].cells[self.position]

    @property
    def filled(self) -> bool:
        """Whether there is anything behind it."""
        cell = self.cell
        return bool(cell.runs or cell.broken or cell.total or cell.published)

    @property
    def number(self) -> object:
        """The same for two cells that show the same number of the same runs."""
        if not self.cell.runs:
            return id(self.cell)
        column = self.column
        published = None if column.source == "ours" else self.cell.published
        counted = column.kind == "runs"
        return column.key, column.source, counted, self.cell.runs, self.cell.total, published

    @property
    def arguments(self) -> str:
        row = row_names(self.table)[self.row]
        return shlex.join(
            ["--table", self.table.name, row, column_names(self.table)[self.position]]
        )


def find_cell(
    tables: Sequence[Table], row_text: str, column_text: str, table_text: str = ""
) -> tuple[Table, TableRow, Column]:
    """The cell that is meant.

    row_text: the row's name as any format shows it, or the name of its method; column_text: key,
    title, or title with unit of a column, with `group: ` before it or without, or a heading of the
    CSV file; table_text: name or title of a table, empty for any. Upper and lower case count only
    where it decides. Raises UnknownNameError with the nearest name where nothing fits, and
    AmbiguousCellError where several cells with different numbers do.
    """
    if table_text:
        tables = _tables(tables, table_text)
    with_row = [(table, _matches(row_text, _row_words(table))) for table in tables]
    if not any(matches for _, matches in with_row):
        rows = {name for table in tables for name in row_names(table)}
        raise UnknownNameError("row", row_text, rows)
    found = [
        _Found(table, i, j, (row_level, column_level))
        for table, rows in with_row
        for row_level, i in rows
        for column_level, j in _matches(column_text, _column_words(table))
    ]
    if not found:
        there = [table for table, rows in with_row if rows]
        columns = {name for table in there for name in column_names(table)}
        raise UnknownNameError(f"column with a row {row_text!r}", column_text, columns)
    best = min(one.level for one in found)
    meant = [one for one in found if one.level == best]
    numbers: dict[object, _Found] = {}
    for one in [one for one in meant if one.filled] or meant:
        numbers.setdefault(one.number, one)
    if len(numbers) > 1:
        raise AmbiguousCellError(
            f"{row_text} {column_text}", [one.arguments for one in numbers.values()]
        )
    (one,) = numbers.values()
    return one.table, one.table.rows[one.row], one.column


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
    for fold in (_as_it_is, str.casefold):
        chosen = [t for t in tables if fold(text) in (fold(t.name), fold(t.title))]
        if chosen:
            return chosen
    raise UnknownNameError("table", text, [table.name for table in tables])


def _row_words(table: Table) -> list[list[list[str]]]:
    names = row_names(table)
    return [
        [[name], [row.label], [row.method]] for name, row in zip(names, table.rows, strict=True)
    ]


def _column_words(table: Table) -> list[list[list[str]]]:
    return [
        [[name], list(_column_aliases(column))]
        for name, column in zip(column_names(table), table.columns, strict=True)
    ]


def _column_aliases(column: Column) -> Iterable[str]:
    csv = headings(replace(column, group=""))
    for words in (column.heading, column.title, column.key, *csv):
        yield words
        yield _grouped(column, words)


def _matches(text: str, words: list[list[list[str]]]) -> list[tuple[int, int]]:
    """Level and position of what the text names, of the best level alone.

    words: of every position its names, the surest kind of name first.
    """
    level = 0
    for said, fold in _readings(text):
        for kind in range(max((len(kinds) for kinds in words), default=0)):
            found = [
                (level, i)
                for i, kinds in enumerate(words)
                if kind < len(kinds) and said in map(fold, kinds[kind])
            ]
            if found:
                return found
            level += 1
    return []


def _readings(text: str) -> list[tuple[str, Callable[[str], str]]]:
    """The text as it stands, without the marks of a format, and whatever its case."""
    spaced = " ".join(text.split())
    bare = " ".join(_MARKS.sub("", spaced).split())
    return [
        (spaced, _as_it_is),
        (bare, _as_it_is),
        (spaced.casefold(), str.casefold),
        (bare.casefold(), str.casefold),
    ]


def _as_it_is(text: str) -> str:
    return text


def _grouped(column: Column, words: str) -> str:
    return f"{column.group}: {words}" if column.group else words


def _unique(names: list[str]) -> list[str]:
    """The names, those given several times with their number among these."""
    numbered = []
    for i, name in enumerate(names):
        several = names.count(name) > 1
        numbered.append(f"{name} #{names[: i + 1].count(name)}" if several else name)
    return numbered
