"""`clbench list`: the names that can be used, with one line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.cli.console import say, say_table
from benchmark.cli.options import (
    argument,
    command,
    flag,
    load_plugins,
    names,
    option,
    plugin_option,
)
from benchmark.words import plural


def _methods() -> dict[str, str]:
    from benchmark.registry import METHODS

    return {name: source.summary for name, source in sorted(METHODS.sources().items())}


def _datasets() -> dict[str, str]:
    from benchmark.data import FOLDER, dataset_info, dataset_names

    named = {name: dataset_info(name).summary for name in dataset_names()}
    return named | {FOLDER: "any tree with a folder per class, with or without train/ and test/"}


def _backbones() -> dict[str, str]:
    from benchmark.backbones.catalogue import available
    from benchmark.backbones.places import state_in_words

    named = {spec.name: f"{spec.description}; {state_in_words(spec)}" for spec in available()}
    forms = {
        "timm:TAG": "any Vision Transformer of timm, by its full tag",
        "file:PATH": "tensors of a timm Vision Transformer in a file",
    }
    return named | forms


def _launchers() -> dict[str, str]:
    from benchmark.engine.launchers import LAUNCHERS

    return {name: source.summary for name, source in LAUNCHERS.sources().items()}


def _suites() -> dict[str, str]:
    from benchmark.config import suite_description, suite_files

    return {name: suite_description(path) for name, path in suite_files().items()}


_KINDS = {
    "methods": _methods,
    "datasets": _datasets,
    "backbones": _backbones,
    "suites": _suites,
    "launchers": _launchers,
}


@dataclass(frozen=True)
class ListOptions:
    """Options of `clbench list`."""

    kind: str = argument(choices=list(_KINDS))
    schema: bool = flag("with suites: the JSON schema by which an editor completes a suite file")
    methods: bool = flag(
        "with backbones: which methods can run on which; of timm's, on a model of every kind"
    )
    backbone: tuple[str, ...] = option(
        names, "NAME,NAME", "with --methods: the backbones in question", default=()
    )
    plugin: list[Path] = plugin_option()


@command("list", ListOptions, "list the names that can be used", "clbench list methods")
def list_names(options: ListOptions) -> int:
    """Print name and description of every entry of one kind, or what else is asked of it."""
    _check(options)
    if options.schema:
        from benchmark.config.suite import suite_schema

        say(suite_schema())
        return 0
    load_plugins(options.plugin)
    if options.methods:
        _say_methods(options.backbone)
        return 0
    say_table(_KINDS[options.kind]().items())
    return 0


def _check(options: ListOptions) -> None:
    """Raise `SuiteError` for options that do not go with what is listed, or with each other."""
    from benchmark.config.reading import SuiteError

    problems = []
    if options.schema and options.kind != "suites":
        problems.append(f"--schema: only suites have one, not {options.kind}")
    if options.methods and options.kind != "backbones":
        problems.append(
            f"--methods: what can run on them is asked of backbones, not {options.kind}"
        )
    if options.backbone and not options.methods:
        problems.append("--backbone: goes with --methods alone")
    if problems:
        raise SuiteError(problems)


def _say_methods(asked: tuple[str, ...]) -> None:
    """Print for each backbone how many methods can run on it, and why others cannot."""
    from benchmark.backbones.catalogue import available
    from benchmark.backbones.kinds import KINDS
    from benchmark.backbones.load import outline_of
    from benchmark.engine.suitability import Suitability
    from benchmark.registry import METHODS

    words = {spec.name: spec.description.partition(";")[0] for spec in available()}
    words |= {f"timm:{name}": kind for name, kind in KINDS.items()}
    found, total = Suitability(), len(METHODS.sources())
    for name in asked:
        outline_of(name)  # all can be used before the first is shown
    for name in asked or words:
        reasons = found.refusals(name)
        able = total - sum(map(len, reasons.values()))
        kind = f" ({words[name]})" if name in words else ""
        say(f"{name}{kind}: {able} of {plural(total, 'method')}")
        for reason, methods in reasons.items():
            say(f"  not {', '.join(methods)}: {reason}")
