"""`clbench report`: tables and figures from whatever is finished."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.options import add_command, add_results
from benchmark.progress import say, warn

if TYPE_CHECKING:
    from benchmark.cli.options import Commands
    from benchmark.config import RunSpec


def add_commands(commands: Commands) -> None:
    """Add `report`."""
    parser = add_command(
        commands,
        "report",
        "every table and figure from whatever is finished",
        "clbench report --results results --out paper",
        report,
    )
    add_results(parser)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="default: the folder report in the results folder"
    )


def report(args: argparse.Namespace) -> int:
    """Build everything, print the tables and name the files."""
    if not args.results.is_dir():
        raise FileNotFoundError(f"{args.results}: no such results folder; give one with --results")
    show_report(args.results, args.out or args.results / "report")
    return 0


def show_report(results: Path, out: Path, expected: Mapping[str, RunSpec] | None = None) -> None:
    """Write and print the tables; with `expected` only those that these runs belong to."""
    from benchmark.report.build import build_report
    from benchmark.report.terminal import for_stream

    made = build_report(results, out, expected=expected)
    for table in made.tables:
        say()
        say(for_stream(table).rstrip())
    say()
    for problem in made.problems:
        warn(problem)
    say(made.message)
    for folder in sorted({file.parent for file in made.files}):
        files = [file for file in made.files if file.parent == folder]
        if folder.name == "figures":
            for file in files:
                say(f"figure: {file}")
        else:
            endings = ", ".join(sorted({file.suffix.removeprefix(".") for file in files}))
            say(f"{len(files)} files of tables ({endings}): {folder}")
