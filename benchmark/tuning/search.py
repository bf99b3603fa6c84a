"""Which values a method tries next, and which it takes: pure functions of the scores so far.

A choice that lies at an end of what was tried is no choice yet: it is given trials beyond that end,
until the best value has a neighbour on both sides, the range ends or `widen` trials are spent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.config.tuning import LR, End, TuningSettings
from benchmark.tuning.scale import Scale, next_beyond, rounded, scale_of


def _fits(value: Any) -> bool:
    return True


@dataclass(frozen=True)
class Problem:
    """What one method chooses: its learning rate, then the value of one setting at that rate.

    rate: the one in force, None where nothing is trained. values: of the setting, the one in force
    first. fits: whether a value of the setting is in its range. Trials that the setting has no
    values for go to the rate, so that every method with a learning rate spends the whole budget.
    """

    rate: float | None
    setting: str = ""
    values: tuple[Any, ...] = ()
    budget: TuningSettings = field(default_factory=TuningSettings)
    fits: Callable[[Any], bool] = field(default=_fits, compare=False)

    @property
    def compared(self) -> tuple[Any, ...]:
        """The values that are tried whatever their scores; a single one is no choice."""
        values = self.values[: self.budget.values]
        return values if len(values) > 1 else ()

    @property
    def rate_trials(self) -> int:
        """Trials of the learning rate, whatever their scores."""
        return 0 if self.rate is None else self.budget.trials - len(self.compared)

    @property
    def trials(self) -> int:
        """Trials of this method before any search is widened, at most.

        Fewer only where there is nothing else to choose.
        """
        return self.rate_trials + len(self.compared)


@dataclass(frozen=True)
class Trial:
    """One value of what is chosen: of `training.lr`, or of the setting at the rate taken."""

    chooses: str
    value: Any
    rate: float | None  # learning rate of its runs; None: as the suite has it


@dataclass(frozen=True)
class Scored:
    """A finished trial; the score is the larger the better, None for a trial that failed."""

    trial: Trial
    score: float | None

    @property
    def worth(self) -> float:
        """The score, with a failed trial below all others."""
        return -math.inf if self.score is None or math.isnan(self.score) else self.score


@dataclass(frozen=True)
class Choice:
    """What is taken, and where it lies among the values tried; None where nothing is chosen."""

    rate: float | None
    value: Any
    rate_end: End | None = None
    value_end: End | None = None


def next_trials(problem: Problem, scored: Sequence[Scored]) -> list[Trial]:
    """The trials to carry out next, all at the same time; none when everything is chosen."""
    rates = _next_rates(problem, _rates(scored))
    if rates:
        return [Trial(LR, rate, rate) for rate in rates]
    rate = _best_rate(problem, _rates(scored))
    return [Trial(problem.setting, value, rate) for value in _next_values(problem, scored)]


def choose(problem: Problem, scored: Sequence[Scored]) -> Choice:
    """The best rate and the best value; among equals the one nearest to what is in force."""
    tried, values = _rates(scored), _values(scored)
    return Choice(
        rate=_best_rate(problem, tried),
        value=_best_value(problem, values),
        rate_end=_rate_end(problem, tried) if tried else None,
        value_end=_value_end(problem, values) if values else None,
    )


def widened(problem: Problem, scored: Sequence[Scored]) -> int:
    """How many of the trials were added because a choice lay at an end."""
    rates, values = _rates(scored), _values(scored)
    added = (len(rates) - problem.rate_trials, len(values) - len(problem.compared))
    return sum(max(0, number) for number in added)


def _end(at_end: bool, left: int) -> End:
    if not at_end:
        return "inside"
    return "range" if left > 0 else "cap"


# -- learning rates ------------------------------------------------------------------------------


def _rates(scored: Iterable[Scored]) -> dict[float, float]:
    """Worth of every rate tried, from the smallest rate on."""
    found = {one.trial.value: one.worth for one in scored if one.trial.chooses == LR}
    return dict(sorted(found.items()))


def _next_rates(problem: Problem, tried: dict[float, float]) -> list[float]:
    """The rates to try next: those of the budget, then beyond an end that the best lies at."""
    if problem.rate is None:
        return []
    if len(tried) < problem.rate_trials:
        first = _first_rates(problem.rate, problem)
        new = [rate for rate in first if rate not in tried]
        new = new or _further(problem.rate, tried, problem.budget.factor)
        if new:
            return new
    return _rates_beyond(problem, tried)[: _left(problem, len(tried), problem.rate_trials)]


def _left(problem: Problem, tried: int, planned: int) -> int:
    """How many trials may still be added to a choice."""
    return problem.budget.widen - max(0, tried - planned)


def _first_rates(start: float, problem: Problem) -> list[float]:
    """The rate in force and its neighbours on both sides."""
    factor = problem.budget.factor
    rates = [start, rounded(start * factor), rounded(start / factor)]
    return list(dict.fromkeys(rates))[: problem.rate_trials]


def _further(start: float, tried: dict[float, float], factor: float) -> list[float]:
    """The next rate: a step beyond the best if it lies at an edge, else half a step beside it."""
    rates = list(tried)
    at = rates.index(_nearest_best(start, tried))
    beyond = [rates[0] / factor, rates[-1] * factor]
    if tried[rates[at]] == -math.inf:  # nothing trains: smaller steps may
        wanted = beyond
    elif at == 0:
        wanted = [*beyond, *_between(rates, tried, at)]
    elif at == len(rates) - 1:
        wanted = [*reversed(beyond), *_between(rates, tried, at)]
    else:
        wanted = [*_between(rates, tried, at), *beyond]
    new = [rounded(rate) for rate in wanted if rounded(rate) not in tried]
    return [rate for rate in new if 0 < rate < math.inf][:1]


def _between(rates: list[float], tried: dict[float, float], at: int) -> list[float]:
    """Half steps from the rate at a place to its neighbours, the better side first."""
    beside = [rates[i] for i in (at - 1, at + 1) if 0 <= i < len(rates)]
    beside.sort(key=lambda rate: tried[rate], reverse=True)  # of equal ones the smaller rate
    return [math.sqrt(rates[at] * other) for other in beside]


def _rates_beyond(problem: Problem, tried: dict[float, float]) -> list[float]:
    """The rates after the best one on the sides where it has no neighbour, the larger first."""
    rates, best = list(tried), _best_rate(problem, tried)
    if not rates or best is None or tried[best] == -math.inf:
        return []
    factor = problem.budget.factor
    wanted = [rates[-1] * factor] * (best == rates[-1]) + [rates[0] / factor] * (best == rates[0])
    new = [rounded(rate) for rate in wanted]
    return [rate for rate in new if 0 < rate < math.inf and rate not in tried]


def _rate_end(problem: Problem, tried: dict[float, float]) -> End:
    best = _best_rate(problem, tried)
    if best is None or tried[best] == -math.inf:
        return "failed"
    if min(tried) < best < max(tried):
        return "inside"
    return "cap" if _rates_beyond(problem, tried) else "range"


def _best_rate(problem: Problem, tried: dict[float, float]) -> float | None:
    if problem.rate is None or not tried:
        return problem.rate
    return _nearest_best(problem.rate, tried)


def _nearest_best(start: float, tried: dict[float, float]) -> float:
    """The rate of the highest worth; of several the nearest by ratio, then the smaller."""
    top = max(tried.values())
    best = [rate for rate, worth in tried.items() if worth == top]
    return min(best, key=lambda rate: (_distance(rate, start), rate))


def _distance(rate: float, start: float) -> float:
    return abs(math.log(rate / start)) if rate > 0 and start > 0 else abs(rate - start)


# -- the setting ---------------------------------------------------------------------------------

_Tried = Sequence[tuple[Any, float]]  # values with their worths, in the order of the trials


def _values(scored: Iterable[Scored]) -> list[tuple[Any, float]]:
    return [(one.trial.value, one.worth) for one in scored if one.trial.chooses != LR]


def _next_values(problem: Problem, scored: Sequence[Scored]) -> list[Any]:
    """The values to try next: those compared, then beyond an end that the best lies at."""
    tried = _values(scored)
    done = [value for value, _ in tried]
    new = [value for value in problem.compared if value not in done]
    left = _left(problem, len(tried), len(problem.compared))
    return new or _values_beyond(problem, tried)[:left]


def _scale(problem: Problem, tried: _Tried) -> Scale | None:
    return scale_of([*problem.values, *(value for value, _ in tried)])


def _values_beyond(problem: Problem, tried: _Tried) -> list[Any]:
    """The value after the best one where that is the outermost; none where values have no order.

    A value of the suite that the budget had no trial for comes before one that is made up.
    """
    scale = _scale(problem, tried)
    if scale is None or not tried or max(worth for _, worth in tried) == -math.inf:
        return []
    numbers = [scale.number(value) for value, _ in tried]
    best = scale.number(_best_value(problem, tried))
    if min(numbers) < best < max(numbers):
        return []
    up = best == max(numbers)
    named = [scale.number(value) for value in problem.values]
    ahead = [number for number in named if (number > best if up else number < best)]
    if ahead:
        return [scale.value(min(ahead) if up else max(ahead))]
    following = next_beyond(numbers, up, scale, problem.fits)
    return [] if following is None else [scale.value(following)]


def _value_end(problem: Problem, tried: _Tried) -> End:
    if max(worth for _, worth in tried) == -math.inf:
        return "failed"
    scale = _scale(problem, tried)
    if scale is None:
        return "unordered"
    numbers = [scale.number(value) for value, _ in tried]
    if min(numbers) < scale.number(_best_value(problem, tried)) < max(numbers):
        return "inside"
    return "cap" if _values_beyond(problem, tried) else "range"


def _best_value(problem: Problem, tried: _Tried) -> Any:
    """The value of the highest worth; of several the nearest, then the first."""
    if not tried:
        return problem.values[0] if problem.values else None
    top = max(worth for _, worth in tried)
    best = [value for value, worth in tried if worth == top]
    scale = _scale(problem, tried)
    known = [*problem.values, *(value for value, _ in tried)]

    def rank(value: Any) -> tuple[float, int]:
        """How far from the value in force: numbers by difference, others by their place."""
        place = known.index(value)
        if scale is None:
            return float(place > 0), place
        return abs(scale.number(value) - scale.number(problem.values[0])), place

    return min(best, key=rank)
