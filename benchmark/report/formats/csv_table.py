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
    writer.writerow(["method", "row", *map(_literal, heads), "notes"])
    for row in table.rows:
        values = [
            value
            for cell, column in zip(row.cells, table.columns, strict=True)
            for value in _fields(cell, column).values()
        ]
        notes = " | ".join(table.notes[number - 1] for number in row.notes)
        names = map(_literal, (row.method, row.label))
        writer.writerow([*names, *map(_text, values), _literal(notes)])
    return text.getvalue()


def headings(column: Column) -> list[str]:
    """Names of the CSV columns that one column of a table becomes."""
    prefix = f"{column.group}: " if column.group else ""
    return [f"{prefix}{column.key}{ending}" for ending in _fields(Cell(), column)]


def _fields(cell: Cell, column: Column) -> dict[str, float | bool | None]:
    """What a cell holds, by the endings of the names of its CSV columns."""
    ours, published, spread = cell.summary, cell.published, column.kind == "spread"
    if column.kind == "runs":
        return {"_finished": len(cell.values), "_planned": cell.total}
    if column.source == "ours":
        return {"_mean": ours.mean, "_std": ours.std} if spread else {"": ours.mean}
    mean, std, verified = None, None, None
    if published is not None:
        mean, std, verified = published.mean, published.std, published.verified
    if column.source == "delta":
        if mean is None or math.isnan(ours.mean):
            return {"_difference": None, "_difference_verified": None}
        return {"_difference": ours.mean - mean, "_difference_verified": verified}
    name = f"_{column.source}"
    if spread:
        return {f"{name}_mean": mean, f"{name}_std": std, f"{name}_verified": verified}
    return {name: mean, f"{name}_verified": verified}


def _literal(text: str) -> str:
    """A name or note that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _text(value: float | bool | None) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "" if value is None or math.isnan(value) else repr(value)
