"""`clbench new` and `clbench check`: a method from a template, and the exam every method passes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.cli.console import say
from benchmark.cli.options import argument, command, option


@dataclass(frozen=True, kw_only=True)
class NewOptions:
    """Options of `clbench new`."""

    name: str = argument(str, "NAME", "small letters, digits and underscores")
    out: Path | None = option(
        Path, "FILE", "default: methods/NAME.py in a checkout, else ./NAME.py"
    )


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Options of `clbench check`."""

    methods: list[str] = argument(str, "NAME|FILE", "methods by name or file", nargs="+")


@command(
    "new",
    NewOptions,
    "write a new method from a template: a complete one, ready to be changed",
    "clbench new my_method",
)
def new(options: NewOptions) -> int:
    """Write the file and say what to do with it."""
    from benchmark.workshop.scaffold import new_method

    path = new_method(options.name, options.out)
    say(f"{path} is written; next: clbench check {path}")
    return 0


@command(
    "check",
    CheckOptions,
    "examine a method: determinism, reload, batch independence, frozen weights, counts",
    "clbench check my_method.py",
)
def check(options: CheckOptions) -> int:
    """Examine methods one after another; 1 when one fails a question."""
    from benchmark.registry import METHODS, add_plugin

    known = {source.path: name for name, source in METHODS.sources().items()}
    names: list[str] = []
    for given in options.methods:
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
