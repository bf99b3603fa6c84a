"""Which rows of a column are best: the best mean, and every row not significantly below it.

Every row is compared with the row of the best mean by a two-sided paired t-test over the replicates
(class order and seed) that both have; Holm's correction covers all comparisons of the column.

Simulated with five seeds: two equal rows are split in 5 % of tables. The best mean is chosen from
the same data: of ten equal rows some other row is left out in 11 % of tables, each of them in 1 %.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Literal, TypeAlias

from benchmark.metrics import METRICS
from benchmark.report.model import Table, TableRow
from benchmark.report.rows import Block, Replicate, Row, replicate

ALPHA = 0.05
MARKED = ("final", "average")  # forgetting is not: a row that learns nothing forgets nothing
_TINY = 1e-9  # percentage points: differences below it are rounding

Runs: TypeAlias = Mapping[Replicate, float]  # a row's numbers


@dataclass(frozen=True)
class BestSet:
    """The outcome of one column.

    best: positions of the best rows, empty where no test was possible; p: of each row against the
    best mean, after Holm's correction, nan where it was not compared; pairs: the fewest and the
    most replicates of a comparison; untested: rows with a number that no test can judge; lacking:
    why there was no test.
    """

    best: frozenset[int] = frozenset()
    p: tuple[float, ...] = ()
    pairs: tuple[int, int] = (0, 0)
    untested: tuple[int, ...] = ()
    lacking: str = ""


def best_set(rows: Sequence[Runs], better: Literal["higher", "lower"] = "higher") -> BestSet:
    """The rows not significantly worse than the best mean; nan and missing runs do not count."""
    sign = 1.0 if better == "higher" else -1.0
    found = [{c: sign * x for c, x in row.items() if math.isfinite(x)} for row in rows]
    several = [i for i, row in enumerate(found) if len(row) > 1]
    if len(several) < 2:
        return BestSet(lacking="fewer than two rows have two runs")
    top = max(several, key=lambda i: fmean(found[i].values()))
    gaps = {
        i: [found[top][c] - x for c, x in found[i].items() if c in found[top]]
        for i in several
        if i != top
    }
    tested = {i: own for i, own in gaps.items() if len(own) > 1}
    if not tested:
        return BestSet(lacking="no row shares two runs with the best one")
    p = [math.nan] * len(found)
    for i, value in zip(tested, holm(_p_values(list(tested.values()))), strict=True):
        p[i] = value
    counts = list(map(len, tested.values()))
    return BestSet(
        best=frozenset({top, *(i for i in tested if p[i] > ALPHA)}),
        p=tuple(p),
        pairs=(min(counts), max(counts)),
        untested=tuple(i for i, row in enumerate(found) if row and i not in (top, *tested)),
    )


def holm(p: Sequence[float]) -> list[float]:
    """P values after Holm's correction, in the same order."""
    adjusted = [1.0] * len(p)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, (len(p) - rank) * p[i])
        adjusted[i] = min(largest, 1.0)
    return adjusted


def _p_values(gaps: Sequence[Sequence[float]]) -> list[float]:
    """P value of each row being equal to the best one; 1 where it is not below it."""
    from scipy.stats import ttest_1samp

    p = [1.0] * len(gaps)
    below = [i for i, own in enumerate(gaps) if fmean(own) >= _TINY]
    for count in {len(gaps[i]) for i in below}:  # one call for all rows of as many runs
        alike = [i for i in below if len(gaps[i]) == count]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # all gaps of a row alike: p is 0
            found = ttest_1samp([gaps[i] for i in alike], 0, axis=1).pvalue
        for i, value in zip(alike, found, strict=True):
            p[i] = float(value)
    return p


def best_rows(rows: Sequence[Row], metric: str) -> BestSet:
    """The best of a block's rows in one metric; upper bounds take no part."""
    runs: list[Runs] = [
        {}
        if row.is_upper_bound
        else {replicate(run.result["spec"]): run.numbers[metric] for run in row.done}
        for row in rows
    ]
    return best_set(runs, METRICS[metric].better)


# -- marks in a table ---------------------------------------------------------------------------


def with_best(table: Table, blocks: Iterable[Block]) -> Table:
    """The table with the best rows of every accuracy column of ours marked.

    The caption says what the mark means. blocks: those its numbers come from.
    """
    replicates = {
        run.result["key"]: replicate(run.result["spec"])
        for block in blocks
        for row in block.rows
        if not row.is_upper_bound
        for run in row.done
    }

    def runs(row: TableRow, position: int) -> Runs:
        cell = row.cells[position]
        pairs = zip(cell.runs, cell.values, strict=True)
        return {replicates[run]: value for run, value in pairs if run in replicates}

    sets = {
        i: best_set([runs(row, i) for row in table.rows], METRICS[column.key].better)
        for i, column in enumerate(table.columns)
        if column.key in MARKED and column.kind == "spread" and column.source == "ours"
    }
    if not sets:
        return table
    marked = tuple(
        replace(
            row,
            cells=tuple(
                replace(cell, best=i in sets and position in sets[i].best)
                for i, cell in enumerate(row.cells)
            ),
        )
        for position, row in enumerate(table.rows)
    )
    return replace(table, rows=marked, caption=f"{table.caption} {meaning(list(sets.values()))}")


def meaning(sets: Sequence[BestSet]) -> str:
    """What bold means in a table with these columns, for its caption."""
    tested = [one for one in sets if one.best]
    if not tested:
        return f"No test: {sets[0].lacking}."
    low, high = min(one.pairs[0] for one in tested), max(one.pairs[1] for one in tested)
    n = str(low) if low == high else f"{low} to {high}"
    text = (
        "Bold: the best mean of the column and all that are not significantly below it (two-sided "
        "paired t-tests over the runs with the same class order and seed, Holm's correction, "
        f"alpha = {ALPHA:g}, n = {n} pairs); the upper bound takes no part."
    )
    untested = next((one for one in sets if not one.best), None)
    if untested is not None:
        text += f" Columns without bold: no test, {untested.lacking}."
    if any(one.untested for one in tested):
        text += " Rows that share fewer than two runs with the best row are not tested."
    return text
