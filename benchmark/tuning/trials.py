"""Carrying out a tuning: trials are runs of the engine on held-out training images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from benchmark.config import Suite
from benchmark.config.record import CRITERION, MethodRecord, TrialRecord, TuningRecord
from benchmark.config.tuning import LR, End
from benchmark.data import dataset_info
from benchmark.data.base import DataSource
from benchmark.engine.plan import PlannedRun, plan_runs
from benchmark.engine.pool import ExecutionSettings, execute
from benchmark.events import Event, RunStarted
from benchmark.metrics import final_accuracy
from benchmark.results.store import Environment, Result, ResultStore
from benchmark.spec import RunSpec
from benchmark.tuning.candidates import Candidate, TuningError, candidates
from benchmark.tuning.search import Scored, Trial, choose, next_trials, widened
from benchmark.words import plural


@dataclass(frozen=True)
class _Run:
    """One run of a trial with its state in the store, and its result once it has ended."""

    trial: Trial
    planned: PlannedRun
    result: Result | None = None

    @property
    def final(self) -> float | None:
        """Final accuracy in percent; None where there is none."""
        if self.result is None or self.result["outcome"]["status"] != "done":
            return None
        return final_accuracy(self.result["outcome"]["accuracy"])

    @property
    def environment(self) -> Environment | dict[str, Any]:
        """Where and with what it was made; of a failed one, as far as it is known."""
        return {} if self.result is None else self.result["environment"]


@dataclass(frozen=True)
class _State:
    """How far a method is: finished trials, their runs, and the runs the next decision needs."""

    scored: list[Scored]
    runs: list[_Run]
    pending: list[_Run]

    @property
    def open(self) -> list[_Run]:
        """Runs that are still to be carried out."""
        return [run for run in self.pending if run.final is None]


class Tuning:
    """The tuning of some methods of a suite on one data set, backbone and split into tasks.

    specs: one run a method, as the suite has it. keep: what the user has set of `order` and
    `validation`; otherwise trials learn the classes in an order of their seed and hold out the
    share that the suite's `tuning` says. changed: for the record, what the user set otherwise than
    the suite. Raises `SuiteError` where a value to compare does not fit
    the other settings, or no image would be held out, and `TuningError` where no method is left.
    """

    def __init__(
        self,
        suite: Suite,
        specs: Iterable[RunSpec],
        execution: ExecutionSettings,
        keep: Collection[str] = (),
        changed: Iterable[str] = (),
    ) -> None:
        self.suite, self.execution, self.changed = suite, execution, tuple(changed)
        self.budget = suite.tuning
        self.store = ResultStore(execution.results)
        self.candidates, self.skipped = candidates(suite, specs, keep)
        self._attempted: set[str] = set()  # runs of this process: a failed one is not run again
        self._planned: dict[tuple[Any, ...], list[PlannedRun]] = {}

    @property
    def most_added(self) -> int:
        """Runs that may be added to `progress`, where choices lie at an end of what was tried."""
        choices = sum(
            (c.problem.rate is not None) + bool(c.problem.compared) for c in self.candidates
        )
        return choices * self.budget.widen * self.budget.seeds

    @property
    def conditions(self) -> dict[str, Any]:
        """What all methods share: fields of the record, known before a trial is run."""
        first = self.candidates[0].base
        return {
            "suite": self.suite.name,
            "dataset": first.dataset,
            "backbone": first.backbone,
            "tasks": first.tasks,
            "validation": first.validation,
            "changed": self.changed,
            "budget": self.budget.model_copy(update={"validation": first.validation}),
        }

    def progress(self) -> tuple[int, int]:
        """Runs that are done, and all runs as far as they are known by now."""
        done = total = 0
        for candidate in self.candidates:
            state = self._state(candidate)
            known = len(state.runs) + len(state.pending)
            done += known - len(state.open)
            total += max(known, candidate.problem.trials * self.budget.seeds)
        return done, total

    def carry_out(self, emit: Callable[[Event], None]) -> None:
        """Run round after round: in each the next trials of all methods, together.

        Raises `TuningError` when another process is at work on some of them.
        """
        while todo := [run for c in self.candidates for run in self._state(c).open]:
            execute([run.planned for run in todo], self.execution, _with_labels(todo, emit))
            self._attempted |= {run.planned.key for run in todo}
            states = [self.store.status(run.planned.key) for run in todo]
            elsewhere = sum(status not in ("done", "failed") for status in states)
            if elsewhere:
                raise TuningError(
                    f"{elsewhere} trials are being run by another process: "
                    "give the command again when it has finished"
                )

    def record(self) -> TuningRecord:
        """The record of a tuning that was carried out.

        Its date and revision are those of the trials: asking again changes nothing.
        """
        states = {candidate.name: self._state(candidate) for candidate in self.candidates}
        runs = [run for state in states.values() for run in state.runs]
        made = sorted((run.environment for run in runs), key=lambda e: str(e.get("started")))
        last: Mapping[str, Any] = made[-1] if made else {}
        first = self.candidates[0].base
        source = DataSource(self.execution.data_root, first.split)
        return TuningRecord(
            **self.conditions,
            data_hash=dataset_info(first.dataset).manifest_hash(source),
            weight_hash=last.get("weight_hash", ""),
            revision=last.get("revision"),
            dirty=any(environment.get("dirty") for environment in made),
            version=last.get("version", ""),
            date=last.get("started", ""),
            criterion=CRITERION,
            seeds=_seeds(runs),
            methods={c.name: _method_record(c, states[c.name]) for c in self.candidates},
        )

    def _state(self, candidate: Candidate) -> _State:
        """Replays the decisions from what is stored, up to the first one that lacks a result."""
        scored: list[Scored] = []
        finished: list[_Run] = []
        while trials := next_trials(candidate.problem, scored):
            by_trial = [self._runs(candidate, trial) for trial in trials]
            runs = [run for group in by_trial for run in group]
            if any(run.final is None and not self._failed(run) for run in runs):
                return _State(scored, finished, runs)
            finished += runs
            scored += [
                Scored(trial, _mean([run.final for run in group]))
                for trial, group in zip(trials, by_trial, strict=True)
            ]
        return _State(scored, finished, [])

    def _runs(self, candidate: Candidate, trial: Trial) -> list[_Run]:
        """The runs of a trial with what the store knows of them."""
        name = (candidate.name, trial.chooses, repr(trial.value), trial.rate)
        if name not in self._planned:
            specs = candidate.specs(trial)
            self._planned[name] = plan_runs(specs, self.store, self.execution.data_root)
        runs = []
        for planned in self._planned[name]:
            status = self.store.status(planned.key)
            result = self.store.read(planned.key) if status in ("done", "failed") else None
            runs.append(_Run(trial, replace(planned, status=status), result))
        return runs

    def _failed(self, run: _Run) -> bool:
        """Whether a run failed in this process; one that failed before is tried once more."""
        return run.planned.status == "failed" and run.planned.key in self._attempted


def _mean(finals: list[float | None]) -> float | None:
    known = [final for final in finals if final is not None]
    return sum(known) / len(known) if len(known) == len(finals) else None


def _with_labels(runs: Iterable[_Run], emit: Callable[[Event], None]) -> Callable[[Event], None]:
    """Progress that says what a run tries."""
    labels = {
        run.planned.key: f"{run.planned.spec.method}, {run.trial.chooses} {run.trial.value}"
        for run in runs
    }

    def emit_labelled(event: Event) -> None:
        if isinstance(event, RunStarted):
            event = replace(event, label=labels.get(event.key, event.label))
        emit(event)

    return emit_labelled


# -- the record ----------------------------------------------------------------------------------


def _seeds(runs: Iterable[_Run]) -> dict[str, tuple[int, ...]]:
    """The seeds that were used, by what they choose."""
    found: dict[str, dict[int, None]] = {}
    for run in runs:
        found.setdefault(run.trial.chooses, {})[run.planned.spec.seed] = None
    return {name: tuple(seeds) for name, seeds in found.items()}


def _method_record(candidate: Candidate, state: _State) -> MethodRecord:
    problem = candidate.problem
    choice = choose(problem, state.scored)
    before: dict[str, Any] = {}
    chosen: dict[str, Any] = {}
    ends: dict[str, End] = {}
    if choice.rate_end is not None:
        before[LR], chosen[LR], ends[LR] = problem.rate, choice.rate, choice.rate_end
    if choice.value_end is not None:
        name = problem.setting
        before[name], chosen[name], ends[name] = problem.values[0], choice.value, choice.value_end
    return MethodRecord(
        before=before,
        chosen=chosen,
        ends=ends,
        widened=widened(problem, state.scored),
        note=_note(candidate, state),
        trials=tuple(map(_trial_record, state.runs)),
    )


def _trial_record(run: _Run) -> TrialRecord:
    return TrialRecord(
        chooses=run.trial.chooses,
        value=run.trial.value,
        seed=run.planned.spec.seed,
        status=run.planned.status,
        final=None if run.final is None else round(run.final, 4),
        seconds=run.environment.get("seconds", 0.0),
        key=run.planned.key,
    )


def _note(candidate: Candidate, state: _State) -> str:
    problem = candidate.problem
    planned = len(state.scored) - widened(problem, state.scored)
    notes = []
    if planned < problem.budget.trials:
        notes.append(f"{planned} of {problem.budget.trials} trials: nothing else to choose")
    tried = [one.trial.value for one in state.scored if one.trial.chooses != LR]
    left_out = [value for value in candidate.left_out if value not in tried]
    if left_out:
        shown = ", ".join(map(str, left_out))
        notes.append(f"no trials left for {problem.setting} {shown}")
    failed = sum(one.score is None for one in state.scored)
    if failed:
        notes.append(f"{plural(failed, 'trial')} failed")
    return "; ".join(notes)
