"""The command line: parses, hands over to one command, turns known faults into one message."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from benchmark.cli import (
    compare,
    data,
    doctor,
    explain,
    listing,
    method,
    pretrain,
    replay,
    report,
    run,
    speed,
    tune,
)
from benchmark.cli.console import warn
from benchmark.version import __version__

DONE, SOME_FAILED, WRONG_USAGE, INTERRUPTED = 0, 1, 2, 130
_COMMANDS = (
    run, tune, report, explain, compare, listing, method, data, pretrain, replay, speed, doctor,
)  # fmt: skip


def build_parser() -> argparse.ArgumentParser:
    """The parser of every command; each names the function that carries it out."""
    parser = argparse.ArgumentParser(
        prog="clbench",
        description="Compares continual-learning methods on Vision Transformers.",
        epilog="first command: clbench run    (a few minutes of training, then a table)",
    )
    parser.add_argument("--version", action="version", version=f"clbench {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in _COMMANDS:
        module.add_commands(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; gives 0 done, 1 some runs failed, 2 wrong usage or missing input."""
    args = build_parser().parse_args(argv)
    try:
        status: int = args.command(args)
    except KeyboardInterrupt:
        warn(f"\nclbench: interrupted. {getattr(args, 'kept', 'Nothing was left half-written.')}")
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (ValueError, RuntimeError, OSError) as error:
        if not _is_expected(error):
            raise
        warn(_in_words(error))
        return WRONG_USAGE
    return status


def _is_expected(error: Exception) -> bool:
    """Whether the fault lies with the input or the machine: our own errors, and the system's.

    Any other ValueError or RuntimeError is a fault of the program and keeps its traceback.
    """
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] == "benchmark"


def _in_words(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"clbench: error: {error.filename}: {error.strerror}"
    lines = str(error).splitlines() or [type(error).__name__]
    if len(lines) == 1:
        return f"clbench: error: {lines[0]}"
    return "\n".join([f"clbench: {len(lines)} errors:", *(f"  {line}" for line in lines)])
