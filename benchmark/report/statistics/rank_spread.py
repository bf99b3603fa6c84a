"""How far other seeds and class orders might move mean ranks: a bootstrap, and its table."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import METRICS
from benchmark.report.formatting import listing
from benchmark.report.model import Cell, Column, Table, TableRow
from benchmark.report.notes import Notes, joined_notes
from benchmark.report.statistics.ranks import Numbers, Ranking, describe, ranked

DRAWS = 5000


@dataclass(frozen=True)
class RankSpread:
    """Of each method the 95 % interval of its mean rank, and the probability of the lowest.

    nan for a method with a single run in a block where others have more: nothing tells how far it
    would move, and it takes no part in the probability of the others. resampled: how many of the
    blocks have two runs or more to draw from.
    """

    low: Numbers
    high: Numbers
    first: Numbers
    resampled: int


def bootstrap(ranking: Ranking, draws: int = DRAWS, seed: int = 0) -> RankSpread:
    """How far other seeds and class orders might move the mean ranks of these blocks.

    In every draw each block takes as many of its class orders and seeds as it has, with
    replacement, the same for all methods. The runs are first drawn apart from their mean by
    sqrt(n / (n - 1)): means of n drawn runs would else spread too little. All nan where no block
    has two runs.
    """
    rng = np.random.default_rng(seed)
    sign = -1.0 if METRICS[ranking.metric].better == "lower" else 1.0
    total: Numbers = np.zeros((draws, len(ranking.methods)))
    single = np.zeros(len(ranking.methods), dtype=np.bool_)
    resampled = 0
    for fixed, runs in zip(ranking.ranks, ranking.runs, strict=True):
        n = len(runs)
        picked = rng.multinomial(n, np.full(n, 1 / n), size=draws).astype(float)
        known = np.isfinite(runs)
        count = known.sum(axis=0)
        if count.max() < 2:
            total += fixed
            continue
        resampled += 1
        single |= count < 2
        total += ranked(np.round(sign * _means(runs, known, picked), 9))
    if not resampled:
        nothing = np.full(len(ranking.methods), math.nan)
        return RankSpread(nothing, nothing, nothing, 0)
    mean = total / len(ranking.runs)
    mean[:, single] = math.inf
    leads = mean == mean.min(axis=1, keepdims=True)
    first: Numbers = (leads / leads.sum(axis=1, keepdims=True)).mean(axis=0)
    mean[:, single] = first[single] = math.nan
    low, high = np.quantile(mean, (0.025, 0.975), axis=0)
    return RankSpread(low, high, first, resampled)


def _means(runs: Numbers, known: NDArray[np.bool_], picked: Numbers) -> Numbers:
    """Means [draws, methods] over the runs as often as they were picked [draws, runs]."""
    count = known.sum(axis=0)
    filled = np.where(known, runs, 0.0)
    mean = filled.sum(axis=0) / count
    apart = np.sqrt(count / np.maximum(count - 1, 1))
    deviations = np.where(known, (filled - mean) * apart, 0.0)
    drawn = picked @ known
    shifts = np.divide(picked @ deviations, drawn, out=np.zeros_like(drawn), where=drawn > 0)
    means: Numbers = mean + shifts
    return means


# -- table --------------------------------------------------------------------------------------

_COLUMNS = (
    Column("rank", "Mean rank", kind="value"),
    Column("rank_low", "from", kind="value", group="95 % interval"),
    Column("rank_high", "to", kind="value", group="95 % interval"),
    Column("rank_first", "First", "%", kind="value", decimals=1),
)


# What the columns are, in words: their numbers come from all runs of all rows together.
MEANINGS = {
    "rank": "mean over blocks of the rank of the row's mean over its finished runs, 1 for the best",
    "rank_low": "2.5 % quantile of the mean rank in a bootstrap of class orders and seeds",
    "rank_high": "97.5 % quantile of the mean rank in a bootstrap of class orders and seeds",
    "rank_first": "share of the bootstrap draws in which the row has the lowest mean rank",
}


def rank_table(
    found: Ranking, notes: tuple[str, ...] = (), draws: int = DRAWS, seed: int = 0
) -> Table:
    """Mean ranks with their bootstrap; notes: what else is to be said of the ranking."""
    spread = bootstrap(found, draws, seed)
    columns = [found.mean, spread.low, spread.high, 100 * spread.first]
    titles = [block.title for block in found.blocks]
    said = Notes(notes)
    rows = []
    for i, method in enumerate(found.methods):
        runs = tuple(run.result["key"] for row in method.rows for run in row.done)
        broken = tuple(result["key"] for row in method.rows for result in row.broken)
        total = sum(row.total for row in method.rows)
        cells = [Cell((float(c[i]),), runs, total, broken=broken) for c in columns]
        numbers = said.numbers(joined_notes(titles, [row.notes for row in method.rows]))
        rows.append(TableRow(method.label, method.rows[0].method, 1, tuple(cells), numbers))
    caption = " ".join(
        [describe(found), _bootstrap_text(found, spread, draws, seed), *_left_out(found)]
    )
    title = f"Average ranks by {METRICS[found.metric].title.lower()}"
    return Table(f"ranks-{found.metric}", title, caption, _COLUMNS, tuple(rows), said.texts)


def _bootstrap_text(found: Ranking, spread: RankSpread, draws: int, seed: int) -> str:
    if not spread.resampled:
        return "No intervals: no block has two runs."
    text = (
        "Interval and probability of being first: bootstrap of class orders and seeds within "
        f"blocks, {draws} draws, seed {seed}."
    )
    if spread.resampled < len(found.blocks):
        text += (
            f" {len(found.blocks) - spread.resampled} of the blocks have one run: not resampled."
        )
    if np.isnan(spread.first).any():
        text += (
            " Rows with one run in a block where others have more have no interval and take no "
            "part in the probability of being first."
        )
    return text


def _left_out(found: Ranking) -> list[str]:
    words = ["The upper bound takes no part."]
    if found.left_out:
        words.append(f"Not in all blocks and left out: {listing(found.left_out)}.")
    if found.left_out_blocks:
        words.append(f"Blocks left out, as they lack methods: {'; '.join(found.left_out_blocks)}.")
    return words
