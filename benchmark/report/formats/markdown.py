"""A table as GitHub-flavoured Markdown."""

from __future__ import annotations

import re

from benchmark.report.model import Cell, Column, Table, TableRow, bold, cell_text

_SPECIAL = re.compile(r"([\\`*\[\]<>|~&])")
_OPEN_UNDERSCORE = re.compile(r"(?<![^\W_])_|_(?![^\W_])")  # inside a word it means nothing


def render(table: Table) -> str:
    """Heading, caption, pipe table and notes."""
    heads = ["Method"]
    heads += [f"{c.group}: {c.heading}" if c.group else c.heading for c in table.columns]
    cells = [[_escape(head) for head in heads]]
    cells += [[_label(row), *map(_cell, row.cells, table.columns)] for row in table.rows]
    # A rule of a colon alone is no rule.
    widths = [max(2, *map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_line(row, widths) for row in cells]
    rule = [":" + "-" * (widths[0] - 1), *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, _line(rule, widths))
    notes = [f"{number}. {_escape(note)}" for number, note in enumerate(table.notes, 1)]
    parts = [f"### {_escape(table.title)}", *map(_escape, table.reading)]
    parts += ["\n".join(lines), _escape(table.caption)]
    if notes:
        parts.append("Notes:\n\n" + "\n".join(notes))
    return "\n\n".join(parts) + "\n"


def _cell(cell: Cell, column: Column) -> str:
    text = cell_text(cell, column)
    return f"**{text}**" if bold(cell, column) else text


def _label(row: TableRow) -> str:
    marks = ",".join(map(str, row.notes))
    return _escape(row.label) + (f" <sup>{marks}</sup>" if marks else "")


def _line(cells: list[str], widths: list[int]) -> str:
    first, *rest = cells
    padded = [first.ljust(widths[0])]
    padded += [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
    return f"| {' | '.join(padded)} |"


def _escape(text: str) -> str:
    text = _SPECIAL.sub(r"\\\1", " ".join(text.split()))
    return _OPEN_UNDERSCORE.sub(r"\\_", text)
