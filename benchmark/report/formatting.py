"""Numbers and descriptions as text, the same in every table and figure."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import groupby
from typing import Any

from benchmark.report.model import Cell, Column

UNDEFINED = "-"
PLUS_MINUS = "±"
UNVERIFIED = "?"  # after a published number that no first-hand source states


def cell_text(cell: Cell, column: Column, plus_minus: str = PLUS_MINUS) -> str:
    """What stands in a cell: a number, `mean ± std`, `n of N`, `failed`, or `-` for undefined.

    A published number that no first-hand source states ends with `?`; where nothing was published
    the cell is blank.
    """
    if column.source != "ours":
        return _published_text(cell, column, plus_minus)
    if column.kind == "runs":
        n = len(cell.values)
        if not cell.total:
            return UNDEFINED
        return f"{n} of {cell.total}" if cell.total > n else str(n)
    if cell.failure:
        return cell.failure
    summary = cell.summary
    if math.isnan(summary.mean):
        return UNDEFINED
    std = None if column.kind == "value" or math.isnan(summary.std) else summary.std
    return _with_spread(summary.mean, std, column, plus_minus)


def bold(cell: Cell, column: Column) -> bool:
    """Whether the number is shown as one of the best of its column."""
    return cell.best and column.source == "ours" and column.kind != "runs"


def _published_text(cell: Cell, column: Column, plus_minus: str) -> str:
    published = cell.published
    if published is None:
        return ""
    doubt = "" if published.verified else UNVERIFIED
    if column.source == "reported":
        std = None if column.kind == "value" else published.std
        return _with_spread(published.mean, std, column, plus_minus) + doubt
    if math.isnan(cell.summary.mean):
        return ""
    difference = (cell.summary.mean - published.mean) / column.scale
    return ("+" if difference > 0 else "") + number(difference, column.decimals) + doubt


def _with_spread(mean: float, std: float | None, column: Column, plus_minus: str) -> str:
    text = number(mean / column.scale, column.decimals)
    if std is None:
        return text
    return f"{text} {plus_minus} {number(std / column.scale, column.decimals)}"


def number(value: float, decimals: int) -> str:
    """Fixed point with commas between thousands; an exact zero without decimals' noise of sign."""
    return f"{value + 0.0:,.{decimals}f}" if value else f"{0:.{decimals}f}"


def task_text(tasks: Sequence[int]) -> str:
    """`10 tasks of 10 classes`, or for uneven splits `6 tasks of 50 + 5 x 10 classes`."""
    parts = [(size, len(list(group))) for size, group in groupby(tasks)]
    sizes = " + ".join(f"{n} x {size}" if n > 1 else str(size) for size, n in parts)
    if len(parts) == 1:
        sizes = str(parts[0][0])
    count = len(tasks)
    return f"{count} task{'s' * (count != 1)} of {sizes} class{'es' * (sizes != '1')}"


def setting_text(value: Any) -> str:
    """A setting's value as short as it can be said: `0.0005`, `sgd`, `[0.9, 0.999]`."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def file_name(text: str) -> str:
    """`text` as the stem of a file name: letters, digits, `-`, `_` and `.`, not too long."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)[:100]


def listing(values: Sequence[object]) -> str:
    """`0, 1, 2`."""
    return ", ".join(map(str, values))
