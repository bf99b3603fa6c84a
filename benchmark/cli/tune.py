"""`clbench tune`: chooses learning rates and settings on held-out training images."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.console import run_progress, say, say_table, warn
from benchmark.cli.options import (
    ExecutionOptions,
    SelectionOptions,
    command,
    data_source,
    option,
    results_option,
)
from benchmark.config.tuning import LR, RECIPE
from benchmark.words import duration, plural

if TYPE_CHECKING:
    from benchmark.config import Suite
    from benchmark.spec import RunSpec
    from benchmark.tuning.record import MethodRecord, TuningRecord
    from benchmark.tuning.trials import Tuning

_ABOUT = """\
Every method gets the same number of trials (`tuning` of the suite: `rates` + `values`). The first
go to its learning rate: the suite's, a `factor` above and below it, then on from the better side.
The others go, at the best rate, to the one setting that the method's `search` names; a method
without `search` spends them on its rate too.

    tuning: {validation: 0.2, rates: 4, values: 3, factor: 3.0, seeds: 1}
    methods:
      inflora:
        search: {lamb: [0.9, 0.95, 0.99]}     # or a key of the recipe: {training.weight_decay: ...}

What counts is the final accuracy on training images that are held out; no test image is looked
at. All values of one setting meet the same images, class order and draws, which no benchmark seed
shares. Trials are stored apart from results: an interrupted tuning resumes when the same
command is given again. Nothing is written into the suite: the lines to put there are printed.
"""
_SINGLE = ("dataset", "backbone", "tasks")


@dataclass(frozen=True, kw_only=True)
class TuneOptions(SelectionOptions, ExecutionOptions):
    """Options of `clbench tune`, whose runs are trials."""

    results: Path = results_option("results/tuning")
    record: Path | None = option(
        Path,
        "FILE",
        "what was tried and chosen, as YAML; default: SUITE.yaml in the results folder",
    )


@command(
    "tune",
    TuneOptions,
    "choose each method's learning rate and one setting on held-out training images",
    "clbench tune --suite icons --method inflora,l2p",
    details=_ABOUT,
    kept="Finished trials are kept: give the same command again to resume.",
)
def tune(options: TuneOptions) -> int:
    """Carry out the trials, print the choice and write the record; 1 when a trial failed."""
    from benchmark.storage import StorageError, discard, stage
    from benchmark.tuning.record import merged, write_record

    tuning = _read(options)
    path = options.record or options.results / f"{tuning.suite.path.stem}.yaml"
    if path.is_dir():
        raise StorageError(f"--record {path}: is a folder")
    discard(stage(path, b""))  # a record that cannot be written is told before the work
    earlier = _earlier(path, tuning)
    for name, reason in tuning.skipped.items():
        say(f"skipped: {name}: {reason}")
    left = tuning.runs_left()
    say(
        f"suite {tuning.suite.name}: {plural(tuning.runs, 'run')} to tune "
        f"{plural(len(tuning.candidates), 'method')}, {tuning.runs - left} done"
    )
    if left:
        with run_progress(left) as sink:
            tuning.carry_out(sink.event)
    record = tuning.record()
    say_choice(record)
    for line in ("", *suite_lines(record), "", budget_line(record)):
        say(line)
    whole = merged(earlier, record) if earlier else record
    write_record(path, whole)
    kept = [name for name in whole.methods if name not in record.methods]
    before = f", with {plural(len(kept), 'method')} tuned before" if kept else ""
    say(f"record: {path}{before}")
    if lost := [name for name in (earlier.methods if earlier else ()) if name not in whole.methods]:
        warn(f"no longer in it, tuned on other data or weights: {', '.join(lost)}")
    failed = [
        f"{name}, {trial.chooses} {shown(trial.value)}"
        for name, method in record.methods.items()
        for trial in method.trials
        if trial.status != "done"
    ]
    for label in failed:
        warn(f"failed: {label}")
    return 1 if failed else 0


def _earlier(path: Path, tuning: Tuning) -> TuningRecord | None:
    """The existing record, to be completed; raises TuningError where it is of another tuning.

    A different budget is fine where all its methods are tuned again: their trials resume.
    """
    from benchmark.tuning.candidates import TuningError
    from benchmark.tuning.record import read_record

    if not path.exists():
        return None
    earlier = read_record(path)
    again = {candidate.name for candidate in tuning.candidates} >= set(earlier.methods)
    differing = [
        f"{name} {there} there, {here} here"
        for name, here in tuning.conditions.items()
        if (there := getattr(earlier, name)) != here and not (name == "budget" and again)
    ]
    if differing:
        raise TuningError(
            f"{path} is the record of another tuning ({'; '.join(differing)}): give another file "
            "with --record, or remove it"
        )
    return earlier


def _read(options: TuneOptions) -> Tuning:
    """The tuning that the options ask for, its data in place."""
    from benchmark.cli.data import complete
    from benchmark.cli.run import execution, read_request
    from benchmark.tuning.candidates import TuningError
    from benchmark.tuning.trials import Tuning

    for name in _SINGLE:
        if len(set(getattr(options, name))) > 1:
            raise TuningError(
                f"--{name}: tuning takes one value, not {', '.join(getattr(options, name))}"
            )
    if options.jobs != 1:
        from benchmark.engine.pool import warm_up

        warm_up()
    ((suite, specs),) = read_request(options, (0,))
    specs = _first_setting(suite, specs)
    complete([(specs[0].dataset, data_source(options, specs[0].split))])
    sets = [text.replace(" ", "") for text in options.sets]
    keep = {text.partition("=")[0] for text in sets if text != "order=shuffled"}
    changed = [*options.sets, *([f"precision={options.precision}"] if options.precision else [])]
    return Tuning(
        suite,
        specs,
        execution(options, suite, options.plugin),
        keep & {"order", "validation"},
        changed,
    )


def _first_setting(suite: Suite, specs: Sequence[RunSpec]) -> list[RunSpec]:
    """The runs on the first data set, backbone and task split; says so where there are more."""
    first = specs[0]
    chosen = [one for one in specs if _setting(one) == _setting(first)]
    if len(chosen) < len(specs):
        say(
            f"suite {suite.name} has several data sets, backbones or task splits; tuning the "
            f"first: {first.dataset} in {plural(len(first.tasks), 'task')} on {first.backbone}"
        )
    return list({one.method: one for one in chosen}.values())


def _setting(spec: RunSpec) -> tuple[str, str, tuple[int, ...]]:
    return spec.dataset, spec.backbone, spec.tasks


def say_choice(record: TuningRecord) -> None:
    """Print the rate and setting of each method, before and after, and the accuracies they gave."""
    rows, ends = [], 0
    for name, method in record.methods.items():
        (other,) = [key for key in method.before if key != LR] or [""]
        end = bool(other) and at_end(method, other)
        ends += end
        rows.append(
            (
                name,
                _change(method, LR) + " (edge)" * method.edge,
                _scores(method, LR),
                f"{other} {_change(method, other)}" + " (end)" * end if other else "-",
                _scores(method, other),
                f"{method.tried} of {record.budget.trials}",
                duration(method.seconds),
            )
        )
    say()
    say_table(rows, ("method", "lr", "accuracy", "setting", "accuracy", "trials", "time"))
    say()
    if any(method.edge for method in record.methods.values()):
        say("edge: the best rate is the smallest or largest tried; a better one may lie beyond")
    if ends:
        say("end: the best value of the setting is the smallest or largest tried")
    for name, method in record.methods.items():
        if method.note:
            say(f"{name}: {method.note}")


def at_end(method: MethodRecord, key: str) -> bool:
    """Whether a number was chosen that is the smallest or the largest of those tried."""
    chosen = as_number(method.chosen[key])
    found = [as_number(trial.value) for trial in method.trials if trial.chooses == key]
    tried = {value for value in (*found, as_number(method.before[key])) if value is not None}
    return chosen is not None and len(tried) > 1 and chosen in (min(tried), max(tried))


def as_number(value: Any) -> float | None:
    """A value with an order: a number, or a mapping of one name to a number."""
    if isinstance(value, Mapping) and len(value) == 1:
        (value,) = value.values()
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else value


def _change(method: MethodRecord, key: str) -> str:
    if key not in method.before:
        return "-"
    before, chosen = method.before[key], method.chosen[key]
    return f"{shown(before)} -> {shown(chosen)}" if before != chosen else shown(before)


def _scores(method: MethodRecord, key: str) -> str:
    """Validation accuracy with the value before and the one chosen, on the same seeds."""
    if key not in method.before:
        return "-"
    finals = [method.score(key, values[key]) for values in (method.before, method.chosen)]
    words = ["failed" if final is None else f"{final:.2f}" for final in finals]
    return " -> ".join(words if method.before[key] != method.chosen[key] else words[:1])


def suite_lines(record: TuningRecord) -> Iterator[str]:
    """The chosen values as the suite writes them."""
    if not any(method.chosen for method in record.methods.values()):
        yield f"nothing to write into {record.suite}.yaml: no method had anything to choose"
        return
    yield f"for {record.suite}.yaml:"
    yield "methods:"
    for name, method in record.methods.items():
        if not method.chosen:
            continue
        yield f"  {name}:"
        chosen = method.chosen.items()
        training = {k.removeprefix(RECIPE): v for k, v in chosen if k.startswith(RECIPE)}
        settings = {key: value for key, value in chosen if not key.startswith(RECIPE)}
        for block, values in (("training", training), ("settings", settings)):
            if values:
                yield f"    {block}: {shown(values)}"


def budget_line(record: TuningRecord) -> str:
    """The budget and the time spent, in one sentence."""
    budget = record.budget
    seeds = plural(budget.seeds, "run")
    spent = sum(method.seconds for method in record.methods.values())
    return (
        f"budget: {budget.trials} trials a method ({budget.rates} learning rates and "
        f"{budget.values} values of its setting), {seeds} each, compared by the final accuracy on "
        f"{100 * record.validation:g} % of the training images of {record.dataset} in "
        f"{len(record.tasks)} tasks on {record.backbone}; {duration(spent)} of computing"
    )


def shown(value: Any) -> str:
    """A value as YAML in one line, learning rates without an exponent."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        text = format(Decimal(repr(value)), "f")
        return text if "." in text else f"{text}.0"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(shown, value)) + "]"
    return str(value)
