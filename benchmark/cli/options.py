"""Options that several commands share, how their values are read, and how commands get them.

The options of a command are a frozen dataclass whose fields have the names of the parsed values:

    add_command(commands, "run", ..., typed(RunOptions, run))
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from benchmark.data.base import DataSource

    Commands: TypeAlias = argparse._SubParsersAction[argparse.ArgumentParser]

Command: TypeAlias = Callable[[argparse.Namespace], int]
O = TypeVar("O")  # noqa: E741 - the options of a command


@dataclass(frozen=True, kw_only=True)
class SelectionOptions:
    """What is to be compared; empty: what the suite says."""

    suite: str | None
    dataset: tuple[str, ...]
    method: tuple[str, ...]
    backbone: tuple[str, ...]
    tasks: tuple[str, ...]
    seeds: tuple[int, ...]
    sets: list[str]
    precision: str | None
    plugin: list[Path]


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Where runs find their data, are carried out and stored."""

    results: Path
    data_root: Path | None
    device: str
    jobs: int | None
    threads: int | None


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where data sets lie, and files that define more of them."""

    data_root: Path | None
    plugin: list[Path]


def typed(kind: type[O], command: Callable[[O], int]) -> Command:
    """A command that is given what was parsed as options of its own kind, a dataclass."""

    def carry_out(args: argparse.Namespace) -> int:
        values: dict[str, Any] = {field.name: getattr(args, field.name) for field in fields(kind)}  # type: ignore[arg-type]
        return command(kind(**values))

    return carry_out


def add_command(
    commands: Commands, name: str, summary: str, example: str, command: Command
) -> argparse.ArgumentParser:
    """A subcommand with a one-line summary, an example, and the function that carries it out."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def names(text: str) -> tuple[str, ...]:
    """`a,b` as a tuple of names."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    if not found:
        raise argparse.ArgumentTypeError("needs at least one name")
    return found


def numbers(text: str) -> tuple[int, ...]:
    """`0,1,2` as a tuple of whole numbers."""
    try:
        return tuple(int(part) for part in names(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"whole numbers such as 0,1,2, not {text!r}") from None


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return int(text)


def add_selection(parser: argparse.ArgumentParser, *, seeds: bool = True) -> None:
    """What is to be compared; `seeds`: they are the user's to choose."""
    group = parser.add_argument_group("what to compare (default: what the suite says)")
    group.add_argument(
        "--suite", metavar="NAME|FILE", help="default: the data set's own suite, or icons"
    )
    for name in ("dataset", "method", "backbone"):
        group.add_argument(f"--{name}", type=names, default=(), metavar="A,B")
    group.add_argument(
        "--tasks", type=names, default=(), metavar="5,10", help="counts, or sizes as in 50+25+25"
    )
    if seeds:
        group.add_argument("--seeds", type=numbers, default=(), metavar="0,1,2")
    group.add_argument(
        "--set",
        action="append",
        default=[],
        dest="sets",
        metavar="KEY=VALUE",
        help="change a setting: training.lr=0.001, settings.rank=5, inflora.training.epochs=3, "
        "order=shuffled:1, backbone.file=PATH",
    )
    group.add_argument("--precision", choices=("fp32", "bf16"))
    add_plugins(group)


def add_plugins(parser: argparse._ActionsContainer) -> None:
    """Files with entries of the user's own."""
    parser.add_argument(
        "--plugin",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a Python file with a method or data set of your own",
    )


def load_plugins(files: list[Path]) -> None:
    """Make the entries of the files named by `--plugin` available."""
    from benchmark.registry import add_plugin

    for file in files:
        add_plugin(file)


def add_results(parser: argparse.ArgumentParser, default: str = "results") -> None:
    """Where results lie."""
    parser.add_argument(
        "--results", type=Path, default=Path(default), metavar="DIR", help=f"default: ./{default}"
    )


def add_data_root(parser: argparse.ArgumentParser, *also: str) -> None:
    """Where data sets lie that are not embedded; `also` names the option another way too."""
    parser.add_argument(
        *also,
        "--data-root",
        type=Path,
        metavar="DIR",
        dest="data_root",
        help="the folder of all data sets; default: $CLBENCH_DATA or ./data",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """What `DataOptions` holds."""
    add_data_root(parser, "--root")
    add_plugins(parser)


def add_execution(parser: argparse.ArgumentParser, run: str = "run") -> None:
    """Where data lie, and how many processes and threads work where; `run`: what they do."""
    add_data_root(parser)
    parser.add_argument("--device", default="auto", metavar="cpu|cuda|auto")
    parser.add_argument("--jobs", type=positive, metavar="N", help=f"{run}s at the same time")
    parser.add_argument("--threads", type=positive, metavar="N", help=f"CPU threads of each {run}")


def data_source(options: DataOptions | ExecutionOptions, split: str = "default") -> DataSource:
    """A split below the folder that `--data-root` names, or below the default one."""
    from benchmark.data.base import DataSource, default_root

    return DataSource(options.data_root or default_root(), split)
