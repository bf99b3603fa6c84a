"""`clbench run` and `clbench plan`: what is asked for, what is done, and doing the rest."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from benchmark.cli.console import say, warn
from benchmark.cli.options import (
    add_command,
    add_data_root,
    add_results,
    add_selection,
    data_source,
    positive,
)
from benchmark.cli.report import show_report
from benchmark.results.schema import Keep

if TYPE_CHECKING:
    from benchmark.cli.options import Commands
    from benchmark.config import Suite
    from benchmark.engine.plan import PlannedRun
    from benchmark.engine.pool import ExecutionSettings
    from benchmark.spec import RunSpec

    Asked = list[tuple[Suite, list[RunSpec]]]

_KEPT = (
    "Finished runs are kept, the others go on after their last finished task: "
    "give the same command again."
)


def add_commands(commands: Commands) -> None:
    """Add `run` and `plan`."""
    runner = add_command(
        commands,
        "run",
        "run what is missing, skip what is done, resume what was cut; then print the table",
        "clbench run --method inflora,seq_lora --tasks 5,10 --seeds 0,1,2",
        run,
    )
    runner.set_defaults(kept=_KEPT)
    planner = add_command(
        commands,
        "plan",
        "what would run, what is done, and what the rest will cost",
        "clbench plan --suite icons_full",
        plan,
    )
    for parser in (runner, planner):
        add_selection(parser)
        add_results(parser)
        add_data_root(parser)
        parser.add_argument("--device", default="auto", metavar="cpu|cuda|auto")
        parser.add_argument("--jobs", type=positive, metavar="N", help="runs at the same time")
        parser.add_argument("--threads", type=positive, metavar="N", help="CPU threads of each run")
    planner.add_argument(
        "--settings", action="store_true", help="also every value that the runs will use"
    )
    runner.add_argument(
        "--workers", type=positive, metavar="N", help="threads that decode image files of each run"
    )
    runner.add_argument(
        "--launcher",
        choices=("local", "slurm", "print"),
        default="local",
        help="where to run: here, as a Slurm array, or only print one command per run",
    )
    runner.add_argument(
        "--predictions",
        choices=get_args(Keep),
        default="all",
        help="what to store of the predictions: all stages, or the last one's best classes, which "
        "is some 20 times less",
    )
    runner.add_argument(
        "--no-report", action="store_true", help="train only; leave the table to clbench report"
    )


def run(args: argparse.Namespace) -> int:
    """Carry out what is missing; 1 when a run failed."""
    if args.launcher == "local" and args.jobs != 1:
        from benchmark.engine.pool import warm_up

        warm_up()
    asked = read_request(args)
    from benchmark.cli.console import run_progress
    from benchmark.engine.pool import execute

    failed: list[str] = []
    _complete_data(asked, args)
    plans = [(suite, _planned(specs, args)) for suite, specs in asked]
    if args.launcher != "local":
        return _launch(plans, args)
    for suite, planned in plans:
        todo = [one for one in planned if one.open]
        say(_headline(suite, planned))
        for one in planned:
            if one.skip is not None:
                say(f"left out: {one.label}: {one.skip}")
        if todo:
            settings = replace(
                execution(args, suite), workers=args.workers or 0, keep=args.predictions
            )
            with run_progress(len(todo)) as sink:
                failed += execute(todo, settings, sink.event).failed
    if not args.no_report:
        everything = [one for _, planned in plans for one in planned if one.skip is None]
        show_report(args.results, args.results / "report", {p.key: p.spec for p in everything})
    for label in failed:
        warn(f"failed: {label}")
    return 1 if failed else 0


def plan(args: argparse.Namespace) -> int:
    """Print every run asked for with its state, and what the open ones will take."""
    asked = read_request(args)
    from benchmark.cli.forecast import forecaster, to_fetch
    from benchmark.cli.resolved import resolved_lines
    from benchmark.engine.estimate import estimate
    from benchmark.engine.plan import plan_ahead
    from benchmark.engine.pool import default_jobs
    from benchmark.results.store import ResultStore

    for suite, specs in asked:
        plan = plan_ahead(specs, ResultStore(args.results), args.data_root)
        planned = plan.runs
        say(_headline(suite, planned))
        width = max(len(one.label) for one in planned)
        for one in planned:
            state = one.status if one.skip is None else f"left out: {one.skip}"
            say(f"  {one.label:<{width}}  {state}")
        for line in resolved_lines(specs) if args.settings else ():
            say(line)
        forecast = forecaster(args)
        cost = estimate(planned, ResultStore(args.results), forecast)
        say(cost.in_words(args.jobs or default_jobs(args.device)))
        for line in (forecast.assumptions(), *to_fetch(planned, args.data_root), *plan.lacking):
            if line:
                say(line)
    return 0


def read_request(args: argparse.Namespace) -> Asked:
    """The suites in question and the runs asked of each, all checked."""
    from benchmark.config import DEFAULT_SUITE, Overrides, expand, load_suite, suite_files
    from benchmark.registry import add_plugin

    for plugin in args.plugin:
        add_plugin(plugin)
    sets = tuple(args.sets)
    if args.precision is not None:
        sets += (f"precision={args.precision}",)
    known = suite_files()
    groups: dict[str, tuple[str, ...]] = {}
    if args.suite is not None or not args.dataset:
        groups[args.suite or DEFAULT_SUITE] = args.dataset
    else:  # a data set brings its own suite, with the settings meant for it
        for name in args.dataset:
            suite_name = name if name in known else DEFAULT_SUITE
            groups[suite_name] = (*groups.get(suite_name, ()), name)
    asked = []
    for name, datasets in groups.items():
        suite = load_suite(name)
        overrides = Overrides(
            dataset=datasets,
            backbone=args.backbone,
            method=args.method,
            tasks=args.tasks,
            seeds=args.seeds,
            sets=sets,
        )
        asked.append((suite, expand(suite, overrides)))
    return asked


def execution(args: argparse.Namespace, suite: Suite) -> ExecutionSettings:
    """How runs are to be carried out, as the options that all such commands share say."""
    from benchmark.engine.pool import ExecutionSettings

    return ExecutionSettings(
        results=args.results,
        jobs=args.jobs or 0,
        device=args.device,
        threads=args.threads or 0,
        suite=suite.name,
        data_root=data_source(args).root,
        plugins=tuple(args.plugin),
    )


def _complete_data(asked: Asked, args: argparse.Namespace) -> None:
    """Fetch what the data sets lack; one error names everything that could not be had."""
    from benchmark.cli.data import complete

    pairs = {(spec.dataset, spec.split) for _, specs in asked for spec in specs}
    complete([(name, data_source(args, split)) for name, split in sorted(pairs)])


def _planned(specs: list[RunSpec], args: argparse.Namespace) -> list[PlannedRun]:
    from benchmark.engine.plan import plan_runs
    from benchmark.results.store import ResultStore

    return plan_runs(specs, ResultStore(args.results), args.data_root)


def _headline(suite: Suite, planned: list[PlannedRun]) -> str:
    done = sum(one.status == "done" for one in planned)
    todo = sum(one.open for one in planned)
    return f"suite {suite.name}: {len(planned)} runs asked for, {done} done, {todo} to do"


def _launch(plans: list[tuple[Suite, list[PlannedRun]]], args: argparse.Namespace) -> int:
    from benchmark.config.command import in_shell, run_arguments
    from benchmark.engine.launchers import LAUNCHERS

    script = Path(sys.executable).with_name("clbench")
    program = [str(script)] if script.is_file() else [sys.executable, "-m", "benchmark"]
    common = [
        "--no-report",
        "--results",
        str(args.results.resolve()),
        "--device",
        args.device,
        "--jobs",
        "1",
    ]
    if args.data_root is not None:
        common += ["--data-root", str(args.data_root.resolve())]
    if args.workers is not None:
        common += ["--workers", str(args.workers)]
    if args.predictions != "all":
        common += ["--predictions", args.predictions]
    if args.threads is not None:
        common += ["--threads", str(args.threads)]
    for plugin in args.plugin:
        common += ["--plugin", str(Path(plugin).resolve())]
    commands = [
        in_shell([*program, "run", *run_arguments(one.spec, suite), *common])
        for suite, planned in plans
        for one in planned
        if one.open
    ]
    return LAUNCHERS.get(args.launcher)(commands, args.results, say)
