"""How commands and their options are declared, and the options that several commands share.

A command is a function of its options, a frozen dataclass with a field for each of them:

    @dataclass(frozen=True, kw_only=True)
    class GreetOptions:
        name: str = argument(metavar="NAME")
        times: int = option(type=positive, default=1, help="default: 1")  # --times
        loud: bool = flag("in capitals")  # --loud

    @command("greet", GreetOptions, "say hello", "clbench greet you --times 3")
    def greet(options: GreetOptions) -> int:
        ...

`benchmark.cli` lists all commands; what `option` takes besides are the parameters of argparse.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from benchmark.data.base import DataSource

O = TypeVar("O")  # noqa: E741 - the options of a command


def option(*flags: str, group: str = "", **parameters: Any) -> Any:
    """A field that an option fills: `--field-name`, or what `flags` say."""
    return field(metadata={"flags": flags, "group": group, "parameters": parameters})


def flag(help: str) -> Any:
    """A field that is true where its option is given."""
    return option(action="store_true", help=help)


def argument(**parameters: Any) -> Any:
    """A field that a positional argument fills."""
    return field(metadata={"flags": None, "group": "", "parameters": parameters})


@dataclass(frozen=True)
class Command:
    """A command: how it is called and explained, and the function that carries it out.

    Attributes:
        name: One word, or two where commands form a group: `data verify`.
        options: The dataclass of its options.
        summary: One line, without a full stop.
        example: How it is called.
        details: What else its help says.
        kept: What is said when it is interrupted: what remains of its work.
    """

    name: str
    options: Any
    summary: str
    example: str
    details: str
    kept: str
    function: Callable[[Any], int]

    def __call__(self, args: argparse.Namespace) -> int:
        """Carry it out with what was parsed."""
        values = {each.name: getattr(args, each.name) for each in fields(self.options)}
        return self.function(self.options(**values))

    def add_to(self, commands: Any) -> None:
        """Add its parser to the subparsers of argparse."""
        parser = commands.add_parser(
            self.name.split()[-1],
            help=self.summary,
            description=f"{self.summary[0].upper()}{self.summary[1:]}.\n\n{self.details}".rstrip(),
            epilog=f"example:\n  {self.example}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        parser.set_defaults(command=self)
        groups = {"": parser}
        for each in fields(self.options):
            flags, title = each.metadata["flags"], each.metadata["group"]
            if title not in groups:
                groups[title] = parser.add_argument_group(title)
            if flags is None:
                parser.add_argument(each.name, **each.metadata["parameters"])
            else:
                flags = flags or (f"--{each.name.replace('_', '-')}",)
                parameters = {"dest": each.name, **each.metadata["parameters"]}
                groups[title].add_argument(*flags, **parameters)


def command(
    name: str,
    options: type[O],
    summary: str,
    example: str,
    *,
    details: str = "",
    kept: str = "Nothing was left half-written.",
) -> Callable[[Callable[[O], int]], Command]:
    """Decorator that makes a `Command` of a function of its options."""

    def wrap(function: Callable[[O], int]) -> Command:
        return Command(name, options, summary, example, details, kept, function)

    return wrap


# -- values -------------------------------------------------------------------------------------


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


def require_results(folder: Path) -> None:
    """Raise FileNotFoundError where there is no such results folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such results folder; give one with --results")


# -- options of several commands ----------------------------------------------------------------


def results_option(default: str = "results") -> Any:
    """Where results lie."""
    return option(
        type=Path,
        default=Path(default),
        metavar="DIR",
        help=f"results folder; default: ./{default}",
    )


def data_root_option(*flags: str) -> Any:
    """Where data sets lie that are not embedded; `flags` name the option another way too."""
    return option(
        *flags,
        "--data-root",
        type=Path,
        metavar="DIR",
        help="the folder of all data sets; default: $CLBENCH_DATA or ./data",
    )


def plugin_option(group: str = "") -> Any:
    """Files with entries of the user's own."""
    return option(
        group=group,
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="a Python file with a method, data set, launcher or figure of your own",
    )


_SELECTION = "what to compare (default: what the suite says)"


def _names_option(help: str) -> Any:
    return option(group=_SELECTION, type=names, default=(), metavar="A,B", help=help)


@dataclass(frozen=True, kw_only=True)
class SelectionOptions:
    """What is to be compared; empty: what the suite says."""

    suite: str | None = option(
        group=_SELECTION, metavar="NAME|FILE", help="default: the data set's own suite, or icons"
    )
    dataset: tuple[str, ...] = _names_option("data sets")
    method: tuple[str, ...] = _names_option("methods")
    backbone: tuple[str, ...] = _names_option("backbones")
    tasks: tuple[str, ...] = option(
        group=_SELECTION,
        type=names,
        default=(),
        metavar="5,10",
        help="numbers of tasks, or sizes as in 50+25+25",
    )
    sets: list[str] = option(
        "--set",
        group=_SELECTION,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting: training.lr=0.001, settings.rank=5, inflora.training.epochs=3, "
        "order=shuffled:1, backbone.file=PATH",
    )
    precision: str | None = option(
        group=_SELECTION, choices=("fp32", "bf16"), help="of training and prediction"
    )
    plugin: list[Path] = plugin_option(_SELECTION)


@dataclass(frozen=True, kw_only=True)
class RunSelectionOptions(SelectionOptions):
    """What is to be compared, and with which seeds."""

    seeds: tuple[int, ...] = option(
        group=_SELECTION, type=numbers, default=(), metavar="0,1,2", help="seeds"
    )


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Where runs find their data, are carried out and stored."""

    results: Path = results_option()
    data_root: Path | None = data_root_option()
    device: str = option(default="auto", metavar="cpu|cuda|auto", help="default: a GPU if any")
    jobs: int | None = option(
        type=positive, metavar="N", help="runs at the same time; default: one for each GPU, or core"
    )
    threads: int | None = option(type=positive, metavar="N", help="CPU threads of each run")


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """Where data sets lie, and files that define more of them."""

    data_root: Path | None = data_root_option("--root")
    plugin: list[Path] = plugin_option()


def load_plugins(files: list[Path]) -> None:
    """Make the entries of the files named by `--plugin` available."""
    from benchmark.registry import add_plugin

    for file in files:
        add_plugin(file)


def data_source(options: DataOptions | ExecutionOptions, split: str = "default") -> DataSource:
    """A split below the folder that `--data-root` names, or below the default one."""
    from benchmark.data.base import DataSource, default_root

    return DataSource(options.data_root or default_root(), split)
