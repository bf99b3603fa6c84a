"""`clbench run`: run what is missing, then print the table."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from benchmark.cli import console
from benchmark.cli.console import warn
from benchmark.cli.options import (
    ExecutionOptions,
    RunSelectionOptions,
    SelectionOptions,
    command,
    data_source,
    flag,
    load_plugins,
    option,
    positive,
)
from benchmark.cli.report import show_report
from benchmark.engine.device import check_device
from benchmark.results.schema import Keep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.config import Suite
    from benchmark.engine.launchers import Work
    from benchmark.engine.plan import PlannedRun
    from benchmark.engine.pool import ExecutionSettings
    from benchmark.spec import RunSpec


@dataclass(frozen=True, kw_only=True)
class CarryOutOptions(ExecutionOptions):
    """How runs are carried out, and what is kept of them."""

    workers: int | None = option(positive, "N", "threads of each run that decode image files")
    hook_limit: int | None = option(
        positive,
        "SECONDS",
        "end a run as failed when one call of its method takes longer (default: no limit)",
    )
    launcher: str = option(
        str,
        "local|slurm|print",
        "where to run: on this machine (default), as a Slurm array, or not at all: print a "
        "command for each run; a plug-in may bring others",
        default="local",
    )
    predictions: Keep = option(
        help="predictions to store: those after every task (default), or only the best classes "
        "after the last one, which take about a twentieth of the space",
        choices=get_args(Keep),
        default="all",
    )
    no_report: bool = flag("train only; leave the table to clbench report")


@dataclass(frozen=True, kw_only=True)
class RunOptions(RunSelectionOptions, CarryOutOptions):
    """Options of `clbench run`."""


@command(
    "run",
    RunOptions,
    "run what is missing, skip what is done, resume what was interrupted; then print the table",
    "clbench run --method inflora,seq_lora --tasks 5,10 --seeds 0,1,2",
    kept="Finished runs are kept, the others resume where they were: give the same command again.",
)
def run(options: RunOptions) -> int:
    """Carry out what is missing; 1 when a run failed."""
    begin(options)
    asked = read_request(options, options.seeds, options.tuned)
    return carry_out(asked, options, options.plugin, options.tuned)


def begin(options: CarryOutOptions) -> None:
    """Check the device, and start what takes long, before anything else is read."""
    if options.launcher == "local":  # others may run on another machine
        check_device(options.device)
        from benchmark.engine.pool import warm_up

        warm_up()


def carry_out(
    asked: Sequence[tuple[Suite, list[RunSpec]]],
    options: CarryOutOptions,
    plugins: list[Path],
    tuned: str = "",
) -> int:
    """Carry out what is missing of the runs of suites, then print their tables.

    Returns:
        1 when a run failed, else 0.
    """
    from benchmark.cli.data import complete
    from benchmark.engine.launchers import LAUNCHERS

    launch = LAUNCHERS.get(options.launcher)
    # One error names everything that could not be had.
    needed = sorted({(spec.dataset, spec.split) for _, specs in asked for spec in specs})
    complete([(name, data_source(options, split)) for name, split in needed])
    work = [_work(suite, specs, options, plugins, tuned) for suite, specs in asked]
    failed = launch(work, options.results, console)
    if failed is None:
        return 0
    if not options.no_report:
        runs = [run for suite in work for run in suite.runs if run.skip is None]
        expected = {run.key: run.spec for run in runs}
        from benchmark.report.build import build_report

        show_report(build_report(options.results, options.results / "report", expected=expected))
    for label in failed:
        warn(f"failed: {label}")
    return 1 if failed else 0


def read_request(
    options: SelectionOptions, seeds: tuple[int, ...], tuned: str = ""
) -> list[tuple[Suite, list[RunSpec]]]:
    """The suites in question and the runs asked of each, all checked.

    tuned: the record whose choices take the place of the suites' values; warns of methods that it
    does not have.
    """
    from benchmark.config import Overrides, outsiders, requested

    load_plugins(options.plugin)
    sets = tuple(options.sets)
    if options.precision is not None:
        sets += (f"precision={options.precision}",)
    overrides = Overrides(
        dataset=options.dataset,
        backbone=options.backbone,
        method=options.method,
        tasks=options.tasks,
        seeds=seeds,
        sets=sets,
        tuned=tuned,
    )
    asked = requested(options.suite, overrides)
    for suite, specs in asked:
        if strangers := outsiders(suite, specs):
            listed = ", ".join(strangers)
            warn(f"not in suite {suite.name}, so with their own default settings: {listed}")
    for suite, specs in asked if tuned else ():
        choices = suite.choices(tuned)
        if choices and (names := choices.untuned(spec.method for spec in specs)):
            warn(
                f"not in the tuning record {choices.name}, as suite {suite.name} has them: "
                + ", ".join(names)
            )
    return asked


def execution(options: ExecutionOptions, suite: Suite, plugins: list[Path]) -> ExecutionSettings:
    """Settings of the pool from the options that run and tune share."""
    from benchmark.engine.execution import CHECKPOINT_EVERY, ExecutionSettings

    return ExecutionSettings(
        results=options.results,
        jobs=options.jobs or 0,
        device=options.device,
        threads=options.threads or 0,
        suite=suite.name,
        data_root=data_source(options).root,
        plugins=tuple(plugins),
        checkpoint_every=options.checkpoint_every or CHECKPOINT_EVERY,
    )


def _work(
    suite: Suite,
    specs: list[RunSpec],
    options: CarryOutOptions,
    plugins: list[Path],
    tuned: str,
) -> Work:
    from benchmark.engine.launchers import Work
    from benchmark.engine.plan import notes_in_words, plan_runs
    from benchmark.results.store import ResultStore

    store, choices = ResultStore(options.results), suite.choices(tuned)
    notes: list[str] = []
    with console.step_progress(sys.stderr) as on_progress:
        runs = plan_runs(
            specs,
            store,
            options.data_root,
            choices=choices,
            on_progress=on_progress,
            notes=notes,
        )
    for note in [*notes, *notes_in_words(runs)]:
        warn(note)
    settings = replace(
        execution(options, suite, plugins),
        workers=options.workers or 0,
        keep=options.predictions,
        hook_limit=options.hook_limit or 0,
    )
    record = _record(tuned)
    commands = [_command(run, suite, options, plugins, record) for run in runs if run.open]
    return Work(suite.name, runs, settings, commands)


def _record(tuned: str) -> str:
    """The tuning record as it is named in any folder."""
    from benchmark.config.tuned import find_record

    return str(find_record(tuned).resolve()) if tuned else ""


def _command(
    run: PlannedRun, suite: Suite, options: CarryOutOptions, plugins: list[Path], record: str
) -> str:
    """The command for one run, which works from any folder."""
    from benchmark.config.command import in_shell, run_arguments

    script = Path(sys.executable).with_name("clbench")
    program = [str(script)] if script.is_file() else [sys.executable, "-m", "benchmark"]
    shared: list[tuple[str, object]] = [
        ("--results", options.results.resolve()),
        ("--device", options.device),
        ("--jobs", 1),
        ("--data-root", options.data_root and options.data_root.resolve()),
        ("--workers", options.workers),
        ("--hook-limit", options.hook_limit),
        ("--predictions", None if options.predictions == "all" else options.predictions),
        ("--threads", options.threads),
        ("--checkpoint-every", options.checkpoint_every),
        *(("--plugin", plugin.resolve()) for plugin in plugins),
    ]
    given = [text for name, value in shared if value is not None for text in (name, str(value))]
    return in_shell(
        [*program, "run", *run_arguments(run.spec, suite, record), "--no-report", *given]
    )
