"""Which values are tried next and which are taken: properties of the search."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from benchmark.config.tuning import LR, TuningSettings
from benchmark.tuning.search import Choice, Problem, Scored, Trial, choose, next_trials, rounded

Score = Callable[[Trial], "float | None"]


def carry_out(problem: Problem, score: Score, shuffle: random.Random | None = None) -> list[Scored]:
    """Every trial of a search; the results may come back in any order."""
    scored: list[Scored] = []
    while trials := next_trials(problem, scored):
        scored += [Scored(trial, score(trial)) for trial in trials]
        if shuffle:
            shuffle.shuffle(scored)
    return scored


def rates(scored: Sequence[Scored]) -> list[float]:
    return [one.trial.value for one in scored if one.trial.chooses == LR]


def peak(best: float) -> Score:
    """Accuracy that falls off to both sides of a best rate."""
    return lambda trial: 60 - 10 * abs(math.log(trial.value / best))


def at(rate: float = 0.001, *, values: tuple[Any, ...] = (), **budget: Any) -> Problem:
    return Problem(rate, "lamb" if values else "", values, TuningSettings(**budget))


# -- learning rates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("best", "tried", "chosen", "edge"),
    [
        (0.001, [0.001, 0.003, 0.00033, 0.0017], 0.001, False),  # sides tie: their ratios differ
        (0.0014, [0.001, 0.003, 0.00033, 0.0017], 0.0017, False),
        (0.0007, [0.001, 0.003, 0.00033, 0.00057], 0.00057, False),
        (0.02, [0.001, 0.003, 0.00033, 0.009], 0.009, True),
        (0.000001, [0.001, 0.003, 0.00033, 0.00011], 0.00011, True),
    ],
)
def test_the_rate_goes_on_from_the_better_side(
    best: float, tried: list[float], chosen: float, edge: bool
) -> None:
    problem = at(values=("a", "b", "c"))
    scored = carry_out(problem, lambda t: peak(best)(t) if t.chooses == LR else 50.0)
    assert rates(scored) == tried
    assert choose(problem, scored) == Choice(chosen, "a", edge)


def test_all_rates_of_the_first_round_are_asked_for_at_once() -> None:
    assert next_trials(at(), []) == [Trial(LR, r, r) for r in (0.001, 0.003, 0.00033)]


def test_a_method_without_a_setting_spends_everything_on_its_rate() -> None:
    scored = carry_out(at(), peak(0.0017))
    assert len(scored) == len(set(rates(scored))) == 7


def test_trials_a_setting_has_no_values_for_go_to_the_rate() -> None:
    scored = carry_out(at(values=(1, 2)), lambda trial: float(trial.value))
    assert (len(rates(scored)), len(scored)) == (5, 7)


def test_rates_that_tie_leave_the_one_in_force() -> None:
    problem = at()
    scored = carry_out(problem, lambda trial: 50.0)
    assert choose(problem, scored).rate == 0.001
    upper = [Scored(Trial(LR, r, r), s) for r, s in ((0.001, 1.0), (0.01, 2.0), (0.0001, 2.0))]
    assert choose(problem, upper).rate == 0.0001  # as near by ratio: the smaller


def test_a_failed_rate_is_worst_and_is_not_taken() -> None:
    problem = at(values=("a", "b", "c"))

    def score(trial: Trial) -> float | None:
        return None if trial.chooses == LR and trial.value >= 0.001 else 5.0

    scored = carry_out(problem, score)
    assert choose(problem, scored).rate == 0.00033
    assert len(scored) == 7
    assert not any(one.trial.rate == 0.001 for one in scored if one.trial.chooses == "lamb")


def test_a_nan_score_is_a_failure() -> None:
    assert Scored(Trial(LR, 1.0, 1.0), math.nan).worth == -math.inf


def test_where_everything_fails_smaller_rates_are_tried_and_nothing_is_changed() -> None:
    problem = at(values=("a", "b"))
    scored = carry_out(problem, lambda trial: None)
    assert len(scored) == 7
    assert min(rates(scored)) < 0.0001
    assert choose(problem, scored) == Choice(0.001, "a", False)


def test_a_rate_of_zero_has_no_neighbours() -> None:
    problem = at(0.0, values=("a", "b", "c"))
    assert [(one.trial.chooses, one.trial.value) for one in carry_out(problem, lambda t: 1.0)] == [
        (LR, 0.0), ("lamb", "a"), ("lamb", "b"), ("lamb", "c"),
    ]  # fmt: skip


def test_rates_read_well() -> None:
    assert [rounded(r) for r in (0.0015000001, 0.000166667, 123.4)] == [0.0015, 0.00017, 120.0]
    assert rates(carry_out(at(0.0028125), lambda t: 1.0))[0] == 0.0028125  # the suite's, as it is


# -- the setting ---------------------------------------------------------------------------------


def test_values_are_compared_at_the_best_rate_with_the_one_in_force() -> None:
    problem = at(values=(0.95, 0.9, 0.99))
    scored = carry_out(problem, lambda t: peak(0.003)(t) if t.chooses == LR else 100 * t.value)
    later = [one.trial for one in scored if one.trial.chooses != LR]
    assert [(trial.chooses, trial.value, trial.rate) for trial in later] == [
        ("lamb", value, 0.003) for value in (0.95, 0.9, 0.99)
    ]
    assert choose(problem, scored) == Choice(0.003, 0.99, False)


@pytest.mark.parametrize(
    ("values", "equal", "chosen"),
    [
        ((10.0, 1.0, 100.0), (1.0, 100.0), 1.0),  # the nearest number
        ((10.0, 1.0, 100.0), (1.0, 10.0, 100.0), 10.0),
        (("all", "seen", "own"), ("own", "seen"), "seen"),  # the order of the suite
        (({"heads": 5.0}, {"heads": 1.0}), ({"heads": 1.0}, {"heads": 5.0}), {"heads": 5.0}),
    ],
)
def test_values_that_tie_go_to_the_nearest(values: Any, equal: Any, chosen: Any) -> None:
    problem = Problem(None, "kind", values)
    scored = carry_out(problem, lambda trial: float(trial.value in equal))
    assert choose(problem, scored).value == chosen


def test_a_method_that_trains_nothing_has_no_trials_of_a_rate() -> None:
    problem = Problem(None, "distance", ("cosine", "euclidean"))
    scored = carry_out(problem, lambda trial: float(len(trial.value)))
    assert [one.trial.chooses for one in scored] == ["distance"] * 2
    assert choose(problem, scored) == Choice(None, "euclidean", False)
    assert carry_out(Problem(None), lambda trial: 1.0) == []
    assert choose(Problem(None), []) == Choice(None, None, False)


# -- whatever the scores -------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(300))
def test_budget_order_and_choice_hold_for_any_scores(seed: int) -> None:
    draw = random.Random(seed)
    budget = TuningSettings(
        rates=draw.randint(1, 9),
        values=draw.randint(1, 5),
        factor=draw.choice([1.5, 2, 3, 10, 100]),
    )
    values = tuple(range(draw.randint(0, 6)))
    problem = Problem(rounded(10 ** draw.uniform(-6, 1)), "s" if values else "", values, budget)
    scores: dict[tuple[str, Any], float | None] = {}

    def score(trial: Trial) -> float | None:
        drawn = draw.choice([None, 1.0, 2.0, draw.random(), draw.random()])
        return scores.setdefault((trial.chooses, trial.value), drawn)

    scored = carry_out(problem, score)
    names = [(one.trial.chooses, one.trial.value) for one in scored]
    assert len(names) == len(set(names)) == budget.trials == problem.trials  # nothing twice
    assert all(rate > 0 for rate in rates(scored))
    again = carry_out(problem, score, random.Random(seed + 1))
    assert {(o.trial.chooses, o.trial.value) for o in again} == set(names)
    taken = choose(problem, scored)
    assert choose(problem, again) == taken
    worths = {one.trial.value: one.worth for one in scored if one.trial.chooses == LR}
    assert worths[taken.rate] == max(worths.values())
    assert taken.edge == (taken.rate in (min(worths), max(worths)))
