"""Which values are tried next and which are taken: properties of the search."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.config.tuning import LR, End, TuningSettings
from benchmark.tuning.scale import scale_of
from benchmark.tuning.search import (
    Choice,
    Problem,
    Scored,
    Trial,
    choose,
    next_trials,
    rounded,
    widened,
)

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
    """A problem whose choices are not widened unless the budget says so."""
    budget = {"widen": 0, **budget}
    return Problem(rate, "lamb" if values else "", values, TuningSettings(**budget))


# -- learning rates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("best", "tried", "chosen", "end"),
    [
        (0.001, [0.001, 0.003, 0.00033, 0.0017], 0.001, "inside"),  # sides tie: ratios differ
        (0.0014, [0.001, 0.003, 0.00033, 0.0017], 0.0017, "inside"),
        (0.0007, [0.001, 0.003, 0.00033, 0.00057], 0.00057, "inside"),
        (0.02, [0.001, 0.003, 0.00033, 0.009], 0.009, "cap"),
        (0.000001, [0.001, 0.003, 0.00033, 0.00011], 0.00011, "cap"),
    ],
)
def test_the_rate_goes_on_from_the_better_side(
    best: float, tried: list[float], chosen: float, end: End
) -> None:
    problem = at(values=("a", "b", "c"))
    scored = carry_out(problem, lambda t: peak(best)(t) if t.chooses == LR else 50.0)
    assert rates(scored) == tried
    assert choose(problem, scored) == Choice(chosen, "a", end, "unordered")


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
    problem = at(values=("a", "b"), widen=4)
    scored = carry_out(problem, lambda trial: None)
    assert len(scored) == 7
    assert min(rates(scored)) < 0.0001
    assert choose(problem, scored) == Choice(0.001, "a", "failed", "failed")


def test_a_rate_of_zero_has_no_neighbours() -> None:
    problem = at(0.0, values=("a", "b", "c"), widen=4)
    assert [(one.trial.chooses, one.trial.value) for one in carry_out(problem, lambda t: 1.0)] == [
        (LR, 0.0), ("lamb", "a"), ("lamb", "b"), ("lamb", "c"),
    ]  # fmt: skip
    assert choose(problem, carry_out(problem, lambda t: 1.0)).rate_end == "range"


@pytest.mark.parametrize(
    ("best", "added", "end"),
    [
        (0.001, [], "inside"),
        (0.009, [0.027], "inside"),
        (0.2, [0.027, 0.081, 0.24, 0.72], "inside"),
        (50.0, [0.027, 0.081, 0.24, 0.72], "cap"),
        (0.00001, [0.000037, 0.000012, 0.000004], "inside"),
    ],
)
def test_a_rate_at_an_end_goes_on_until_it_has_neighbours(
    best: float, added: list[float], end: End
) -> None:
    problem = at(values=("a", "b", "c"), widen=4)
    scored = carry_out(problem, lambda t: peak(best)(t) if t.chooses == LR else 50.0)
    assert rates(scored)[4:] == added
    assert widened(problem, scored) == len(added)
    assert choose(problem, scored).rate_end == end
    assert {one.trial.rate for one in scored if one.trial.chooses != LR} == {
        choose(problem, scored).rate
    }


def test_a_single_rate_has_neighbours_on_both_sides() -> None:
    problem = at(values=("a", "b", "c"), rates=1, widen=4)
    scored = carry_out(problem, lambda t: 1.0)
    assert rates(scored) == [0.001, 0.003, 0.00033]
    assert (choose(problem, scored).rate_end, widened(problem, scored)) == ("inside", 2)


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
    assert choose(problem, scored) == Choice(0.003, 0.99, "inside", "cap")


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
    problem = Problem(None, "kind", values, TuningSettings(widen=0))
    scored = carry_out(problem, lambda trial: float(trial.value in equal))
    assert choose(problem, scored).value == chosen


def test_a_method_that_trains_nothing_has_no_trials_of_a_rate() -> None:
    problem = Problem(None, "distance", ("cosine", "euclidean"))
    scored = carry_out(problem, lambda trial: float(len(trial.value)))
    assert [one.trial.chooses for one in scored] == ["distance"] * 2
    assert choose(problem, scored) == Choice(None, "euclidean", None, "unordered")
    assert carry_out(Problem(None), lambda trial: 1.0) == []
    assert choose(Problem(None), []) == Choice(None, None)


def larger(trial: Trial) -> float:
    """Ever better the larger the value."""
    scale = scale_of([trial.value])
    assert scale is not None
    return scale.number(trial.value)


@pytest.mark.parametrize(
    ("values", "low", "high", "added", "end"),
    [
        ((1.0, 10.0, 100.0), 0, 1e9, [1e3, 1e4, 1e5, 1e6], "cap"),
        ((10.0, 20.0, 50.0), 0, 100, [100.0], "range"),
        ((0.9, 0.97, 0.99), 0, 1, [0.9967, 0.9989, 0.99963, 0.99988], "cap"),
        ((1, 3, 5), 1, 10, [8, 10], "range"),
        (({"heads": 1.0}, {"heads": 5.0}), 0, 1e9, [{"heads": 25.0}, {"heads": 120.0},
                                                    {"heads": 580.0}, {"heads": 2800.0}], "cap"),
        (("a", "b"), 0, 0, [], "unordered"),
        ((True, False), 0, 0, [], "unordered"),
        (((1, 2), (3, 4)), 0, 0, [], "unordered"),
        (({"heads": 1.0}, {}), 0, 0, [], "unordered"),
        (({"heads": 1.0, "body": 1.0}, {"heads": 5.0, "body": 2.0}), 0, 0, [], "unordered"),
    ],
)  # fmt: skip
def test_a_value_at_an_end_goes_on_as_far_as_its_range(
    values: tuple[Any, ...], low: float, high: float, added: list[Any], end: End
) -> None:
    def fits(value: Any) -> bool:
        return low <= larger(Trial("s", value, None)) <= high

    problem = Problem(None, "s", values, fits=fits)
    ordered = end != "unordered"
    scored = carry_out(problem, larger if ordered else lambda t: float(t.value == values[-1]))
    assert [one.trial.value for one in scored][len(values) :] == added
    assert (choose(problem, scored).value_end, widened(problem, scored)) == (end, len(added))


def test_a_value_that_the_budget_left_out_comes_before_one_that_is_made_up() -> None:
    problem = Problem(None, "s", (1.0, 2.0, 7.0), TuningSettings(values=2, widen=2))
    assert [one.trial.value for one in carry_out(problem, larger)] == [1.0, 2.0, 7.0, 24.0]


# -- whatever the scores -------------------------------------------------------------------------

_NUMBERS = st.one_of(
    st.integers(0, 50),
    st.floats(0, 1).map(rounded),
    st.floats(1e-6, 1e6).map(rounded),
    st.sampled_from([0.9, 0.95, 0.99, 0.999]),
)
_VALUES = st.one_of(
    st.lists(_NUMBERS, max_size=6, unique=True),
    st.lists(st.integers(0, 1000), max_size=6, unique=True),
    st.lists(_NUMBERS, max_size=6, unique=True).map(lambda all_: [{"heads": n} for n in all_]),
    st.lists(st.text(max_size=3), max_size=6, unique=True),
)


@st.composite
def problems(draw: st.DrawFn) -> Problem:
    budget = TuningSettings(
        rates=draw(st.integers(1, 9)),
        values=draw(st.integers(1, 5)),
        factor=draw(st.sampled_from([1.5, 2, 3, 10, 100])),
        widen=draw(st.integers(0, 6)),
    )
    values = tuple(draw(_VALUES))
    rate = draw(st.one_of(st.none(), st.just(0.0), st.floats(1e-7, 10).map(rounded)))
    scale = scale_of(values) if values else None
    numbers = [scale.number(value) for value in values] if scale else [0.0]
    low = min(numbers) - draw(st.sampled_from([0, 1, math.inf]))
    high = max(numbers) + draw(st.sampled_from([0, 1, math.inf]))

    def fits(value: Any) -> bool:
        assert scale is not None
        return low <= scale.number(value) <= high

    return Problem(rate, "s" if values else "", values, budget, fits)


@st.composite
def scores(draw: st.DrawFn) -> Score:
    """The same score for the same trial: rising, falling, or anything."""
    seed, kind = draw(st.integers()), draw(st.sampled_from(["up", "down", "any", "fails"]))

    def score(trial: Trial) -> float | None:
        scale = scale_of([trial.value])
        if kind == "fails":
            return None
        if kind == "any" or scale is None:
            drawn = random.Random(f"{seed} {trial.chooses} {trial.value}")
            return drawn.choice([None, 1.0, 2.0, drawn.random()])
        return scale.number(trial.value) * (1 if kind == "up" else -1)

    return score


def check_end(
    end: End | None, best: Any, tried: list[Any], worths: list[float], left: int, number: Any
) -> None:
    """That what is said of the end of a choice is true."""
    if end == "failed":
        assert max(worths) == -math.inf
    elif end != "unordered":
        numbers = [number(value) for value in tried]
        assert (min(numbers) < number(best) < max(numbers)) == (end == "inside")
        assert end != "cap" or left == 0


@settings(max_examples=400, deadline=None)
@given(problem=problems(), score=scores(), seed=st.integers())
def test_every_search_ends_tries_nothing_twice_and_says_where_its_choice_lies(
    problem: Problem, score: Score, seed: int
) -> None:
    scored = carry_out(problem, score)
    names = [(one.trial.chooses, str(one.trial.value)) for one in scored]
    assert len(names) == len(set(names))  # nothing twice
    choices = (problem.rate is not None) + bool(problem.compared)
    assert len(scored) <= problem.trials + choices * problem.budget.widen
    again = carry_out(problem, score, random.Random(seed))
    assert {(one.trial.chooses, str(one.trial.value)) for one in again} == set(names)
    taken = choose(problem, scored)
    assert choose(problem, again) == taken

    by_rate = [one for one in scored if one.trial.chooses == LR]
    by_value = [one for one in scored if one.trial.chooses != LR]
    added = [len(by_rate) - problem.rate_trials, len(by_value) - len(problem.compared)]
    assert widened(problem, scored) == sum(max(0, number) for number in added)
    left = [problem.budget.widen - max(0, number) for number in added]
    assert min(left) >= 0
    if by_rate:
        assert all(one.trial.value >= 0 for one in by_rate)
        (worth,) = [one.worth for one in by_rate if one.trial.value == taken.rate]
        worths = [one.worth for one in by_rate]
        assert worth == max(worths)
        check_end(taken.rate_end, taken.rate, rates(scored), worths, left[0], float)
    if by_value:
        tried = [one.trial.value for one in by_value]
        worths = [one.worth for one in by_value]
        (worth,) = [one.worth for one in by_value if one.trial.value == taken.value]
        assert worth == max(worths)
        assert all(problem.fits(value) for value in tried[len(problem.compared) :])
        scale = scale_of([*problem.values, *tried])
        assert (scale is None) == (taken.value_end == "unordered") or max(worths) == -math.inf
        check_end(
            taken.value_end, taken.value, tried, worths, left[1], scale.number if scale else None
        )
