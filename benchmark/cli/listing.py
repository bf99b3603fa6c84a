"""`clbench list`: the names that can be used, with one line each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchmark.cli.console import say, say_table
from benchmark.cli.options import argument, command, flag, load_plugins, plugin_option


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
    plugin: list[Path] = plugin_option()


@command("list", ListOptions, "list the names that can be used", "clbench list methods")
def list_names(options: ListOptions) -> int:
    """Print name and description of every entry of one kind, or the schema of a suite file."""
    if options.schema:
        from benchmark.config.reading import SuiteError
        from benchmark.config.suite import suite_schema

        if options.kind != "suites":
            raise SuiteError([f"--schema: only suites have one, not {options.kind}"])
        say(suite_schema())
        return 0
    load_plugins(options.plugin)
    say_table(_KINDS[options.kind]().items())
    return 0
