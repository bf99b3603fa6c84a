"""What each method chooses, and the runs that its trials stand for."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmark.config import MethodPlan, Suite
from benchmark.config.reading import as_suite_error
from benchmark.config.tuning import LR, RECIPE
from benchmark.engine.suitability import Suitability
from benchmark.registry import METHODS
from benchmark.seeds import derive
from benchmark.spec import RunSpec
from benchmark.tuning.search import Problem, Trial
from benchmark.validation import Errors

FIRST_SEED = 1000  # seeds below are the benchmark's own
_SEEDS = 1_000_000  # from which those of a name are drawn
_NO_TEST = "must lie above 0: tuning never looks at test images, so it needs others to compare by"


class TuningError(RuntimeError):
    """A tuning that cannot be carried out or finished."""


@dataclass(frozen=True)
class Candidate:
    """A method with its run as the suite has it, and what it chooses.

    own_order: the run's class order is kept; otherwise it is drawn from the seed of a trial.
    left_out: values of the setting that the budget has no trials for.
    """

    base: RunSpec
    problem: Problem
    own_order: bool = False
    left_out: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """The method."""
        return self.base.method

    def specs(self, trial: Trial) -> list[RunSpec]:
        """The runs of a trial, one a seed."""
        spec = self.base
        if trial.rate is not None:
            spec = _with(spec, LR, trial.rate)
        if trial.chooses != LR:
            spec = _with(spec, trial.chooses, trial.value)
        return [
            replace(spec, seed=seed, order=spec.order if self.own_order else f"shuffled:{seed}")
            for seed in trial_seeds(trial.chooses, self.problem.budget.seeds)
        ]


def candidates(
    suite: Suite, specs: Iterable[RunSpec], keep: Collection[str]
) -> tuple[list[Candidate], dict[str, str]]:
    """The methods to tune, from one run of each, and those left out with the reason.

    keep: which of `order` and `validation` the user has set. Raises `SuiteError` and `TuningError`
    as `Tuning` says.
    """
    found, skipped = [], {}
    errors, suitability = Errors(), Suitability()
    for asked in specs:
        spec = asked
        if "validation" not in keep:
            spec = replace(asked, validation=suite.tuning.validation)
        elif not spec.validation > 0:
            errors.add(_NO_TEST, "--set validation")
        if suite.tuning.tasks:
            spec = replace(spec, tasks=spec.tasks[: suite.tuning.tasks])
        reason = suitability.skip(spec)
        if reason is not None:
            skipped[spec.method] = reason
        else:
            found.append(_candidate(suite, spec, "order" in keep, errors))
    with as_suite_error():
        errors.check()
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in skipped.items())
        raise TuningError(f"no method is left to tune: {reasons or 'the suite has none'}")
    return found, skipped


def trial_seeds(name: str, count: int) -> tuple[int, ...]:
    """Seeds of all trials that choose `name`, whatever the method and the value.

    They are named by what they choose, and none is one of the benchmark's own.
    """
    found: dict[int, None] = {}
    index = 0
    while len(found) < count:
        found[FIRST_SEED + derive(index, "tuning", name) % _SEEDS] = None
        index += 1
    return tuple(found)


def trains_nothing(method: str) -> bool:
    """Whether a method never has parameters to train, so that no learning rate matters.

    Asked of an instance that holds nothing: a method that looks for its parameters fails.
    """
    kind = METHODS.get(method)
    try:
        return not kind.parameter_groups(kind.__new__(kind))
    except (AttributeError, TypeError):
        return False


def _candidate(suite: Suite, spec: RunSpec, own_order: bool, errors: Errors) -> Candidate:
    search = suite.methods.get(spec.method, MethodPlan()).search
    rate = None if trains_nothing(spec.method) else spec.recipe.lr
    if not search.name:
        return Candidate(spec, Problem(rate, budget=suite.tuning), own_order)
    in_force = _value(spec, search.name)
    values = (in_force, *(value for value in search.values if value != in_force))
    fits = partial(_fits, spec, search.name)
    problem = Problem(rate, search.name, values, suite.tuning, fits)
    for value in problem.compared:  # `when` and --set may have changed what it must go with
        with errors.at(f"{suite.path}: methods.{spec.method}.search.{search.name}"):
            _with(spec, search.name, value)
    return Candidate(spec, problem, own_order, values[max(len(problem.compared), 1) :])


def _value(spec: RunSpec, name: str) -> Any:
    if name.startswith(RECIPE):
        return getattr(spec.recipe, name.removeprefix(RECIPE))
    return getattr(spec.settings, name)


def _fits(spec: RunSpec, name: str, value: Any) -> bool:
    """Whether the settings of a run, or its recipe, take a value."""
    try:
        _with(spec, name, value)
    except ValueError:
        return False
    return True


def _with(spec: RunSpec, name: str, value: Any) -> RunSpec:
    """The run with another value of a setting or of a key of the recipe."""
    if name.startswith(RECIPE):
        return replace(spec, recipe=replace(spec.recipe, **{name.removeprefix(RECIPE): value}))
    return replace(spec, settings=replace(spec.settings, **{name: value}))
