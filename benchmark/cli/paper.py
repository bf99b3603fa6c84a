"""`clbench paper`: the runs of a table of the InfLoRA paper, planned or carried out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.console import say, say_table, warn
from benchmark.cli.options import (
    argument,
    command,
    flag,
    load_plugins,
    names,
    numbers,
    option,
    plugin_option,
)
from benchmark.cli.plan import planned_aloud, say_costs, say_lacking
from benchmark.cli.run import CarryOutOptions, begin, carry_out
from benchmark.engine.device import check_device
from benchmark.words import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmark.cli.paper_runs import PaperRuns
    from benchmark.config import Suite
    from benchmark.spec import RunSpec

TABLES = (1, 2, 3, 4, 5)


@dataclass(frozen=True, kw_only=True)
class PaperOptions(CarryOutOptions):
    """Options of `clbench paper`."""

    table: int = argument(int, "TABLE", "number of the table: 1 to 5", choices=TABLES)
    run: bool = flag("carry out what is missing, in place of the plan")
    method: tuple[str, ...] = option(names, "A,B", "rows of the table; default: all", default=())
    seeds: tuple[int, ...] = option(
        numbers, "0,1,2|0-4", "default: the paper's five, 0 to 4", default=()
    )
    sets: list[str] = option(
        str,
        "KEY=VALUE",
        "change a setting, as of clbench run",
        action="append",
        default=[],
        flags=("--set",),
    )
    settings: bool = flag("also print every value that the runs will use")
    plugin: list[Path] = plugin_option()


@command(
    "paper",
    PaperOptions,
    "plan the runs of a table of the InfLoRA paper, or carry them out",
    "clbench paper 1\n  clbench paper 1 --method inflora,coda_p --run",
    details="Each run has the split, the class order, the weights and the recipe of the published\n"
    "number, as far as they are known; what is not known is said. `clbench report` sets the\n"
    "results beside the published numbers and those of the official logs.",
    kept="Finished runs are kept, the others resume where they were: give the same command again.",
)
def paper(options: PaperOptions) -> int:
    """Print the plan, or carry out what is missing of it; 1 when a run failed."""
    if options.run:
        begin(options)
    else:
        check_device(options.device, here=False)  # the runs may be for another machine
    load_plugins(options.plugin)
    from benchmark.cli.paper_runs import layout_of, paper_runs
    from benchmark.report.paper.reported import load_reported

    layout, reported = layout_of(options.table), load_reported(options.results)
    for problem in reported.problems:
        warn(f"left out: {problem}")
    asked = paper_runs(
        layout, reported, methods=options.method, seeds=options.seeds, sets=options.sets
    )
    if options.run:
        return carry_out(_by_suite(asked), options, options.plugin)
    _say_plan(layout.title, asked, options)
    return 0


def _by_suite(asked: Sequence[PaperRuns]) -> list[tuple[Suite, list[RunSpec]]]:
    found: dict[str, tuple[Suite, list[RunSpec]]] = {}
    for runs in asked:
        found.setdefault(runs.suite.name, (runs.suite, []))[1].extend(runs.specs)
    return list(found.values())


def _say_plan(title: str, asked: Sequence[PaperRuns], options: PaperOptions) -> None:
    from benchmark.cli.paper_runs import HEADERS
    from benchmark.cli.resolved import resolved_lines
    from benchmark.results.store import ResultStore

    store, specs = ResultStore(options.results), [spec for runs in asked for spec in runs.specs]
    planned, lacking = planned_aloud(specs, store, options)
    done, todo = sum(run.status == "done" for run in planned), sum(run.open for run in planned)
    say(f"{title}: {plural(len(planned), 'run')}, {done} done, {todo} to do")
    by_spec = {id(run.spec): run for run in planned}
    say_table([runs.line(by_spec) for runs in asked], HEADERS)
    for line in resolved_lines(specs) if options.settings else ():
        say(line)
    say("every value of a recipe has its source beside it: " + _files(asked))
    for doubt in dict.fromkeys(doubt for runs in asked for doubt in runs.doubts):
        say(doubt)
    say_costs(planned, store, options)
    say_lacking(planned, options, lacking)


def _files(asked: Sequence[PaperRuns]) -> str:
    return ", ".join(dict.fromkeys(str(runs.suite.path) for runs in asked))
