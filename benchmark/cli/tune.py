"""`clbench tune`: chooses learning rates and settings on held-out training images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.console import run_progress, say, warn
from benchmark.cli.options import (
    add_command,
    add_data_root,
    add_selection,
    data_source,
    positive,
)

if TYPE_CHECKING:
    from benchmark.cli.options import Commands
    from benchmark.config import Suite
    from benchmark.spec import RunSpec
    from benchmark.tuning.record import TuningRecord
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
shares. Trials are stored apart from results: a tuning that was cut goes on where it was when the
same command is given again. Nothing is written into the suite: the lines to put there are printed.
"""
_KEPT = "Finished trials are kept: give the same command again to go on."
_SINGLE = ("dataset", "backbone", "tasks")


def add_commands(commands: Commands) -> None:
    """Add `tune`."""
    parser = add_command(
        commands,
        "tune",
        "choose each method's learning rate and one setting on held-out training images",
        "clbench tune --suite icons --method inflora,l2p",
        tune,
    )
    parser.description = f"{parser.description}\n\n{_ABOUT}"
    parser.set_defaults(kept=_KEPT, seeds=(0,))
    add_selection(parser, seeds=False)
    parser.add_argument(
        "--results",
        type=Path,
        default=Path("results/tuning"),
        metavar="DIR",
        help="where trials are kept; default: ./results/tuning",
    )
    parser.add_argument(
        "--record",
        type=Path,
        metavar="FILE",
        help="what was tried and chosen, as YAML; default: SUITE.yaml among the results",
    )
    add_data_root(parser)
    parser.add_argument("--device", default="auto", metavar="cpu|cuda|auto")
    parser.add_argument("--jobs", type=positive, metavar="N", help="trials at the same time")
    parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads of each trial")


def tune(args: argparse.Namespace) -> int:
    """Carry out the trials, print the choice and write the record; 1 when a trial failed."""
    from benchmark.cli.tune_views import budget_line, shown, suite_lines, table
    from benchmark.storage import StorageError, discard, stage
    from benchmark.tuning.record import merged, write_record

    tuning = _read(args)
    path = args.record or args.results / f"{tuning.suite.path.stem}.yaml"
    if path.is_dir():
        raise StorageError(f"--record {path}: is a folder")
    discard(stage(path, b""))  # a record that cannot be written is told before the work
    earlier = _earlier(path, tuning)
    for name, reason in tuning.skipped.items():
        say(f"left out: {name}: {reason}")
    left = tuning.runs_left()
    count = len(tuning.candidates)
    say(
        f"suite {tuning.suite.name}: {tuning.runs} runs to tune {count} "
        f"method{'s' if count > 1 else ''}, {tuning.runs - left} done"
    )
    if left:
        with run_progress(left) as sink:
            tuning.carry_out(sink.event)
    record = tuning.record()
    for line in (*table(record), "", *suite_lines(record), "", budget_line(record)):
        say(line)
    whole = merged(earlier, record) if earlier else record
    write_record(path, whole)
    kept = [name for name in whole.methods if name not in record.methods]
    say(f"record: {path}{f', with {len(kept)} methods tuned before' if kept else ''}")
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
    """The record that is already there, to be completed; an error where it is of something else.

    Another budget is none where all its methods are tuned again: their trials go on.
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


def _read(args: argparse.Namespace) -> Tuning:
    """The tuning that the options ask for, its data in place."""
    from benchmark.cli.data import complete
    from benchmark.cli.run import execution, read_request
    from benchmark.tuning.candidates import TuningError
    from benchmark.tuning.trials import Tuning

    for name in _SINGLE:
        if len(set(getattr(args, name))) > 1:
            raise TuningError(
                f"--{name}: one at a time is tuned, not {', '.join(getattr(args, name))}"
            )
    if args.jobs != 1:
        from benchmark.engine.pool import warm_up

        warm_up()
    ((suite, specs),) = read_request(args)
    specs = _first_place(suite, specs)
    complete([(specs[0].dataset, data_source(args, specs[0].split))])
    sets = [text.replace(" ", "") for text in args.sets]
    keep = {text.partition("=")[0] for text in sets if text != "order=shuffled"}
    changed = [*args.sets, *([f"precision={args.precision}"] if args.precision else [])]
    return Tuning(suite, specs, execution(args, suite), keep & {"order", "validation"}, changed)


def _first_place(suite: Suite, specs: Sequence[RunSpec]) -> list[RunSpec]:
    """The runs on the first data set, backbone and split into tasks; says so if there are more."""
    first = specs[0]
    chosen = [one for one in specs if _place(one) == _place(first)]
    if len(chosen) < len(specs):
        say(
            f"suite {suite.name} has several places to run in; tuned is the first: "
            f"{first.dataset} in {len(first.tasks)} tasks on {first.backbone}"
        )
    return list({one.method: one for one in chosen}.values())


def _place(spec: RunSpec) -> tuple[str, str, tuple[int, ...]]:
    return spec.dataset, spec.backbone, spec.tasks
