"""Marks the best rows of a table and says in its caption what the mark means."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from benchmark.metrics import METRICS
from benchmark.report.blocks import UPPER_BOUNDS, Block
from benchmark.report.formatting import listing
from benchmark.report.model import Row, Table
from benchmark.report.selection import cell
from benchmark.report.statistics.best import LEVEL, BestSet, Runs, best_set

MARKED = ("final", "average")  # forgetting is not: a row that learns nothing forgets nothing
_PERCENT = f"{100 * LEVEL:g} %"


def with_best(table: Table, blocks: Iterable[Block]) -> Table:
    """The table with the best rows of every accuracy column of ours marked and the caption saying
    what the mark means. blocks: those its numbers come from.
    """
    cells = {
        run.result["key"]: cell(run.result["spec"])
        for block in blocks
        for line in block.lines
        for run in line.done
    }
    sets = {
        i: best_set([_runs(row, i, cells) for row in table.rows], METRICS[column.key].better)
        for i, column in enumerate(table.columns)
        if column.key in MARKED and column.kind == "spread" and column.source == "ours"
    }
    if not sets:
        return table
    rows = tuple(
        replace(
            row,
            cells=tuple(
                replace(one, best=i in sets and position in sets[i].best)
                for i, one in enumerate(row.cells)
            ),
        )
        for position, row in enumerate(table.rows)
    )
    return replace(table, rows=rows, caption=f"{table.caption} {meaning(list(sets.values()))}")


def _runs(row: Row, column: int, cells: Mapping[str, tuple[str, int]]) -> Runs:
    if row.method in UPPER_BOUNDS:
        return {}
    one = row.cells[column]
    return {cells[run]: x for run, x in zip(one.runs, one.values, strict=True)}


def meaning(sets: Sequence[BestSet]) -> str:
    """What bold means in a table with these columns, for its caption."""
    tested = [one for one in sets if one.tested]
    if not tested:
        return "Nothing is bold: a test takes two rows with two runs or more."
    how = "paired by class order and seed"
    if not all(one.paired for one in tested):
        how += " where half of the runs have a partner, else Welch's"
    text = (
        f"Bold: no row of the column is significantly better (t-tests {how}, corrected for "
        f"all rows by a step-down range test, level {_PERCENT}); the upper bound "
        f"({listing(UPPER_BOUNDS)}) takes no part."
    )
    if len(tested) < len(sets):
        text += " Columns without bold: fewer than two rows with two runs."
    if any(one.single for one in sets):
        text += " Rows with one run are not tested and never bold."
    return text
