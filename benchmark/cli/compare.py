"""`clbench compare`: what moved between two results folders."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.console import say, warn
from benchmark.cli.options import add_command

if TYPE_CHECKING:
    from benchmark.cli.options import Commands


def add_commands(commands: Commands) -> None:
    """Add `compare`."""
    parser = add_command(
        commands,
        "compare",
        "cells that moved beyond noise between two results folders",
        "clbench compare results/embedded results\n\n"
        "exit code: 0 nothing moved, 1 something moved or broke, 2 wrong usage or nothing in both",
        compare,
    )
    parser.add_argument("first", type=Path, metavar="A", help="a results folder")
    parser.add_argument("second", type=Path, metavar="B", help="another one, such as a newer one")
    parser.add_argument(
        "--all", action="store_true", dest="every", help="also differences within noise"
    )


def compare(args: argparse.Namespace) -> int:
    """Print what moved; 1 when anything did."""
    from benchmark.report.evidence.compare import compare_results
    from benchmark.report.evidence.compare_tables import comparison_tables, summary
    from benchmark.report.formats.terminal import for_stream

    for folder in (args.first, args.second):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such results folder")
    found = compare_results(args.first, args.second)
    for problem in found.problems:
        warn(problem)
    say(f"A: {args.first}\nB: {args.second}")
    for table in comparison_tables(found, every=args.every):
        say()
        say(for_stream(table).rstrip())
    say()
    for line in summary(found):
        say(line)
    if not found.changes and not found.broke:
        warn(f"clbench: error: nothing to compare: no number is both in {args.first} and in "
             f"{args.second} (runs are looked for in the folder `runs` of each)")  # fmt: skip
        return 2
    return 1 if found.moved or found.broke else 0
