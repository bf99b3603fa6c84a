"""A table as CSV: full precision, plain units, one line per row."""

from __future__ import annotations

import csv
import io
import math

from benchmark.report.model import Cell, Column, Table


def render(table: Table) -> str:
    """Percent, seconds and counts unrounded; empty where undefined; notes in the last column."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [head for column in table.columns for head in _heads(column)]
    writer.writerow(["method", "row", *heads, "notes"])
    for row in table.rows:
        fields = [
            field
            for cell, column in zip(row.cells, table.columns, strict=True)
            for field in _fields(cell, column)
        ]
        notes = " | ".join(table.notes[number - 1] for number in row.notes)
        writer.writerow([row.method, row.label, *fields, notes])
    return text.getvalue()


def _heads(column: Column) -> list[str]:
    names = {"spread": ["_mean", "_std"], "value": [""], "runs": ["_finished", "_planned"]}
    prefix = f"{column.group}: " if column.group else ""
    return [f"{prefix}{column.key}{ending}" for ending in names[column.kind]]


def _fields(cell: Cell, column: Column) -> list[str]:
    if column.kind == "runs":
        return [str(len(cell.values)), str(cell.total)]
    mean, std = (_text(value) for value in (cell.summary.mean, cell.summary.std))
    mean = mean or cell.failure
    return [mean, std] if column.kind == "spread" else [mean]


def _text(value: float) -> str:
    return "" if math.isnan(value) else repr(value)
