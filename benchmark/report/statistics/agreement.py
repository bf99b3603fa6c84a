"""How far two rankings agree: between class orders and seeds, and with a published ranking."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean
from typing import NamedTuple

from benchmark.metrics import NAN
from benchmark.report.rows import Block, Replicate, Row, replicate


class Agreement(NamedTuple):
    """Rank correlations of two rankings, nan where all of one are equal.

    kendall: tau-b; spearman: of mean ranks; p: two-sided, of tau, over all permutations, or its
    normal approximation where values tie; names: of what both rank.
    """

    kendall: float
    spearman: float
    p: float
    names: tuple[str, ...]


def agreement(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Agreement:
    """Agreement of two sets of numbers, larger is better in both, over the names they share."""
    from scipy.stats import kendalltau, spearmanr

    names = tuple(n for n in ours if math.isfinite(ours[n]) and math.isfinite(theirs.get(n, NAN)))
    if len(names) < 2:
        return Agreement(NAN, NAN, NAN, names)
    x, y = [ours[n] for n in names], [theirs[n] for n in names]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of what gives nan
        tau, rho = kendalltau(x, y), spearmanr(x, y)
    return Agreement(float(tau.statistic), float(rho.statistic), float(tau.pvalue), names)


def seed_agreements(
    rows: Sequence[Row], metric: str = "final"
) -> dict[tuple[Replicate, Replicate], Agreement]:
    """Agreement between the rankings that single class orders and seeds give, by pair of these.

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
    rankings = {one: {label: own[one] for label, own in full.items()} for one in usual}
    return {(a, b): agreement(rankings[a], rankings[b]) for a, b in combinations(usual, 2)}


# -- in words -----------------------------------------------------------------------------------


def ranking_notes(
    blocks: Sequence[Block], published: Mapping[str, Sequence[str]], metric: str = "final"
) -> tuple[str, ...]:
    """How far the ranking of methods can be relied on, in words.

    Of every block whether its class orders and seeds agree, and how it agrees with published
    rankings (methods, best first, by name of the ranking) over the methods both have; then whether
    the blocks agree with each other. Of a method with several settings the first by name counts.
    """
    finished = [block for block in blocks if block.finished]
    means = [_means(block, metric) for block in finished]
    notes = [
        _stability(block, metric)
        for block, ours in zip(finished, means, strict=True)
        if len(ours) > 2
    ]
    for name, methods in published.items():
        theirs = {method: -float(rank) for rank, method in enumerate(methods)}
        for block, ours in zip(finished, means, strict=True):
            found = agreement(ours, theirs)
            if len(found.names) > 2:
                notes.append(
                    f"{block.title}, agreement with {name}: Kendall's tau {found.kendall:.2f} "
                    f"(p = {found.p:.2g}), Spearman's rho {found.spearman:.2f} over "
                    f"{len(found.names)} methods"
                )
    return (*notes, *_between_blocks(finished, means))


def _means(block: Block, metric: str) -> dict[str, float]:
    return {
        row.method: row.summary(metric).mean
        for row in block.rows
        if not row.is_upper_bound and not row.variant
    }


def _stability(block: Block, metric: str) -> str:
    pairs = seed_agreements(block.rows, metric)
    taus = [pair.kendall for pair in pairs.values()]
    if not taus or any(map(math.isnan, taus)):
        return (
            f"{block.title}: the stability of the ranking is unknown: fewer than two rows have "
            "the same two class orders and seeds"
        )
    rankings = len({one for pair in pairs for one in pair})
    methods = len(next(iter(pairs.values())).names)
    return (
        f"{block.title}: Kendall's tau between the rankings of {rankings} class orders and seeds: "
        f"mean {fmean(taus):.2f}, minimum {min(taus):.2f}; Spearman's rho "
        f"mean {fmean(pair.spearman for pair in pairs.values()):.2f} ({methods} methods)"
    )


def _between_blocks(blocks: Sequence[Block], means: Sequence[Mapping[str, float]]) -> Iterator[str]:
    titled = zip((block.title for block in blocks), means, strict=True)
    pairs = [(agreement(a, b).kendall, s, t) for (s, a), (t, b) in combinations(titled, 2)]
    known = [pair for pair in pairs if not math.isnan(pair[0])]
    if known:
        low, s, t = min(known)
        yield (
            f"between blocks: Kendall's tau, mean {fmean(tau for tau, _, _ in known):.2f} over "
            f"{len(known)} pairs, minimum {low:.2f} ({s} and {t})"
        )
