"""`clbench compare`: what moved between two results folders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.cli.console import say, say_drawn, warn
from benchmark.cli.options import argument, command, flag


@dataclass(frozen=True, kw_only=True)
class CompareOptions:
    """Options of `clbench compare`."""

    first: Path = argument(Path, "A", "a results folder")
    second: Path = argument(Path, "B", "the results folder to compare it with")
    every: bool = flag("also list differences within noise", flags=("--all",))


@command(
    "compare",
    CompareOptions,
    "list the cells that moved beyond noise between two results folders",
    "clbench compare results/embedded results\n\n"
    "exit code: 0 nothing moved, 1 something moved or broke, 2 wrong usage or nothing in common",
)
def compare(options: CompareOptions) -> int:
    """Print what moved; 1 when anything did."""
    from benchmark.report.evidence.compare import compare_results
    from benchmark.report.evidence.compare_tables import comparison_tables, summary
    from benchmark.report.formats.terminal import for_stream

    for folder in (options.first, options.second):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such results folder")
    found = compare_results(options.first, options.second)
    for problem in found.problems:
        warn(problem)
    say(f"A: {options.first}\nB: {options.second}")
    for table in comparison_tables(found, every=options.every):
        say()
        say_drawn(for_stream(table).rstrip())
    say()
    for line in summary(found):
        say(line)
    if not found.changes and not found.broke:
        warn(f"clbench: error: nothing to compare: no number is both in {options.first} and in "
             f"{options.second} (runs are looked for in the folder `runs` of each)")  # fmt: skip
        return 2
    return 1 if found.moved or found.broke else 0
