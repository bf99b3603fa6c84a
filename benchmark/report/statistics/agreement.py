"""How far two rankings agree: between class orders and seeds, and with a published ranking."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

from benchmark.metrics import NAN
from benchmark.report.rows import Block, Row, replicate


@dataclass(frozen=True)
class Agreement:
    """Rank correlations of two rankings, nan where all of one are equal.

    kendall: tau-b; spearman: of mean ranks; p: two-sided, of tau, over all permutations, or its
    normal approximation where values tie; names: of what both rank.
    """

    kendall: float
    spearman: float
    p: float
    names: tuple[str, ...]

    @property
    def text(self) -> str:
        """In words."""
        return (
            f"Kendall's tau {self.kendall:.2f} (p = {self.p:.2g}), Spearman's rho "
            f"{self.spearman:.2f} over {len(self.names)} methods"
        )


@dataclass(frozen=True)
class Stability:
    """Agreement between the rankings that single seeds with their class orders give.

    kendall, spearman: mean over all pairs of seeds; lowest: the lowest tau of a pair; rankings: how
    many; names: of the rows that have all of them.
    """

    kendall: float
    spearman: float
    lowest: float
    rankings: int
    names: tuple[str, ...]

    @property
    def text(self) -> str:
        """In words."""
        if math.isnan(self.kendall):
            return (
                "the stability of the ranking is unknown: fewer than two rows have the same two "
                "class orders and seeds"
            )
        return (
            f"Kendall's tau between the rankings of {self.rankings} class orders and seeds: "
            f"mean {self.kendall:.2f}, minimum {self.lowest:.2f}; Spearman's rho "
            f"mean {self.spearman:.2f} ({len(self.names)} methods)"
        )


def agreement(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Agreement:
    """Agreement of two sets of numbers, larger is better in both, over the names they share."""
    names = tuple(n for n in ours if math.isfinite(ours[n]) and math.isfinite(theirs.get(n, NAN)))
    x, y = [ours[n] for n in names], [theirs[n] for n in names]
    tau, p = kendall(x, y)
    return Agreement(tau, spearman(x, y), p, names)


def stability(rows: Sequence[Row], metric: str = "final") -> Stability:
    """Agreement between seeds.

    Over the rows that have finished every class order and seed that most rows have; upper bounds
    take no part.
    """
    numbers = {
        row.label: {
            replicate(run.result["spec"]): run.numbers[metric]
            for run in row.done
            if math.isfinite(run.numbers[metric])
        }
        for row in rows
        if not row.is_upper_bound
    }
    counts = Counter(one for own in numbers.values() for one in own)
    most = max(counts.values(), default=0)
    usual = sorted(one for one, n in counts.items() if 2 * n > most)
    full = {label: own for label, own in numbers.items() if all(one in own for one in usual)}
    rankings = [[own[one] for own in full.values()] for one in usual]
    taus = [kendall(x, y)[0] for x, y in combinations(rankings, 2)]
    if not taus or any(map(math.isnan, taus)):
        return Stability(NAN, NAN, NAN, len(usual), tuple(full))
    rhos = [spearman(x, y) for x, y in combinations(rankings, 2)]
    return Stability(fmean(taus), fmean(rhos), min(taus), len(usual), tuple(full))


def ranking_notes(
    blocks: Sequence[Block], published: Mapping[str, Sequence[str]], metric: str = "final"
) -> tuple[str, ...]:
    """How far the ranking of methods can be relied on, in words.

    Of every block whether its class orders and seeds agree, and how it agrees with published
    rankings (methods, best first, by name of the ranking) over the methods both have; then whether
    the blocks agree with each other. Of a method with several settings the first by name counts.
    """
    means = {
        block.name: {
            row.method: row.summary(metric).mean
            for row in block.rows
            if not row.is_upper_bound and not row.variant
        }
        for block in blocks
        if block.finished
    }
    titles = {block.name: block.title for block in blocks}
    notes = [
        f"{block.title}: {stability(block.rows, metric).text}"
        for block in blocks
        if len(means.get(block.name, ())) > 2
    ]
    for name, methods in published.items():
        theirs = {method: -float(rank) for rank, method in enumerate(methods)}
        for block_name, ours in means.items():
            found = agreement(ours, theirs)
            if len(found.names) > 2:
                notes.append(f"{titles[block_name]}, agreement with {name}: {found.text}")
    pairs = [(agreement(a, b), s, t) for (s, a), (t, b) in combinations(means.items(), 2)]
    known = [(pair.kendall, s, t) for pair, s, t in pairs if not math.isnan(pair.kendall)]
    if known:
        low, s, t = min(known)
        notes.append(
            f"between blocks: Kendall's tau, mean {fmean(tau for tau, _, _ in known):.2f} over "
            f"{len(known)} pairs, minimum {low:.2f} ({titles[s]} and {titles[t]})"
        )
    return tuple(notes)


def kendall(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Kendall's tau-b and its p; nan for fewer than two values, or where one side is constant."""
    from scipy.stats import kendalltau

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of what gives nan
        found = kendalltau(x, y)
    return float(found.statistic), float(found.pvalue)


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rho; equal values share the mean of their ranks; nan as for `kendall`."""
    from scipy.stats import spearmanr

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return float(spearmanr(x, y).statistic) if len(x) > 1 else NAN
