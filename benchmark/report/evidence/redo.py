"""The command that redoes a stored run, and what has to be in place for it to give the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmark.config.command import complete_arguments, in_shell
from benchmark.config.suite import DEFAULT_SUITE, suite_files
from benchmark.registry import METHODS, PluginError, plugin_files
from benchmark.report.formatting import listing
from benchmark.results.store import Result
from benchmark.spec import ORDER_KINDS, PROTOCOL_VERSION, order_kind

FRESH = "redo"  # where nothing is done yet: in its own folder a finished run would be skipped
_NAMED = 4  # changed files that are called by name
PLUGIN = "FILE"  # stands for what no result tells: where a plugin's file was


@dataclass(frozen=True)
class Checkout:
    """The code at hand, to be compared with the code of a run.

    sources: hash of the source of each method; files: hash of each file that decides the numbers of
    a method's runs, as in `environment.sources`. Both are empty where nobody looked.
    """

    revision: str | None = None
    dirty: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def redo_command(result: Result) -> str:
    """The whole command line: every value set, on the device and threads of the run.

    It does not depend on what the suite of the run says now. Imports no torch.
    """
    environment = result["environment"]
    place = [("--device", environment.get("device")), ("--threads", environment.get("threads"))]
    suite = environment.get("suite", "")
    words = _run_words(json.dumps(result["spec"]), suite if suite in _suites() else DEFAULT_SUITE)
    plugin = _plugin(result["spec"]["method"])
    options = [word for name, value in place if value for word in (name, str(value))]
    named = ["--plugin", plugin] if plugin else []
    return in_shell(["clbench", "run", *words, *named, *options, "--jobs", "1", "--results", FRESH])


def conditions(result: Result, here: Checkout | None = None) -> Iterator[str]:
    """What must be done or be there for the command to give the same key and number again.

    here: the code at hand, where it is known; else the conditions hold for any.
    """
    spec, environment = result["spec"], result["environment"]
    yield from _code(result, here)
    if _plugin(spec["method"]) == PLUGIN:
        yield (
            f"{spec['method']} is not a method of this clbench: it came from a plugin file or "
            f"another package whose location is not stored; give the file with --plugin {PLUGIN}"
        )
    if order_kind(spec["order"]) not in ORDER_KINDS:
        yield (
            f"the class order is that of the file {spec['order']}: if it lists the classes "
            "differently now, the key differs"
        )
    if spec["backbone_file"]:
        yield f"the weights are read from {spec['backbone_file']}: the same file must be there"
    for kind, name in (("data set", spec["dataset"]), ("backbone", spec["backbone"])):
        if name.startswith(("folder:", "file:")):
            yield f"the {kind} is {name}, a path on the machine and from the folder of the run"
            if "," in name:
                yield f"--{kind.partition(' ')[0]} takes no commas: link {name} under another name"
    if environment.get("device", "cpu") != "cpu":
        yield "on a GPU the last digits may differ even on the same hardware"


def _code(result: Result, here: Checkout | None) -> Iterator[str]:
    spec, environment = result["spec"], result["environment"]
    revision, version = environment.get("revision"), environment.get("version")
    if not version:  # a run that died early knows nothing of its code
        return
    where = (
        f"git checkout {revision}" if revision else f"clbench {version}, not from a git checkout"
    )
    if environment.get("dirty"):
        yield (
            f"ran on uncommitted changes to {revision or version}: they are not stored, so the key "
            "may differ; the hash of the method's source tells whether its files are the same"
        )
    if spec["protocol"] != PROTOCOL_VERSION:
        yield (
            f"needs the code of protocol {spec['protocol']}; this clbench has "
            f"{PROTOCOL_VERSION}: {where}"
        )
    elif here is None:
        yield f"needs the same method source: {where}" if revision else f"made with {where}"
    elif changed := list(_changed(result, here)):
        more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
        yield f"changed since: {listing(changed[:_NAMED])}{more}; as it was: {where}"


def _changed(result: Result, here: Checkout) -> Iterator[str]:
    """What decides the numbers of a run and is not as it was."""
    method, environment = result["spec"]["method"], result["environment"]
    then, now = environment.get("sources"), here.files.get(method)
    source = here.sources.get(method)
    if then is not None and now is not None:
        yield from (name for name in sorted({*then, *now}) if then.get(name) != now.get(name))
    elif source is not None and source != environment.get("method_source_hash"):
        yield f"the source of {method}"


@cache  # as many cells as there are rest on the same runs
def _run_words(spec: str, suite: str) -> tuple[str, ...]:
    return tuple(complete_arguments(json.loads(spec), suite))


@cache
def _suites() -> frozenset[str]:
    return frozenset(suite_files())


def _plugin(method: str) -> str:
    """What `--plugin` needs for the method: nothing, its file, or a word in the file's place."""
    plugins = tuple(plugin_files())
    places = _method_places(plugins)
    if method in places:
        return str(places[method]) if places[method] in plugins else ""
    return PLUGIN if places else ""


@cache
def _method_places(plugins: tuple[Path, ...]) -> dict[str, Path]:
    """Files of all methods; none where one of them cannot be read. plugins: what was added."""
    try:
        return {name: source.path for name, source in METHODS.sources().items()}
    except PluginError:
        return {}
