"""`clbench new` and `clbench check`: a method from a template, and the exam every method passes."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.console import say
from benchmark.cli.options import add_command

if TYPE_CHECKING:
    from benchmark.cli.options import Commands


def add_commands(commands: Commands) -> None:
    """Add `new` and `check`."""
    parser = add_command(
        commands,
        "new",
        "write a new method from a template: a complete one, to be changed",
        "clbench new my_method",
        new,
    )
    parser.add_argument("name", metavar="NAME", help="small letters, digits and underscores")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="default: methods/NAME.py in a checkout, else ./NAME.py",
    )
    parser = add_command(
        commands,
        "check",
        "the exam of a method: determinism, reload, batch independence, frozen weights, counts",
        "clbench check my_method.py",
        check,
    )
    parser.add_argument("methods", nargs="+", metavar="NAME|FILE")


def new(args: argparse.Namespace) -> int:
    """Write the file and say what to do with it."""
    from benchmark.workshop.scaffold import new_method

    path = new_method(args.name, args.out)
    say(f"{path} is written; next: clbench check {path}")
    return 0


def check(args: argparse.Namespace) -> int:
    """Examine methods one after another; 1 when one fails a question."""
    from benchmark.registry import METHODS, add_plugin

    known = {source.path: name for name, source in METHODS.sources().items()}
    names: list[str] = []
    for given in args.methods:
        file = Path(given)
        if file.suffix == ".py":
            resolved = file.expanduser().resolve()
            if resolved in known:
                names.append(known[resolved])
            else:
                names += [s.name for s in add_plugin(file) if s.registry == "METHODS"]
        else:
            names.append(METHODS.source(given).name)

    import torch

    from benchmark.workshop.exam import exam

    torch.set_num_threads(1)  # the same bits on every machine
    failed = []
    for name in names:
        say(name)
        for verdict in exam(name):
            mark = "ok  " if verdict.passed else "FAIL"
            say(f"  {mark}  {verdict.question}" + (f": {verdict.detail}" if verdict.detail else ""))
            if not verdict.passed and name not in failed:
                failed.append(name)
    passed = len(names) - len(failed)
    say(f"{passed} of {len(names)} passed" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0
