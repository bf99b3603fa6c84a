"""Which values a method tries next, and which it takes: pure functions of the scores so far."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmark.config.tuning import LR, TuningSettings


@dataclass(frozen=True)
class Problem:
    """What one method chooses: its learning rate, then the value of one setting at that rate.

    rate: the one in force, None where nothing is trained. values: of the setting, the one in force
    first. Trials that the setting has no values for go to the rate, so that every method with a
    learning rate spends the whole budget.
    """

    rate: float | None
    setting: str = ""
    values: tuple[Any, ...] = ()
    budget: TuningSettings = field(default_factory=TuningSettings)

    @property
    def compared(self) -> tuple[Any, ...]:
        """The values that are tried; a single one is no choice."""
        values = self.values[: self.budget.values]
        return values if len(values) > 1 else ()

    @property
    def rate_trials(self) -> int:
        """Trials of the learning rate."""
        return 0 if self.rate is None else self.budget.trials - len(self.compared)

    @property
    def trials(self) -> int:
        """All trials of this method, at most; fewer only where there is nothing else to choose."""
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
    """What is taken. edge: the rate is the smallest or the largest of those tried."""

    rate: float | None
    value: Any
    edge: bool


def next_trials(problem: Problem, scored: Sequence[Scored]) -> list[Trial]:
    """The trials to carry out next, all at the same time; none when everything is chosen."""
    tried = _rates(scored)
    if problem.rate is not None and len(tried) < problem.rate_trials:
        first = _first_rates(problem.rate, problem)
        new = [rate for rate in first if rate not in tried]
        if not new:
            new = _further(problem.rate, tried, problem.budget.factor)
        if new:
            return [Trial(LR, rate, rate) for rate in new]
    rate = _best_rate(problem, tried)
    done = [one.trial.value for one in scored if one.trial.chooses != LR]
    return [Trial(problem.setting, value, rate) for value in problem.compared if value not in done]


def choose(problem: Problem, scored: Sequence[Scored]) -> Choice:
    """The best rate and the best value; among equals the one nearest to what is in force."""
    tried = _rates(scored)
    rate = _best_rate(problem, tried)
    edge = rate in (min(tried), max(tried)) if tried else False
    value = problem.values[0] if problem.values else None
    by_value = [one for one in scored if one.trial.chooses != LR]
    if by_value:
        top = max(one.worth for one in by_value)
        best = [one.trial.value for one in by_value if one.worth == top]
        value = min(best, key=lambda v: _rank(v, problem.values))
    return Choice(rate, value, edge)


def rounded(rate: float) -> float:
    """To two significant digits, as people write learning rates."""
    return float(f"{rate:.2g}")


def _rates(scored: Iterable[Scored]) -> dict[float, float]:
    """Worth of every rate tried, from the smallest rate on."""
    found = {one.trial.value: one.worth for one in scored if one.trial.chooses == LR}
    return dict(sorted(found.items()))


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


def _rank(value: Any, values: Sequence[Any]) -> tuple[float, int]:
    """How far from the value in force: numbers by difference, others by their place."""
    place = values.index(value)
    numbers = (value, values[0])
    if all(isinstance(n, (int, float)) and not isinstance(n, bool) for n in numbers):
        return abs(value - values[0]), place
    return float(place > 0), place
