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
from benchmark.engine.device import check_device
from benchmark.report.formatting import file_name
from benchmark.words import duration, plural

if TYPE_CHECKING:
    from benchmark.config import Suite
    from benchmark.config.record import MethodRecord, TuningRecord
    from benchmark.spec import RunSpec
    from benchmark.tuning.trials import Tuning

_ABOUT = """\
Every method gets the same number of trials (`tuning` of the suite: `rates` + `values`). The first
go to its learning rate: the suite's, a `factor` above and below it, then on from the better side.
The others go, at the best rate, to the one setting that the method's `search` names; a method
without `search` spends them on its rate too. `tasks: 5` lets trials learn the first five tasks
alone.

Where the best rate or value is the smallest or largest tried, trials beyond it are added, `widen`
at most for each, until the best has a neighbour on both sides or its range ends: rates go on by
`factor`, numbers by the ratio of the last two (0.9, 0.95, 0.975: of what they lack of 1). Words,
lists and truth values have no order and stay as the suite lists them. The record says for each
choice whether it still lies at an end, and how many trials were added.

    tuning: {validation: 0.2, rates: 4, values: 3, factor: 3.0, widen: 4, seeds: 1}
    methods:
      inflora:
        search: {lamb: [0.9, 0.95, 0.99]}     # or a key of the recipe: {training.weight_decay: ...}

What counts is the final accuracy on training images that are held out; no test image is looked
at. All values of one setting meet the same images, class order and draws, which no benchmark seed
shares. Trials are stored apart from results: an interrupted tuning resumes when the same
command is given again. Nothing is written into the suite: the lines to put there are printed.
`clbench run --tuned RECORD` runs any suite, on any data set, with what a record chose.
"""
_AT_ENDS = {
    "range": "range: the best value tried is also an end of its range",
    "cap": (
        "cap: the best value tried is the smallest or largest, and no trial was left to go beyond "
        "it; a better one may lie there"
    ),
    "unordered": "unordered: words, lists and truth values cannot be widened",
    "failed": "failed: no trial was finished, so nothing was changed",
}
_SINGLE = ("dataset", "backbone", "tasks")


@dataclass(frozen=True, kw_only=True)
class TuneOptions(SelectionOptions, ExecutionOptions):
    """Options of `clbench tune`, whose runs are trials."""

    results: Path = results_option("results/tuning")
    record: Path | None = option(
        Path,
        "FILE",
        "what was tried and chosen, as YAML; default: SUITE.yaml in the results folder, or "
        "SUITE-DATASET.yaml where the data set is not the suite's first",
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
    check_device(options.device)
    from benchmark.config.record import merged, write_record
    from benchmark.storage import StorageError, discard, stage

    tuning = _read(options)
    path = options.record or options.results / _record_name(tuning)
    if path.is_dir():
        raise StorageError(f"--record {path}: is a folder")
    discard(stage(path, b""))  # a record that cannot be written is told before the work
    earlier = _earlier(path, tuning)
    for name, reason in tuning.skipped.items():
        say(f"skipped: {name}: {reason}")
    done, runs = tuning.progress()
    more = f"; up to {tuning.most_added} more where choices lie at an end" if done < runs else ""
    say(
        f"suite {tuning.suite.name}: {plural(runs, 'run')} to tune "
        f"{plural(len(tuning.candidates), 'method')}, {done} done{more}"
    )
    if done < runs:
        with run_progress(runs - done) as sink:
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


def _record_name(tuning: Tuning) -> str:
    """The file of the record; data sets other than the suite's own have files of their own."""
    dataset, stem = tuning.conditions["dataset"], tuning.suite.path.stem
    own = dataset == tuning.suite.dataset[0]
    return file_name(stem if own else f"{stem}-{dataset}") + ".yaml"


def _earlier(path: Path, tuning: Tuning) -> TuningRecord | None:
    """The existing record, to be completed; raises TuningError where it is of another tuning.

    A different budget is fine where all its methods are tuned again: their trials resume.
    """
    from benchmark.config.record import read_record
    from benchmark.tuning.candidates import TuningError

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
    rows = []
    for name, method in record.methods.items():
        (other,) = [key for key in method.before if key != LR] or [""]
        rows.append(
            (
                name,
                _change(method, LR),
                _scores(method, LR),
                f"{other} {_change(method, other)}" if other else "-",
                _scores(method, other),
                f"{method.planned} of {record.budget.trials}"
                + f" + {method.widened}" * bool(method.widened),
                duration(method.seconds),
            )
        )
    say()
    say_table(rows, ("method", "lr", "accuracy", "setting", "accuracy", "trials", "time"))
    say()
    ends = {end for method in record.methods.values() for end in method.ends.values()}
    for end, meaning in _AT_ENDS.items():
        if end in ends:
            say(meaning)
    for name, method in record.methods.items():
        if method.note:
            say(f"{name}: {method.note}")


def _change(method: MethodRecord, key: str) -> str:
    if key not in method.before:
        return "-"
    before, chosen, end = method.before[key], method.chosen[key], method.ends[key]
    text = f"{shown(before)} -> {shown(chosen)}" if before != chosen else shown(before)
    return text if end == "inside" else f"{text} ({end})"


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
        open_ends = [key for key, end in method.ends.items() if end == "cap"]
        remark = f"  # at the end of the search: {', '.join(open_ends)}" if open_ends else ""
        yield f"  {name}:{remark}"
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
    added = sum(method.widened for method in record.methods.values())
    return (
        f"budget: {budget.trials} trials a method ({budget.rates} learning rates and "
        f"{budget.values} values of its setting), {added} added beyond ends ({budget.widen} a "
        f"choice at most), {seeds} each, compared by the final accuracy on "
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
