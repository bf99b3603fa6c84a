"""How far a difference between two campaigns may go before it is more than noise."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance

from benchmark.metrics import Accuracy

LEVEL = 0.05  # chance that any of all cells is taken for moved although none is
_FEW = 3  # cells it takes to say how spreads are themselves spread
# Of what the other cells say of one cell's spread. With all of it 8 to 11 % of campaigns of which
# nothing moved show a moved cell when spreads are uneven, with a third of it 5 %.
_TRUST = 1 / 3


@dataclass(frozen=True)
class Spread:
    """What the runs of one cell say of its noise.

    variance: of a run's difference, or of a run; df: what it was estimated on; shares: its factor
    in the variance of the difference of means, 1/n for n pairs and 1/n + 1/m for unpaired runs.
    """

    variance: float
    df: float
    shares: float


def paired(differences: Sequence[float], floor: float) -> Spread:
    """Spread of n >= 2 paired differences; floor: the smallest standard deviation to believe in."""
    n = len(differences)
    return Spread(max(variance(differences), floor**2), n - 1, 1 / n)


def unpaired(first: Sequence[float], second: Sequence[float], floor: float) -> Spread:
    """Spread of runs that do not pair, at least three together, taken as equally spread."""
    df = len(first) + len(second) - 2
    squares = sum((x - fmean(group)) ** 2 for group in (first, second) for x in group)
    return Spread(max(squares / df, floor**2), df, 1 / len(first) + 1 / len(second))


def half_widths(spreads: Sequence[Spread], tests: int) -> list[float]:
    """Half the width of the t interval of each difference, over `tests` intervals together.

    The intervals hold all true differences at once with probability 1 - LEVEL (Bonferroni). With
    two or three seeds a cell's own spread says little: it is drawn towards the others' as far as
    these are alike (the moderated t of Smyth, 2004), so give spreads of the same kind together.
    """
    from scipy.special import stdtrit

    prior, weight = _prior(spreads)
    total = sum(one.df for one in spreads)
    weight = _TRUST * min(weight, total)
    widths = []
    for one in spreads:
        df = weight + one.df
        moderated = (weight * prior + one.df * one.variance) / df
        quantile = float(stdtrit(min(df, total), 1 - LEVEL / (2 * tests)))
        widths.append(quantile * math.sqrt(moderated * one.shares))
    return widths


def _prior(spreads: Sequence[Spread]) -> tuple[float, float]:
    """The variance that those of the cells scatter about, and the df it counts for.

    By the moments of the logarithms, as Smyth does; (0, 0) where the cells are too few.
    """
    from scipy.special import digamma, polygamma

    known = [one for one in spreads if one.variance > 0]
    if len(known) < _FEW:
        return 0.0, 0.0
    logs = [
        math.log(one.variance) - float(digamma(one.df / 2)) + math.log(one.df / 2) for one in known
    ]
    excess = variance(logs) - fmean(float(polygamma(1, one.df / 2)) for one in known)
    if excess <= 0:
        return math.exp(fmean(logs)), math.inf
    half = trigamma_inverse(excess)
    return math.exp(fmean(logs) + float(digamma(half)) - math.log(half)), 2 * half


def trigamma_inverse(value: float) -> float:
    """X > 0 with trigamma(x) = value; 1 / x < trigamma(x) < 1 / (x - 1/2) brackets it."""
    from scipy.optimize import brentq
    from scipy.special import polygamma

    low = 1 / value
    return float(brentq(lambda x: polygamma(1, x) - value, low, low + 0.5, xtol=1e-15 * low))


# -- a single run on each side -------------------------------------------------------------------


def image_half_width(variances: Sequence[float], tests: int) -> float:
    """The same for one run a side, of which only the noise of its test images is known."""
    from scipy.special import ndtri

    return float(ndtri(1 - LEVEL / (2 * tests))) * math.sqrt(sum(variances))


def image_variance(metric: str, accuracy: Accuracy, test_counts: Sequence[int]) -> float:
    """Binomial variance of one run's metric, in squared percentage points.

    Exact for `final`; for `average` an upper bound, as the stages share their images; for
    `forgetting` that of the two accuracies of every old task, taken as independent.
    """
    stages = [_stage_variance(row, test_counts) for row in accuracy if row is not None]
    if metric == "final" or len(stages) < len(accuracy):
        return stages[-1]
    if metric == "average":
        return fmean(math.sqrt(stage) for stage in stages) ** 2
    rows = [row for row in accuracy if row is not None]
    old = len(rows) - 1
    before = [max(row[j] for row in rows[j:old]) for j in range(old)]
    both = [
        *zip(before, test_counts, strict=False),
        *zip(rows[-1][:old], test_counts, strict=False),
    ]
    return sum(_binomial(share, count) for share, count in both) / old**2 if old else 0.0


def _stage_variance(row: Sequence[float], test_counts: Sequence[int]) -> float:
    """Of the mean over tasks of accuracies in percent."""
    parts = [_binomial(share, n) for share, n in zip(row, test_counts, strict=False)]
    return sum(parts) / len(parts) ** 2


def _binomial(percent: float, images: int) -> float:
    """Of a share in percent; one image is granted where all or none were right."""
    share = min(max(percent / 100, 1 / (images + 2)), 1 - 1 / (images + 2))
    return 100**2 * share * (1 - share) / images
