"""Ranks of methods over blocks: averages, what differs beyond chance, and how far seeds move them.

A block (data set, split, backbone, class order) ranks the methods by their mean over finished runs,
1 for the best, equal ones sharing the mean of their ranks. Two questions are kept apart:

- Would the order hold on other blocks? Friedman's test in Iman and Davenport's form, and Nemenyi's
  critical difference: smaller differences of mean ranks are not significant (Demsar, 2006). Both
  take the blocks as independent; blocks that share images or a backbone are less than that.
- Would it hold with other seeds and class orders? `benchmark.report.statistics.rank_spread`.

The lower bound and references take part as in the tables, the upper bound does not.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import METRICS
from benchmark.report.rows import Block, Row, joined_rows, replicate
from benchmark.report.statistics.best import ALPHA
from benchmark.words import plural

Numbers: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True)
class Ranked:
    """One method over all blocks."""

    label: str
    rows: tuple[Row, ...]  # one per block


@dataclass(frozen=True)
class Ranking:
    """Methods in the order of their mean ranks.

    ranks: float64 [blocks, methods]; runs: of each block the metric by run, float64 [class orders
    and seeds, methods], nan where a method lacks the run; left_out: labels of methods, and
    left_out_blocks: titles of blocks, without which the others are complete.
    """

    metric: str
    blocks: tuple[Block, ...]
    methods: tuple[Ranked, ...]
    ranks: Numbers
    runs: tuple[Numbers, ...]
    left_out: tuple[str, ...]
    left_out_blocks: tuple[str, ...]

    @property
    def mean(self) -> Numbers:
        """Mean rank of each method."""
        means: Numbers = self.ranks.mean(axis=0)
        return means

    @property
    def critical_difference(self) -> float:
        """Nemenyi's: larger differences of mean ranks are significant; nan for one block."""
        from scipy.stats import studentized_range

        blocks, methods = self.ranks.shape
        if blocks < 2:
            return math.nan
        quantile = float(studentized_range.ppf(1 - ALPHA, methods, math.inf))
        return quantile * math.sqrt(methods * (methods + 1) / 12 / blocks)

    @property
    def p(self) -> float:
        """Of Friedman's test; nan for one block or two methods, which it does not take."""
        from scipy.stats import f, friedmanchisquare

        blocks, methods = self.ranks.shape
        if blocks < 2 or methods < 3:
            return math.nan
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # all ranks equal: 0 / 0
            chi = float(friedmanchisquare(*self.ranks.T).statistic)
        if math.isnan(chi):
            return 1.0
        most = blocks * (methods - 1)
        if most - chi < 1e-9 * most:
            return 0.0
        ratio = (blocks - 1) * chi / (most - chi)
        return float(f.sf(ratio, methods - 1, (blocks - 1) * (methods - 1)))

    def groups(self) -> list[tuple[int, int]]:
        """First and last of two or more methods without a significant difference (Nemenyi).

        Groups within others are left out.
        """
        from scikit_posthocs import posthoc_nemenyi_friedman

        p = posthoc_nemenyi_friedman(self.ranks).to_numpy()
        found: list[tuple[int, int]] = []
        for first in range(len(p)):
            last = max(i for i in range(first, len(p)) if i == first or p[first, i] > ALPHA)
            if last > first and (not found or last > found[-1][1]):
                found.append((first, last))
        return found


def ranking(blocks: Sequence[Block], metric: str = "final") -> Ranking | None:
    """Ranks over the blocks that measure test images by the newest protocol.

    Every method ranked has finished runs in every block ranked: of the choices that drop the
    poorest blocks the one with most numbers is taken. None for fewer than two methods.
    """
    newest = max((block.key.protocol for block in blocks), default=0)
    fitting = [b for b in blocks if b.key.protocol == newest and not b.key.validation]
    labelled = [
        (label, rows)
        for label, rows in joined_rows(fitting)
        if not next(row for row in rows if row is not None).is_upper_bound
    ]
    means = np.array([[_mean(row, metric) for row in rows] for _, rows in labelled])
    means = means.reshape(len(labelled), len(fitting))
    there = np.isfinite(means)
    chosen = _fullest(there)
    complete = there[:, chosen].all(axis=1)
    if complete.sum() < 2:
        return None
    sign = -1.0 if METRICS[metric].better == "lower" else 1.0
    ranks = ranked(sign * means[complete][:, chosen].T)
    methods = [
        Ranked(label, tuple(row for b in chosen if (row := rows[b]) is not None))
        for (label, rows), whole in zip(labelled, complete, strict=True)
        if whole
    ]
    order = sorted(range(len(methods)), key=lambda i: (ranks[:, i].mean(), methods[i].label))
    methods = [methods[i] for i in order]
    partial = there.any(axis=1) & ~complete
    return Ranking(
        metric,
        tuple(fitting[b] for b in chosen),
        tuple(methods),
        ranks[:, order],
        tuple(_runs([m.rows[b] for m in methods], metric) for b in range(len(chosen))),
        tuple(label for (label, _), left_out in zip(labelled, partial, strict=True) if left_out),
        tuple(b.title for n, b in enumerate(fitting) if n not in chosen and b.finished),
    )


def _mean(row: Row | None, metric: str) -> float:
    return math.nan if row is None else row.summary(metric).mean


def _fullest(there: NDArray[np.bool_]) -> list[int]:
    """Of the choices of blocks that drop the poorest ones the one with most numbers.

    there: which methods [methods, blocks] have a number; two methods or more are preferred.
    """
    order = np.argsort(-there.sum(axis=0), kind="stable").tolist()
    choices = [sorted(order[:n]) for n in range(len(order), 0, -1)]
    methods = [int(there[:, chosen].all(axis=1).sum()) for chosen in choices]
    scores = [(n > 1, n * len(chosen)) for n, chosen in zip(methods, choices, strict=True)]
    return choices[scores.index(max(scores))] if scores else []


def ranked(values: Numbers) -> Numbers:
    """Ranks along the last axis, 1 for the largest; equal values share the mean of their ranks."""
    from scipy.stats import rankdata

    ranks: Numbers = rankdata(-values, axis=-1)
    return ranks


def _runs(rows: Sequence[Row], metric: str) -> Numbers:
    found = [
        {replicate(run.result["spec"]): run.numbers[metric] for run in row.done} for row in rows
    ]
    replicates = sorted({one for numbers in found for one in numbers})
    return np.array([[numbers.get(one, math.nan) for numbers in found] for one in replicates])


def describe(found: Ranking) -> str:
    """What is ranked, and what the tests say, in words."""
    blocks, methods = found.ranks.shape
    return (
        f"{methods} methods ranked by {METRICS[found.metric].title.lower()}, mean over finished "
        f"runs, in {plural(blocks, 'block')} "
        f"({'; '.join(block.title for block in found.blocks)}); 1 is best. {tests_text(found)}"
    )


def tests_text(found: Ranking) -> str:
    """What Friedman's test and Nemenyi's critical difference say."""
    if len(found.blocks) < 2:
        return "No test: one block says nothing about others."
    friedman = "Friedman's test takes three methods or more"
    if not math.isnan(found.p):
        p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
        differ = "differ" if found.p <= ALPHA else "do not differ significantly"
        friedman = f"Friedman's test (Iman and Davenport): {p}, the methods {differ}"
    return (
        f"{friedman}; differences of mean ranks up to {found.critical_difference:.1f} are not "
        f"significant (Nemenyi, alpha = {ALPHA:g}); blocks taken as independent."
    )
