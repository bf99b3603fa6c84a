"""Ranks of methods over blocks: averages, what differs beyond chance, and how far seeds move them.

A block (data set, split, backbone, class order) ranks the methods by their mean over finished runs,
1 for the best and shared places averaged. Two questions are kept apart:

- Would the order hold on other blocks? Friedman's test in Iman and Davenport's form, and Nemenyi's
  critical difference: mean ranks closer than it are not told apart at `LEVEL` (Demsar, 2006). Both
  take the blocks as independent; blocks that share images or a backbone are less than that.
- Would it hold with other seeds and class orders? `benchmark.report.statistics.rank_spread`.

Lower bounds take part as in the tables, upper bounds do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmark.metrics import METRICS
from benchmark.report.blocks import UPPER_BOUNDS, Block, Line
from benchmark.report.selection import cell
from benchmark.report.statistics.best import LEVEL, range_quantile
from benchmark.report.tables import joined_lines

Numbers: TypeAlias = NDArray[np.float64]

_LEVEL_TEXT = f"{100 * LEVEL:g} %"


@dataclass(frozen=True)
class Ranked:
    """One method over all blocks."""

    label: str
    lines: tuple[Line, ...]  # one per block


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
        """Nemenyi's: mean ranks further apart differ at `LEVEL`; nan for one block."""
        blocks, methods = self.ranks.shape
        if blocks < 2:
            return math.nan
        return range_quantile(LEVEL, methods) * math.sqrt(methods * (methods + 1) / 6 / blocks)

    @property
    def p(self) -> float:
        """Chance of mean ranks so unequal when all methods are equal; nan for one block."""
        from scipy.special import fdtrc

        blocks, methods = self.ranks.shape
        if blocks < 2:
            return math.nan
        centred = self.ranks - (methods + 1) / 2
        spread = float((centred**2).sum())
        if not spread:
            return 1.0
        friedman = (methods - 1) * float((centred.sum(axis=0) ** 2).sum()) / spread
        most = blocks * (methods - 1)
        if most - friedman < 1e-9 * most:
            return 0.0
        f = (blocks - 1) * friedman / (most - friedman)
        return float(fdtrc(methods - 1, (blocks - 1) * (methods - 1), f))

    def groups(self) -> list[tuple[int, int]]:
        """First and last of those not told apart, two or more; groups within others left out."""
        difference, means = self.critical_difference, self.mean
        found: list[tuple[int, int]] = []
        for first in range(len(means)):
            near = [i for i in range(first, len(means)) if means[i] - means[first] <= difference]
            last = max(near, default=first)
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
    rows = [
        (label, lines)
        for label, lines in joined_lines(fitting)
        if next(line for line in lines if line is not None).method not in UPPER_BOUNDS
    ]
    there = [
        [line is not None and math.isfinite(line.summary(metric).mean) for line in lines]
        for _, lines in rows
    ]
    order = sorted(range(len(fitting)), key=lambda b: -sum(has[b] for has in there))
    choices = [sorted(order[:n]) for n in range(len(order), 0, -1)]
    complete = [[i for i, has in enumerate(there) if all(has[b] for b in c)] for c in choices]
    best = max(
        range(len(choices)),
        key=lambda n: (len(complete[n]) > 1, len(choices[n]) * len(complete[n])),
        default=None,
    )
    if best is None or len(complete[best]) < 2:
        return None
    chosen = choices[best]
    methods = [
        Ranked(rows[i][0], tuple(line for b in chosen if (line := rows[i][1][b]) is not None))
        for i in complete[best]
    ]
    sign = -1.0 if METRICS[metric].better == "lower" else 1.0
    values = np.array([[line.summary(metric).mean for line in m.lines] for m in methods]).T
    ranks = ranked(sign * values)
    by_rank = sorted(range(len(methods)), key=lambda i: (ranks[:, i].mean(), methods[i].label))
    methods = [methods[i] for i in by_rank]
    has_any = [i for i, has in enumerate(there) if any(has)]
    return Ranking(
        metric,
        tuple(fitting[b] for b in chosen),
        tuple(methods),
        ranks[:, by_rank],
        tuple(_runs([m.lines[b] for m in methods], metric) for b in range(len(chosen))),
        tuple(rows[i][0] for i in has_any if i not in complete[best]),
        tuple(b.title for n, b in enumerate(fitting) if n not in chosen and b.finished),
    )


def ranked(values: Numbers) -> Numbers:
    """Ranks along the last axis, 1 for the largest; equal values share the mean of their places."""
    ahead = (values[..., None, :] > values[..., :, None]).sum(axis=-1)
    level = (values[..., None, :] == values[..., :, None]).sum(axis=-1)
    ranks: Numbers = ahead + (level + 1) / 2
    return ranks


def _runs(lines: Sequence[Line], metric: str) -> Numbers:
    rows = [{cell(run.result["spec"]): run.numbers[metric] for run in line.done} for line in lines]
    cells = sorted({c for row in rows for c in row})
    return np.array([[row.get(c, math.nan) for row in rows] for c in cells])


def describe(found: Ranking) -> str:
    """What is ranked, and what the tests say, in words."""
    blocks, methods = found.ranks.shape
    return (
        f"{methods} methods ranked by {METRICS[found.metric].title.lower()}, mean over finished "
        f"runs, in {blocks} block{'s' * (blocks > 1)} "
        f"({'; '.join(block.title for block in found.blocks)}); 1 is best. {tests_text(found)}"
    )


def tests_text(found: Ranking) -> str:
    """What Friedman's test and Nemenyi's critical difference say."""
    if len(found.blocks) < 2:
        return "One block alone says nothing of others."
    p = "p < 0.001" if found.p < 0.001 else f"p = {found.p:.3f}"
    differ = "differ" if found.p <= LEVEL else "are not shown to differ"
    return (
        f"Friedman's test (Iman and Davenport): {p}, the methods {differ}; mean ranks "
        f"{found.critical_difference:.1f} or less apart are not told apart at {_LEVEL_TEXT} "
        "(Nemenyi); blocks taken as independent."
    )
