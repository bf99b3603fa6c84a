"""`clbench report`: tables and figures from whatever is finished."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.console import say, say_drawn, warn
from benchmark.cli.options import (
    command,
    flag,
    load_plugins,
    names,
    option,
    plugin_option,
    require_results,
    results_option,
)

if TYPE_CHECKING:
    from benchmark.report.model import Report
    from benchmark.report.paper.reproduced import Form


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """Options of `clbench report`."""

    results: Path = results_option()
    out: Path | None = option(
        Path, "DIR", "folder for the report; default: report in the results folder"
    )
    paper: Form | None = option(
        help="the InfLoRA paper's tables in its own layout: published numbers, ours, both, or ours "
        "minus the published; or number by number, reproduced: paper, official log, ours and the "
        "difference; default: reproduced, for tables that we have runs for",
        choices=("reported", "ours", "both", "delta", "reproduced"),
    )
    relative_to: str = option(
        str,
        "METHOD",
        "the method that the figure of relative accuracy compares with; default: inflora",
        default="",
    )
    highlight: tuple[str, ...] = option(
        names,
        "A,B",
        "methods that keep their colour in figures of more than eight rows, beside the best and "
        "the bounds",
        default=(),
    )
    plugin: list[Path] = plugin_option()
    strict: bool = flag(
        "write nothing and exit with 1 where rows of a table differ in what must be equal"
    )


@command(
    "report",
    ReportOptions,
    "write every table and figure that the finished runs allow",
    "clbench report --results results --out paper",
)
def report(options: ReportOptions) -> int:
    """Build everything, print the tables and name the files."""
    require_results(options.results)
    load_plugins(options.plugin)
    from benchmark.report.build import build_report
    from benchmark.report.fairness.check import UnfairError

    try:
        made = build_report(
            options.results,
            options.out or options.results / "report",
            paper=options.paper,
            strict=options.strict,
            relative_to=options.relative_to,
            highlight=options.highlight,
        )
    except UnfairError as error:
        warn(f"clbench: no report: {len(error.faults)} unequal conditions among rows of a table:")
        for fault in error.faults:
            warn(f"  {fault}")
        return 1
    show_report(made)
    return 0 if made.results else 2


def show_report(made: Report) -> None:
    """Print the tables of a report and name its files."""
    from benchmark.report.formats.terminal import for_stream

    for table in made.printed:
        say()
        say_drawn(for_stream(table).rstrip())
    say()
    for problem in made.problems:
        warn(problem)
    say(made.message)
    for folder in sorted({file.parent for file in made.files}):
        files = [file for file in made.files if file.parent == folder]
        if len(files) == 1:
            say(f"page with everything: {files[0]}")
            continue
        endings = ", ".join(sorted({file.suffix.removeprefix(".") for file in files}))
        say(f"{len(files)} files of {folder.name} ({endings}): {folder}")
