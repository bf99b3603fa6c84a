"""A table as CSV: full precision, plain units, one line per row."""

from __future__ import annotations

import csv
import io
import math

from benchmark.report.model import Cell, Column, Table


def render(table: Table) -> str:
    """Percent, seconds and counts unrounded; empty where undefined; notes in the last column.

    Columns of published numbers and of differences from them say whether a first-hand source states
    the number: true or false.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [head for column in table.columns for head in headings(column)]
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


def headings(column: Column) -> list[str]:
    """Names of the CSV columns that one column of a table becomes."""
    names = {"spread": ["_mean", "_std"], "value": [""], "runs": ["_finished", "_planned"]}
    if column.source == "reported":
        names["spread"] = ["_reported_mean", "_reported_std", "_reported_verified"]
        names["value"] = ["_reported", "_reported_verified"]
    elif column.source == "delta":
        names["spread"] = names["value"] = ["_difference", "_reported_verified"]
    prefix = f"{column.group}: " if column.group else ""
    return [f"{prefix}{column.key}{ending}" for ending in names[column.kind]]


def _fields(cell: Cell, column: Column) -> list[str]:
    if column.kind == "runs":
        return [str(len(cell.values)), str(cell.total)]
    if column.source != "ours":
        return _published_fields(cell, column)
    mean, std = (_text(value) for value in (cell.summary.mean, cell.summary.std))
    return [mean, std] if column.kind == "spread" else [mean]


def _published_fields(cell: Cell, column: Column) -> list[str]:
    published = cell.published
    delta = column.source == "delta"
    if published is None or (delta and math.isnan(cell.summary.mean)):
        return [""] * len(headings(column))
    verified = str(published.verified).lower()
    if delta:
        return [_text(cell.summary.mean - published.mean), verified]
    spread = [_text(published.std)] if column.kind == "spread" else []
    return [_text(published.mean), *spread, verified]


def _text(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else repr(value)
