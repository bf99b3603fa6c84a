"""Which rows of a column are best: no other row is significantly better.

Every row is compared with every other by t-tests, paired by class order and seed. What differs from
textbook pairwise tests, because three to five seeds say little of a row's own noise:

- The variance comes from all rows together (residuals of an additive fit of rows and cells) as long
  as Bartlett's test finds the rows equally noisy; else each pair's own variance is drawn towards it
  as far as the rows are alike (the moderated t of Smyth, 2004).
- A difference must also pass the pair's own one-sided paired t-test, so that a pair noisier than
  the others is not split by their calm.
- The correction holds the chance that any truly best row is left out of the set at `LEVEL`, and is
  exact for the choice of the best from the data: the row at place s of k, counted from the least
  beaten, is left out where max(k rows) - min(s of them) of equal rows would rarely be as large, and
  all rows below are left out too. For s = k this is Tukey's range, for smaller s it asks for less
  (closed testing of "these are the best"; Finner and Strassburger, 2002).
- Rows whose runs do not pair are compared by Welch's t-test.

Simulated with five seeds: two equal rows are split in 5 % of tables, fifteen in 4 %; where some
rows are three to ten times as noisy as others in 1 to 8 %, where class orders help half of the rows
and harm the others in 7 to 11 %. A gap of three standard deviations is found in 93 % between two
rows, in 90 % between the best and each of fourteen others, in 99 % for one bad row of fifteen.
Runs that the other row lacks are not used: of two rows alone, five runs of which three are shared,
or five against three, the gap is found in 51 %. Where no two rows share a run, each of fourteen
losers is found in 41 %.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np

from benchmark.metrics import METRICS
from benchmark.report.blocks import UPPER_BOUNDS, Line
from benchmark.report.selection import cell
from benchmark.report.statistics.noise import trigamma_inverse

LEVEL = 0.05
_TINY = 1e-9  # percentage points: differences below it are rounding
_SAME_NOISE = 1e-5  # of the mean variance: less counts as this much when variances are compared

Runs: TypeAlias = Mapping[Hashable, float]  # a row's numbers by class order and seed


@dataclass(frozen=True)
class BestSet:
    """best: positions of the best rows; tested: of all rows compared, none or two and more.

    p: of each row, corrected: the smallest level at which it is left out of the best; nan where it
    was not compared. paired: whether all comparisons were. single: rows with one run, which no test
    can judge.
    """

    best: frozenset[int] = frozenset()
    tested: tuple[int, ...] = ()
    p: tuple[float, ...] = ()
    paired: bool = True
    single: tuple[int, ...] = ()


def best_set(rows: Sequence[Runs], better: Literal["higher", "lower"] = "higher") -> BestSet:
    """The rows that no other is significantly better than; nan and missing runs do not count.

    Empty where fewer than two rows have two runs or more.
    """
    sign = 1.0 if better == "higher" else -1.0
    found = [{c: sign * x for c, x in row.items() if math.isfinite(x)} for row in rows]
    tested = tuple(i for i, row in enumerate(found) if len(row) > 1)
    single = tuple(i for i, row in enumerate(found) if len(row) == 1)
    p = [math.nan] * len(found)
    if len(tested) < 2:
        return BestSet(p=tuple(p), single=single)
    runs = [found[i] for i in tested]
    noise = _noise(runs)
    scores = _scores(runs, noise)
    order = sorted(range(len(runs)), key=lambda i: -scores[i])
    largest = 0.0
    for s, i in zip(range(len(runs), 0, -1), order, strict=True):
        own = range_tail(scores[i], s, len(runs)) if scores[i] > 0 and s > 1 else 1.0
        p[tested[i]] = largest = max(largest, own)
    best = frozenset(i for i in tested if p[i] > LEVEL)
    paired = all(_pairs(a, b) for a in runs for b in runs)
    return BestSet(best, tested, tuple(p), paired, single)


def best_lines(lines: Sequence[Line], metric: str) -> BestSet:
    """The best of the lines in one metric of `benchmark.metrics`; upper bounds take no part."""
    rows: list[Runs] = [
        {}
        if line.method in UPPER_BOUNDS
        else {cell(run.result["spec"]): run.numbers[metric] for run in line.done}
        for line in lines
    ]
    return best_set(rows, METRICS[metric].better)


def best_rows(lines: Sequence[Line], metric: str) -> set[int]:
    """Positions of the best lines."""
    return set(best_lines(lines, metric).best)


# -- noise --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Noise:
    """variance: of a run given its row and cell, over all rows; df: what it was estimated on;
    weight: the df it counts for beside a pair's own variance, infinite where rows are alike.
    """

    variance: float
    df: float
    weight: float


def _noise(rows: Sequence[Runs]) -> _Noise:
    from scipy.special import chdtri, polygamma

    cells = {c: i for i, c in enumerate(dict.fromkeys(c for row in rows for c in row))}
    places = [(i, cells[c]) for i, row in enumerate(rows) for c in row]
    design = np.zeros((len(places), len(rows) + len(cells)))
    for n, (i, c) in enumerate(places):
        design[n, i] = design[n, len(rows) + c] = 1
    y = np.array([x for row in rows for x in row.values()])
    y -= y.mean()
    solution, _, rank, _ = np.linalg.lstsq(design, y, rcond=None)
    squares = (y - design @ solution) ** 2
    df = len(places) - int(rank)
    total = float(squares.sum())
    if df < 1 or total / df < _TINY**2:
        return _Noise(0.0, max(df, 0), 0.0)
    mean = total / df
    shared = {c for c in cells if sum(c in row for row in rows) > 1}
    own = np.array([sum(c in shared for c in row) - 1 for row in rows])
    if len(rows) < 3 or own.min() < 1:
        return _Noise(mean, df, 0.0)
    sums = np.bincount([i for i, _ in places], squares, len(rows))
    variances = np.maximum(sums / own * (own.sum() / df), _SAME_NOISE * mean)
    logs = np.log(variances)
    bartlett = float(own.sum() * math.log(mean) - own @ logs)
    bartlett /= 1 + ((1 / own).sum() - 1 / own.sum()) / (3 * (len(rows) - 1))
    excess = float(np.var(logs, ddof=1) - polygamma(1, own / 2).mean())
    if bartlett < chdtri(len(rows) - 1, LEVEL) or excess <= 0:
        return _Noise(mean, df, math.inf)
    return _Noise(mean, df, 2 * trigamma_inverse(excess))


def _pairs(a: Runs, b: Runs) -> bool:
    """Whether enough runs of two rows share class order and seed."""
    common = len(a.keys() & b.keys())
    return common > 1 and 2 * common >= min(len(a), len(b))


def _scores(rows: Sequence[Runs], noise: _Noise) -> list[float]:
    """By how many standard errors each row is beaten by the row that beats it most clearly.

    As normal scores, so that tests on different degrees of freedom compare; 0 for none.
    """
    from scipy.special import ndtri, stdtr

    found = np.array([[_t(a, b, noise) for a in rows] for b in rows])  # [row, by, t and df]
    p = np.maximum(stdtr(found[..., 1], -found[..., 0]), 1e-300)
    scores: list[float] = np.where(found[..., 0] > 0, -ndtri(p), 0.0).max(axis=1).tolist()
    return scores


def _t(a: Runs, b: Runs, noise: _Noise) -> tuple[float, float]:
    """t and df of `a` being better than `b`; t is 0 if it is not."""
    if _pairs(a, b):
        gap, spread, n = _moments([a[c] - b[c] for c in a if c in b])
        df = n - 1.0
        if gap < _TINY or gap < _own_limit(n) * math.sqrt(spread / n):
            return 0.0, 1.0
        if noise.weight == math.inf:
            spread, df = 2 * noise.variance, noise.df
        elif noise.weight:
            prior = noise.weight
            spread = (prior * 2 * noise.variance + df * spread) / (prior + df)
            df = min(prior + df, noise.df)
        error = spread / n
    else:
        (mean, spread, n), (other, other_spread, m) = _moments(a.values()), _moments(b.values())
        gap, parts = mean - other, (spread / n, other_spread / m)
        if gap < _TINY:
            return 0.0, 1.0
        error = sum(parts)
        scatter = parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (m - 1)
        df = error**2 / scatter if scatter else 1.0
    return gap / math.sqrt(error) if error > _TINY**2 else math.inf, df


def _moments(values: Iterable[float]) -> tuple[float, float, int]:
    """Mean, sample variance and number of two values or more."""
    found = list(values)
    mean = math.fsum(found) / len(found)
    return mean, math.fsum((x - mean) ** 2 for x in found) / (len(found) - 1), len(found)


@lru_cache(maxsize=100)
def _own_limit(n: int) -> float:
    """The t that n pairs exceed with probability LEVEL."""
    from scipy.special import stdtrit

    return float(stdtrit(n - 1, 1 - LEVEL))


# -- ranges of normal numbers ---------------------------------------------------------------------

_GRID = np.linspace(-8.5, 8.5, 341)
_DENSITY = np.exp(-(_GRID**2) / 2) / math.sqrt(2 * math.pi) * (_GRID[1] - _GRID[0])


def range_tail(score: float, s: int, k: int) -> float:
    """Chance that the largest of k standard normal numbers exceeds the smallest of the first s of
    them by more than `score` standard deviations of a difference; s = k: Tukey's range.
    """
    from scipy.special import ndtr

    below, upto = ndtr(_GRID), ndtr(_GRID + score * math.sqrt(2))
    inside = s * (upto - below) ** (s - 1) * upto ** (k - s) @ _DENSITY
    return min(max(1 - float(inside), 0.0), 1.0)


def range_quantile(level: float, k: int) -> float:
    """The score that the range of k exceeds with probability `level`."""
    low, high = 0.0, 12.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if range_tail(middle, k, k) > level else (low, middle)
    return high
