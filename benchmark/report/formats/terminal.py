"""A table for the terminal: lines and colour on a screen, aligned plain text elsewhere."""

from __future__ import annotations

import io
import os
import shutil
import sys
from dataclasses import replace
from typing import TextIO

from benchmark.report.model import PLUS_MINUS, Cell, Column, Table, TableRow, bold, cell_text

_GAP = "  "
_BEST = "no row of the column is significantly better"
_FOLDED = 24  # longer names of rows may be folded to save room for numbers


def for_stream(table: Table, stream: TextIO | None = None) -> str:
    """The table as it suits `stream` (standard output by default)."""
    stream = stream or sys.stdout
    safe = _speaks_unicode(stream)
    if not stream.isatty() or os.environ.get("TERM") == "dumb":
        return plain(table, ascii_only=not safe)
    return drawn(table, shutil.get_terminal_size().columns, ascii_only=not safe)


def plain(table: Table, *, ascii_only: bool = False) -> str:
    """Aligned text without a limit on its width; `*` after the best rows' numbers."""
    heads = ["Method", *(column.heading for column in table.columns)]
    starred = [any(bold(cell, column) for cell in cells) for column, cells in _by_column(table)]
    rows = []
    for row in table.rows:
        cells = _cells(row, table, ascii_only)
        marks = ["*" if bold(*pair) else " " for pair in zip(row.cells, table.columns, strict=True)]
        rows.append(
            [_label(row), *(c + m * s for c, m, s in zip(cells, marks, starred, strict=True))]
        )
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    lines = [table.title, ""]
    if any(column.group for column in table.columns):
        lines.append(_group_line(table, widths))
    lines += [_line(heads, widths), "-" * (sum(widths) + len(_GAP) * (len(widths) - 1))]
    section = table.rows[0].section if table.rows else 0
    for row, cells in zip(table.rows, rows, strict=True):
        if row.section != section:
            lines.append("")
            section = row.section
        lines.append(_line(cells, widths))
    lines += ["", *([f"* {_best(table)}"] if any(starred) else []), *_notes(table)]
    return _encodable("\n".join(lines).rstrip() + "\n", ascii_only)


def _best(table: Table) -> str:
    """What the mark of the best says; a row with one run may stand above them unmarked."""
    pairs = [pair for row in table.rows for pair in zip(row.cells, table.columns, strict=True)]
    single = any(column.kind == "spread" and len(cell.values) == 1 for cell, column in pairs)
    return _BEST + (" (rows with one run are not tested)" if single else "")


def drawn(table: Table, width: int, *, ascii_only: bool = False) -> str:
    """The table for a terminal of `width` columns; columns that do not fit are named below it."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawing
    from rich.text import Text

    table, dropped = _fit(table, width)
    drawing = Drawing(
        box=box.ASCII if ascii_only else box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    drawing.add_column("Method", overflow="fold")
    for column in table.columns:
        drawing.add_column(Text("\n".join(_head_lines(column))), justify="right")
    for i, row in enumerate(table.rows):
        last = i + 1 == len(table.rows) or table.rows[i + 1].section != row.section
        weights = ["bold" * bold(*pair) for pair in zip(row.cells, table.columns, strict=True)]
        texts = zip(_cells(row, table, ascii_only), weights, strict=True)
        cells = (Text(text, no_wrap=True, style=weight) for text, weight in texts)
        style = "" if row.section == 1 else "dim"  # rows of reference step back
        drawing.add_row(Text(_label(row)), *cells, style=style, end_section=last)
    notes = _notes(table)
    if any(bold(cell, column) for column, cells in _by_column(table) for cell in cells):
        notes.insert(0, f"Bold: {_best(table)}.")
    if dropped:
        notes.append(f"No room here for: {', '.join(dropped)}.")
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, highlight=False)
    console.print(Text(table.title, style="bold"))
    console.print()
    console.print(drawing)
    if notes:
        console.print()
    for note in notes:
        console.print(Text(note, style="dim"))
    return _encodable(out.getvalue(), ascii_only)


def _fit(table: Table, width: int) -> tuple[Table, list[str]]:
    """The table without the columns that `width` has no room for, and the names of those."""
    columns = list(range(len(table.columns)))

    def needed() -> int:
        texts = [
            [*_head_lines(table.columns[i]), *(_cells(row, table)[i] for row in table.rows)]
            for i in columns
        ]
        first = max((len(_label(row)) for row in table.rows), default=0)
        return min(first, _FOLDED) + sum(max(map(len, text)) + 2 for text in texts) + 2

    while needed() > width:
        worst = max(table.columns[i].drop for i in columns)
        if worst == 0:
            break
        gone = [i for i in columns if table.columns[i].drop == worst]
        columns = [i for i in columns if i not in gone]
    shown = {table.columns[i].heading for i in columns}
    dropped = [h for h in dict.fromkeys(c.heading for c in table.columns) if h not in shown]
    rows = tuple(replace(row, cells=tuple(row.cells[i] for i in columns)) for row in table.rows)
    return replace(table, columns=tuple(table.columns[i] for i in columns), rows=rows), dropped


def _by_column(table: Table) -> list[tuple[Column, list[Cell]]]:
    return [
        (column, [row.cells[i] for row in table.rows]) for i, column in enumerate(table.columns)
    ]


def _head_lines(column: Column) -> list[str]:
    unit = [f"({column.unit})"] if column.unit else []
    return [*([column.group] if column.group else []), column.title, *unit]


def _cells(row: TableRow, table: Table, ascii_only: bool = False) -> list[str]:
    plus_minus = "+-" if ascii_only else PLUS_MINUS
    pairs = zip(row.cells, table.columns, strict=True)
    return [cell_text(cell, column, plus_minus) for cell, column in pairs]


def _label(row: TableRow) -> str:
    return row.label + "".join(f" [{number}]" for number in row.notes)


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = cells
    padded = [first.ljust(widths[0])]
    padded += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
    return _GAP.join(padded).rstrip()


def _group_line(table: Table, widths: list[int]) -> str:
    """The headings over groups of columns, each at the right edge of its group."""
    position, parts = 1, [" " * widths[0]]
    for group, span in table.groups:
        room = sum(widths[position : position + span]) + len(_GAP) * (span - 1)
        parts.append(group.rjust(room))
        position += span
    return _GAP.join(parts).rstrip()


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
