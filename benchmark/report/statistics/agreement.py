"""How far two rankings agree: between class orders and seeds, and with a published ranking."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import fmean

import numpy as np

from benchmark.metrics import NAN
from benchmark.report.blocks import UPPER_BOUNDS, Block, Line
from benchmark.report.selection import cell


@dataclass(frozen=True)
class Agreement:
    """Rank correlations of two rankings, nan where one of them does not tell any two apart.

    kendall: tau-b; spearman: of mean ranks; p: two-sided, of tau by permutation; names: of what
    both rank.
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
                "the ranking's stability is not known: it takes two rows with the same two class "
                "orders and seeds or more"
            )
        return (
            f"Kendall's tau between the rankings of {self.rankings} class orders and seeds: "
            f"{self.kendall:.2f} on average, {self.lowest:.2f} at least; Spearman's rho "
            f"{self.spearman:.2f} on average ({len(self.names)} methods)"
        )


def agreement(
    ours: Mapping[str, float], theirs: Mapping[str, float], *, draws: int = 5000, seed: int = 0
) -> Agreement:
    """Agreement of two sets of numbers, larger is better in both, over the names they share."""
    names = tuple(n for n in ours if math.isfinite(ours[n]) and math.isfinite(theirs.get(n, NAN)))
    x, y = [ours[n] for n in names], [theirs[n] for n in names]
    tau = kendall(x, y)
    if math.isnan(tau):
        return Agreement(NAN, NAN, NAN, names)
    return Agreement(tau, spearman(x, y), _p(x, y, draws, seed), names)


def stability(lines: Sequence[Line], metric: str = "final") -> Stability:
    """Agreement between seeds over the rows that have finished every class order and seed that
    most rows have; upper bounds take no part.
    """
    rows = {
        line.label: {
            cell(run.result["spec"]): run.numbers[metric]
            for run in line.done
            if math.isfinite(run.numbers[metric])
        }
        for line in lines
        if line.method not in UPPER_BOUNDS
    }
    counts = {c: sum(c in row for row in rows.values()) for row in rows.values() for c in row}
    most = max(counts.values(), default=0)
    cells = sorted(c for c, n in counts.items() if 2 * n > most)
    full = {name: row for name, row in rows.items() if all(c in row for c in cells)}
    values = [[row[c] for row in full.values()] for c in cells]
    taus = [kendall(x, y) for x, y in combinations(values, 2)]
    if not taus or any(map(math.isnan, taus)):
        return Stability(NAN, NAN, NAN, len(cells), tuple(full))
    rhos = [spearman(x, y) for x, y in combinations(values, 2)]
    return Stability(fmean(taus), fmean(rhos), min(taus), len(cells), tuple(full))


def ranking_notes(
    blocks: Sequence[Block], published: Mapping[str, Sequence[str]], metric: str = "final"
) -> tuple[str, ...]:
    """How far the ranking of methods can be relied on, in words.

    Of every block whether its class orders and seeds agree, and how it agrees with published
    rankings (methods, best first, by what they are called) over the methods both have; then whether
    the blocks agree with each other. Of a method with several settings the first by name counts.
    """
    notes = []
    means = {
        block.name: {
            line.method: line.summary(metric).mean
            for line in block.lines
            if line.method not in UPPER_BOUNDS and not line.variant
        }
        for block in blocks
        if block.finished
    }
    titles = {block.name: block.title for block in blocks}
    for block in blocks:
        if len(means.get(block.name, ())) > 2:
            notes.append(f"{block.title}: {stability(block.lines, metric).text}")
    for name, methods in published.items():
        places = {method: -float(place) for place, method in enumerate(methods)}
        for block_name, ours in means.items():
            found = agreement(ours, places)
            if len(found.names) > 2:
                notes.append(f"{titles[block_name]}, agreement with {name}: {found.text}")
    pairs = [(agreement(a, b), s, t) for (s, a), (t, b) in combinations(means.items(), 2)]
    told = [(pair.kendall, s, t) for pair, s, t in pairs if not math.isnan(pair.kendall)]
    if told:
        low, s, t = min(told)
        notes.append(
            f"between blocks: Kendall's tau {fmean(tau for tau, _, _ in told):.2f} on average over "
            f"{len(told)} pairs, {low:.2f} at least ({titles[s]} and {titles[t]})"
        )
    return tuple(notes)


def kendall(x: Sequence[float], y: Sequence[float]) -> float:
    """Kendall's tau-b; nan for fewer than two values, or where all of one side are equal."""
    a, b = _signs(x), _signs(y)
    scale = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else NAN


def spearman(x: Sequence[float], y: Sequence[float]) -> float:
    """Spearman's rho; equal values share the mean of their places; nan as for `kendall`."""
    a, b = _signs(x).sum(axis=0), _signs(y).sum(axis=0)  # twice the centred ranks
    scale = math.sqrt(float((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale else NAN


def _signs(x: Sequence[float]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """Of every pair which is larger: 1, 0, -1."""
    values = np.asarray(x, dtype=np.float64)
    return np.sign(values[None, :] - values[:, None])


def _p(x: Sequence[float], y: Sequence[float], draws: int, seed: int) -> float:
    """Share of permutations, with this one, that agree or disagree as much."""
    a, b = _signs(x), _signs(y)
    observed = abs(float((a * b).sum()))
    rng = np.random.default_rng(seed)
    orders = rng.permuted(np.tile(np.arange(len(x)), (draws, 1)), axis=1)
    moved = b[orders[:, :, None], orders[:, None, :]]
    extreme = int((np.abs(np.einsum("ij,dij->d", a, moved)) >= observed - 1e-9).sum())
    return (extreme + 1) / (draws + 1)
