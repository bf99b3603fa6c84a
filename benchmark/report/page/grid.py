"""A table as HTML: complete without a script, which only has to find rows and cells by number."""

from __future__ import annotations

from itertools import groupby

from benchmark.report.model import Cell, Column, Table, TableRow, cell_text
from benchmark.report.page.escape import attributes, escaped


def grid(table: Table, number: int, title: str) -> str:
    """Heading, table and notes; `number` is the table's place in the page's data."""
    parts = [
        f'<h3 id="t{number}-title">{escaped(title)}</h3>',
        '<div class="scroll">',
        f'<table data-table="{number}" role="grid" aria-readonly="true" '
        f'aria-labelledby="t{number}-title">',
        _head(table),
        *_bodies(table, number),
        "</table></div>",
        f'<p class="caption">{escaped(table.caption)}</p>',
    ]
    if table.notes:
        notes = [
            f'<li id="t{number}-note{i}">{escaped(note)}</li>'
            for i, note in enumerate(table.notes, 1)
        ]
        parts.append(f'<ol class="notes">{"".join(notes)}</ol>')
    return "\n".join(parts)


def _head(table: Table) -> str:
    starts = _starts(table)
    headings = [column.heading for column in table.columns]
    heads = [_sortable("Method", False), *map(_sortable, headings, starts)]
    rows = [f"<tr>{''.join(heads)}</tr>"]
    if any(column.group for column in table.columns):
        spans = [
            f'<th scope="colgroup" colspan="{span}"{" class=start" if i else ""}>'
            f"<span>{escaped(group)}</span></th>"
            for i, (group, span) in enumerate(table.groups)
        ]
        rows.insert(0, f'<tr class="groups"><td></td>{"".join(spans)}</tr>')
    return f"<thead>{''.join(rows)}</thead>"


def _sortable(heading: str, start: bool) -> str:
    return (
        f'<th scope="col" aria-sort="none"{" class=start" if start else ""}>'
        f'<button type="button">{escaped(heading)}</button></th>'
    )


def _starts(table: Table) -> list[bool]:
    """Whether a column is the first of a further group."""
    pairs = zip(table.columns, table.columns[1:], strict=False)
    return [False, *(left.group != right.group for left, right in pairs)][: len(table.columns)]


def _bodies(table: Table, number: int) -> list[str]:
    """One body per section: sorting never carries a row out of it."""
    starts = _starts(table)
    bodies = []
    for _, rows in groupby(enumerate(table.rows), key=lambda pair: pair[1].section):
        lines = []
        for i, row in rows:
            cells = map(_cell, row.cells, table.columns, starts)
            lines.append(f'<tr data-row="{i}">{_label(row, number)}{"".join(cells)}</tr>')
        bodies.append("<tbody>" + "\n".join(lines) + "</tbody>")
    return bodies


def _label(row: TableRow, number: int) -> str:
    marks = ",".join(f'<a href="#t{number}-note{note}">{note}</a>' for note in row.notes)
    raised = f"<sup>{marks}</sup>" if marks else ""
    return f'<th scope="row"><span>{escaped(row.label)}{raised}</span></th>'


def _cell(cell: Cell, column: Column, start: bool) -> str:
    text = escaped(cell_text(cell, column))
    if cell.best and column.source == "ours":
        text = f"<strong>{text}</strong>"
    return f"<td{attributes(**{'class': 'start' if start else None})}>{text}</td>"
