"""A comparison of two results folders as tables and sentences for the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from benchmark.metrics import METRICS
from benchmark.report.evidence.compare import Basis, Change, Comparison
from benchmark.report.model import Cell, Column, Table, TableRow
from benchmark.report.notes import Notes
from benchmark.report.statistics.noise import LEVEL

_BASES: dict[Basis, str] = {
    "identical": "same key, code and machine: identical numbers were expected",
    "paired": "noise from the spread of the differences between runs of the same order and seed",
    "unpaired": "no runs of the same order and seed: noise from the spread of the runs",
    "images": (
        "one run on each side: noise is the binomial error of the test images alone, twice; the "
        "spread over seeds is unknown"
    ),
}
_NOTHING = "no recorded difference"


def comparison_tables(comparison: Comparison, *, every: bool = False) -> list[Table]:
    """A table a block with its moved cells; every: with all cells that are not equal, too."""
    shown = [c for c in comparison.changes if c.moved or (every and not c.equal)]
    return [_table(block, list(cells)) for block, cells in groupby(shown, lambda c: c.block)]


def _table(block: str, changes: Sequence[Change]) -> Table:
    smallest = min(abs(change.difference) for change in changes)
    decimals = min(max(2, 1 - math.floor(math.log10(smallest))), 8) if smallest else 2
    columns = (
        Column("first", "A", "%", decimals=decimals),
        Column("second", "B", "%", decimals=decimals),
        Column("difference", "B - A", "points", "value", decimals=decimals),
        Column("noise", "Noise", "points", "value", decimals=decimals),
        Column("runs", "Runs", kind="runs"),
    )
    notes = Notes()
    rows = []
    for change in changes:
        remarks = [] if change.moved else ["within noise"]
        remarks += [_BASES[change.basis], *(change.causes or [_NOTHING])]
        numbers = (change.first, change.second, (change.difference,), (change.noise,))
        cells = [Cell(values) for values in numbers]
        n = min(len(change.first), len(change.second))
        rows.append(
            TableRow(
                f"{change.label}, {METRICS[change.metric].title.lower()}",
                change.method,
                1,
                (*cells, Cell(change.second[:n], total=n)),
                notes.numbers(remarks),
            )
        )
    return Table("comparison", block, "", columns, tuple(rows), notes.texts)


def summary(comparison: Comparison) -> Iterator[str]:
    """What was compared and how it came out."""
    changes = comparison.changes
    equal = sum(change.equal for change in changes)
    moved = len(comparison.moved)
    if changes:
        yield (
            f"{len(changes)} cells compared (method x metric in each block): {equal} bit-for-bit "
            f"equal, {len(changes) - equal - moved} within noise, {moved} beyond noise"
        )
    if any(not c.equal and c.basis in ("paired", "unpaired") for c in changes):
        yield (
            f"noise: half the width of a t interval, {LEVEL:.0%} for all cells together "
            "(Bonferroni), each cell's spread shrunk towards that of the others"
        )
    if any(not c.equal and c.basis == "images" for c in changes):
        yield f"one run on each side: {_BASES['images'].partition(': ')[2]}"
    if comparison.differences:
        yield "differs between the compared runs:"
        yield from (f"  {text}" for text in comparison.differences)
    elif changes:
        yield f"{_NOTHING} between the compared runs"
    for title, texts in (
        ("finished in A, failed or interrupted in B:", comparison.broke),
        ("only in A:", comparison.only_first),
        ("only in B:", comparison.only_second),
        ("results that do not count:", comparison.left_out),
    ):
        if texts:
            yield title
            yield from (f"  {text}" for text in texts)
