"""A table for the terminal: lines and colour on a screen, aligned plain text elsewhere."""

from __future__ import annotations

import io
import os
import shutil
import sys
import textwrap
from dataclasses import replace
from itertools import pairwise
from typing import TextIO

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from benchmark.report.model import PLUS_MINUS, Column, Table, TableRow, bold, cell_text
from benchmark.words import visible

_BEST = "best mean of the column, or not significantly below it"
_FOLDED = 24  # characters: longer names of rows may be folded to save room for numbers
_GROUP = 14  # characters of a line of a heading over several columns
_UNLIMITED = 10_000  # columns: files and pipes have no width
_PLAIN = box.Box("    \n    \n -- \n    \n    \n    \n    \n    \n", ascii=True)


def for_stream(table: Table, stream: TextIO | None = None) -> str:
    """The table as it suits `stream` (standard output by default)."""
    stream = stream or sys.stdout
    safe, table = _speaks_unicode(stream), _visible(table)
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return plain(table, ascii_only=not safe)
    return drawn(table, shutil.get_terminal_size().columns, ascii_only=not safe)


def plain(table: Table, *, ascii_only: bool = False) -> str:
    """Aligned text without a limit on its width; `*` after the best rows' numbers."""
    legend = [f"* {_best(table)}"] if _has_bold(table) else []
    grid = _grid(table, screen=False, ascii_only=ascii_only)
    text = _printed(table, [grid], [*legend, *_notes(table)], _UNLIMITED, colour=False)
    return _encodable(text, ascii_only)


def drawn(table: Table, width: int, *, ascii_only: bool = False) -> str:
    """The table for a terminal of `width` columns.

    Optional columns that do not fit are named below it; where the others do not fit either, the
    table goes on below with the rest of them.
    """
    shown = _fitted(table, width, ascii_only)
    headings = {column.heading for column in shown.columns}
    dropped = [c.heading for c in table.columns if c.heading not in headings]
    notes = [f"Bold: {_best(shown)}."] if _has_bold(shown) else []
    notes += _notes(shown)
    if dropped:
        notes.append(f"No room here for: {', '.join(dict.fromkeys(dropped))}.")
    grids = [
        _grid(part, screen=True, ascii_only=ascii_only) for part in _parts(shown, width, ascii_only)
    ]
    return _encodable(_printed(shown, grids, notes, width, colour=True), ascii_only)


def _printed(table: Table, grids: list[Grid], notes: list[str], width: int, *, colour: bool) -> str:
    out = io.StringIO()
    console = Console(
        file=out,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
    )
    console.print(Text(table.title, style="bold"))
    for line in table.reading:
        console.print(Text(line))
    for grid in grids:
        console.print("", grid, sep="\n")
    if notes:
        console.print()
    for note in notes:
        console.print(Text(note, style="dim"))
    lines = out.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines).rstrip() + "\n"


def _grid(table: Table, *, screen: bool, ascii_only: bool = False, narrow: bool = False) -> Grid:
    """The table without title and notes; on a screen the best are bold, elsewhere starred.

    narrow: with names of rows folded as far as they may be.
    """
    lines = box.SIMPLE_HEAD if screen and not ascii_only else _PLAIN
    grid = Grid(box=lines, padding=(0, 1, 0, 0), show_edge=False)
    longest = max((len(_label(row)) for row in table.rows), default=0)
    grid.add_column(
        "Method",
        overflow="fold",
        min_width=min(longest, _FOLDED),
        max_width=_FOLDED * narrow or None,
    )
    for column in table.columns:
        grid.add_column(Text(_heading(column)), justify="right")
    plus_minus = "+-" if ascii_only else PLUS_MINUS
    starred = [
        not screen and any(bold(row.cells[i], column) for row in table.rows)
        for i, column in enumerate(table.columns)
    ]
    ends = [a.section != b.section for a, b in pairwise(table.rows)]
    for row, last in zip(table.rows, [*ends, False], strict=False):
        cells = []
        for cell, column, has_star in zip(row.cells, table.columns, starred, strict=True):
            best = bold(cell, column)
            star = ("*" if best else " ") if has_star else ""
            text = cell_text(cell, column, plus_minus) + star
            cells.append(Text(text, no_wrap=True, style="bold" if best and screen else ""))
        style = "dim" if screen and row.section in (0, 2) else ""  # references step back
        grid.add_row(Text(_label(row)), *cells, style=style, end_section=last)
    return grid


def _fitted(table: Table, width: int, ascii_only: bool) -> Table:
    """The table without the optional columns that `width` has no room for."""
    while worst := max((column.drop for column in table.columns), default=0):
        if _fits(table, width, ascii_only):
            break
        table = _chosen(table, [i for i, c in enumerate(table.columns) if c.drop != worst])
    return table


def _parts(table: Table, width: int, ascii_only: bool) -> list[Table]:
    """The table in as few parts as have room, each with all rows and the next columns."""
    parts: list[list[int]] = [[]]
    for i in range(len(table.columns)):
        if parts[-1] and not _fits(_chosen(table, [*parts[-1], i]), width, ascii_only):
            parts.append([])
        parts[-1].append(i)
    return [_chosen(table, part) for part in parts]


def _fits(table: Table, width: int, ascii_only: bool) -> bool:
    console = Console(file=io.StringIO(), width=_UNLIMITED)
    grid = _grid(table, screen=True, ascii_only=ascii_only, narrow=True)
    return Measurement.get(console, console.options, grid).maximum <= width


def _chosen(table: Table, columns: list[int]) -> Table:
    rows = tuple(replace(row, cells=tuple(row.cells[i] for i in columns)) for row in table.rows)
    return replace(table, columns=tuple(table.columns[i] for i in columns), rows=rows)


def _heading(column: Column) -> str:
    """Group, title and unit below each other."""
    unit = f"({column.unit})" if column.unit else ""
    return "\n".join(filter(None, (*textwrap.wrap(column.group, _GROUP), column.title, unit)))


def _visible(table: Table) -> Table:
    """The table without what would command the terminal in names of rows, notes and title."""
    rows = tuple(replace(row, label=visible(row.label)) for row in table.rows)
    columns = tuple(replace(column, group=visible(column.group)) for column in table.columns)
    notes = tuple(map(visible, table.notes))
    return replace(table, title=visible(table.title), columns=columns, rows=rows, notes=notes)


def _has_bold(table: Table) -> bool:
    return any(
        bold(*pair) for row in table.rows for pair in zip(row.cells, table.columns, strict=True)
    )


def _best(table: Table) -> str:
    """What the mark of the best says; a row with one run may stand above them unmarked."""
    pairs = [pair for row in table.rows for pair in zip(row.cells, table.columns, strict=True)]
    single = any(column.kind == "spread" and len(cell.values) == 1 for cell, column in pairs)
    return _BEST + (" (rows with one run are not tested)" if single else "")


def _label(row: TableRow) -> str:
    return row.label + "".join(f" [{number}]" for number in row.notes)


def _notes(table: Table) -> list[str]:
    return [f"[{number}] {note}" for number, note in enumerate(table.notes, 1)]


def _speaks_unicode(stream: TextIO) -> bool:
    try:
        (PLUS_MINUS + "─").encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _encodable(text: str, ascii_only: bool) -> str:
    return text.encode("ascii", "replace").decode() if ascii_only else text
