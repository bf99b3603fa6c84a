"""The command line: parses options, carries out one command, turns known errors into a message."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmark.cli import (
    compare,
    data,
    data_views,
    doctor,
    explain,
    listing,
    method,
    paper,
    plan,
    pretrain,
    replay,
    report,
    run,
    speed,
    tune,
)
from benchmark.cli.console import say, warn
from benchmark.cli.options import Command
from benchmark.interruption import exit_code, interruptible
from benchmark.version import __version__
from benchmark.words import visible

DONE, SOME_FAILED, WRONG_USAGE = 0, 1, 2
COMMANDS: tuple[Command, ...] = (
    run.run, plan.plan, tune.tune, paper.paper, report.report, explain.explain, compare.compare,
    listing.list_names, method.new, method.check,
    data.prepare, data.decode, data.build, data_views.show, data_views.verify,
    pretrain.supervised, pretrain.dino, pretrain.ibot, pretrain.probe,
    replay.replay, speed.speed, doctor.doctor,
)  # fmt: skip
GROUPS = {
    "data": "fetch, build, check and view data sets",
    "pretrain": "rebuild an embedded backbone, or score one",
}


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands; each names the function that carries it out."""
    parser = _Parser(
        prog="clbench",
        description="Compares continual-learning methods on Vision Transformers.",
        epilog="Start with `clbench run`: a few minutes of training, then a table.",
    )
    parser.add_argument("--version", action="version", version=f"clbench {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=("bash", "zsh", "tcsh"),
        help="print the script that lets a shell complete commands and options",
    )
    parsers = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    groups = {"": parsers}
    for each in COMMANDS:
        group = each.name.rpartition(" ")[0]
        if group not in groups:
            groups[group] = parsers.add_parser(group, help=GROUPS[group]).add_subparsers(
                title="commands", metavar="COMMAND", required=True
            )
        each.add_to(groups[group])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Carry out one command.

    Returns:
        The exit code: 0 done, 1 some runs failed, 2 wrong usage or missing input, 128 and the
        number of the signal that interrupted it.
    """
    # A notebook's backend and a user's own settings are for other figures than ours.
    os.environ |= {"MPLBACKEND": "agg", "MATPLOTLIBRC": os.devnull}
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it reads that of this folder anyway
    chosen: Command | None = None
    try:
        args = build_parser().parse_args(argv)
        chosen = args.command
        with interruptible():
            return chosen(args)
    except KeyboardInterrupt as interruption:
        warn(f"\nclbench: interrupted. {chosen.kept if chosen else ''}")
        return exit_code(interruption)
    except BrokenPipeError:  # the reader of our output, such as `head`, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (ValueError, RuntimeError, OSError) as error:
        if not _is_expected(error):
            raise
        warn(_in_words(error))
        return WRONG_USAGE


class _Parser(argparse.ArgumentParser):
    """argparse, whose messages show what was typed without carrying it out on a terminal."""

    def error(self, message: str) -> NoReturn:
        """End with the message and what the command takes."""
        super().error(visible(message))


class _PrintCompletion(argparse.Action):
    """Prints a completion script and ends, as `--version` does."""

    def __call__(self, parser: argparse.ArgumentParser, *values: Any) -> None:
        """Print the script of the shell that is asked for."""
        import shtab

        shell = values[1]
        for action in _actions(parser):
            if action.type is Path:
                action.complete = shtab.FILE  # type: ignore[attr-defined]  # shtab's own mark
        say(shtab.complete(parser, shell))
        parser.exit()


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Every option of a parser and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from _actions(subparser)


def _is_expected(error: Exception) -> bool:
    """Whether the input or the machine is at fault: our own errors, and the system's.

    Any other ValueError or RuntimeError is a bug of the program and keeps its traceback.
    """
    return isinstance(error, OSError) or type(error).__module__.split(".")[0] == "benchmark"


def _in_words(error: Exception) -> str:
    """The message of one error or of several; an indented line continues the one before it."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"clbench: error: {error.filename}: {error.strerror}"
    lines = str(error).splitlines() or [type(error).__name__]
    count = sum(not line.startswith(" ") for line in lines)
    if count == 1:
        return "\n".join([f"clbench: error: {lines[0]}", *lines[1:]])
    return "\n".join([f"clbench: {count} errors:", *(f"  {line}" for line in lines)])
