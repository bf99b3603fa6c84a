"""How commands and their options are declared, and the options that several commands share.

A command is a function of its options, a frozen dataclass with a field for each of them:

    @dataclass(frozen=True, kw_only=True)
    class GreetOptions:
        name: str = argument(str, "NAME", "whom to greet")
        times: int = option(positive, "N", "default: 1", default=1)  # --times
        loud: bool = flag("in capitals")  # --loud

    @command("greet", GreetOptions, "say hello", "clbench greet you --times 3")
    def greet(options: GreetOptions) -> int:
        ...

`benchmark.cli` lists all commands.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from benchmark.data.base import DataSource

_MOST_NUMBERS = 1000  # in a range: more is a slip of the keys
O = TypeVar("O")  # noqa: E741 - the options of a command


def option(
    kind: Callable[[str], Any] = str,
    metavar: str | None = None,
    help: str = "",
    *,
    flags: tuple[str, ...] | None = (),
    group: str = "",
    **parameters: Any,
) -> Any:
    """A field that an option fills: `--field-name`, or what `flags` say.

    Args:
        kind: What makes a value of the text that is given.
        metavar: How that text is called in the help.
        help: What the option says; ends with its default.
        flags: Names of the option in place of the field's; None: a positional argument.
        group: Title under which the help lists it.
        parameters: More for argparse, such as `default`, `choices` and `action`.
    """
    given = {"type": kind, "metavar": metavar, "help": help, **parameters}
    return field(metadata={"flags": flags, "group": group, "parameters": given})


def flag(help: str, *, flags: tuple[str, ...] = ()) -> Any:
    """A field that is true where its option is given."""
    parameters = {"action": "store_true", "help": help}
    return field(metadata={"flags": flags, "group": "", "parameters": parameters})


def argument(
    kind: Callable[[str], Any] = str, metavar: str | None = None, help: str = "", **parameters: Any
) -> Any:
    """A field that a positional argument fills; see `option`."""
    return option(kind, metavar, help, flags=None, **parameters)


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
    """`a,b` as a tuple of names; a comma in one of them is written with a backslash before it."""
    parts = (part.replace("\\,", ",").strip() for part in re.split(r"(?<!\\),", text))
    found = tuple(part for part in parts if part)
    if not found:
        raise argparse.ArgumentTypeError("needs at least one name")
    return found


def numbers(text: str) -> tuple[int, ...]:
    """`0,1,2` or `0-2` as a tuple of whole numbers."""
    found: list[int] = []
    for part in names(text):
        if not (match := re.fullmatch(r"(-?\d+)(?:-(\d+))?", part)):
            raise argparse.ArgumentTypeError(f"whole numbers such as 0,1,2 or 0-2, not {text!r}")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 <= last - first < _MOST_NUMBERS:
            raise argparse.ArgumentTypeError(f"a range from its lower end to its upper, not {part}")
        found += range(first, last + 1)
    return tuple(found)


def positive(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return int(text)


def require_results(folder: Path) -> None:
    """Raise FileNotFoundError where there is no such results folder."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such results folder; give one with --results")


# -- options of several commands ----------------------------------------------------------------


def results_option(default: str = "results") -> Any:
    """Where results lie."""
    return option(Path, "DIR", f"results folder; default: ./{default}", default=Path(default))


def data_root_option(*flags: str) -> Any:
    """Where data sets lie that are not embedded; `flags` name the option another way too."""
    about = "the folder of all data sets; default: $CLBENCH_DATA or ./data"
    return option(Path, "DIR", about, flags=(*flags, "--data-root"))


def plugin_option(group: str = "") -> Any:
    """Files with entries of the user's own."""
    about = "a Python file with a method, data set, launcher or figure of your own"
    return option(Path, "FILE", about, group=group, action="append", default=[])


_SELECTION = "what to compare (default: what the suite says)"


def _names_option(help: str) -> Any:
    return option(names, "A,B", help, group=_SELECTION, default=())


@dataclass(frozen=True, kw_only=True)
class SelectionOptions:
    """What is to be compared; empty: what the suite says."""

    suite: str | None = option(
        str, "NAME|FILE", "default: the data set's own suite, or icons", group=_SELECTION
    )
    dataset: tuple[str, ...] = _names_option("data sets")
    method: tuple[str, ...] = _names_option("methods")
    backbone: tuple[str, ...] = _names_option("backbones")
    tasks: tuple[str, ...] = option(
        names, "5,10", "numbers of tasks, or sizes as in 50+25+25", group=_SELECTION, default=()
    )
    sets: list[str] = option(
        str,
        "KEY=VALUE",
        "change a setting: training.lr=0.001, settings.rank=5, inflora.training.epochs=3, "
        "order=shuffled:1, backbone.file=PATH, backbone.image_size=N",
        group=_SELECTION,
        action="append",
        default=[],
        flags=("--set",),
    )
    precision: str | None = option(
        help="of training and prediction", group=_SELECTION, choices=("fp32", "bf16")
    )
    plugin: list[Path] = plugin_option(_SELECTION)


@dataclass(frozen=True, kw_only=True)
class RunSelectionOptions(SelectionOptions):
    """What is to be compared, and with which seeds."""

    seeds: tuple[int, ...] = option(numbers, "0,1,2|0-4", "seeds", group=_SELECTION, default=())
    tuned: str = option(
        str,
        "RECORD",
        "use what a record of clbench tune chose in place of the suite's values: the name of one "
        "that comes with the suites, or a file",
        group=_SELECTION,
        default="",
    )


@dataclass(frozen=True, kw_only=True)
class ExecutionOptions:
    """Where runs find their data, are carried out and stored."""

    results: Path = results_option()
    data_root: Path | None = data_root_option()
    device: str = option(str, "cpu|cuda|auto", "default: a GPU if any", default="auto")
    jobs: int | None = option(
        positive, "N", "runs at the same time; default: one for each GPU, or core"
    )
    threads: int | None = option(positive, "N", "CPU threads of each run")
    checkpoint_every: int | None = option(
        positive,
        "SECONDS",
        "save runs within a task at this interval (default: 600), and when they are interrupted",
    )


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
