"""The command that asks for exactly one run, and says so completely."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import Any

from benchmark.config.expand import expand
from benchmark.config.overrides import BACKBONE_FILE, STREAM_KEYS, Overrides
from benchmark.config.spec import Recipe, RunSpec
from benchmark.config.suite import Suite


def run_arguments(spec: RunSpec, suite: Suite) -> list[str]:
    """Arguments of `clbench run` that ask for `spec` alone, starting from `suite`.

    Only what differs from the suite is set.
    """
    tasks = "+".join(map(str, spec.tasks))
    if len(spec.tasks) == 1 or len(set(spec.tasks)) == 1:
        tasks = str(len(spec.tasks))
    chosen = {
        "dataset": spec.dataset,
        "method": spec.method,
        "backbone": spec.backbone,
        "tasks": tasks,
        "seeds": str(spec.seed),
    }
    # What `--tasks` may say hangs on the scenario, so it is set before the two are compared.
    scenario = [("scenario", spec.scenario)] if spec.scenario != suite.scenario else []
    (plain,) = expand(
        suite,
        Overrides(
            dataset=(spec.dataset,),
            method=(spec.method,),
            backbone=(spec.backbone,),
            tasks=(tasks,),
            seeds=(spec.seed,),
            sets=tuple(f"{key}={value}" for key, value in scenario),
        ),
    )
    arguments = ["--suite", suite_argument(suite)]
    for name, value in chosen.items():
        arguments += [f"--{name}", value]
    for key, value in (*scenario, *_differences(plain, spec)):
        arguments += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return arguments


def suite_argument(suite: Suite) -> str:
    """How a suite is named on the command line: by name if it is ours, else by its full path."""
    from benchmark.config.suite import suite_files

    path = suite.path.resolve()
    ours = {file.resolve(): name for name, file in suite_files().items()}
    return ours.get(path, str(path))


def in_shell(words: list[str]) -> str:
    """A command line that a shell reads as these words."""
    return shlex.join(words)


def _differences(plain: RunSpec, wanted: RunSpec) -> Iterator[tuple[str, Any]]:
    for key in STREAM_KEYS:
        if getattr(plain, key) != getattr(wanted, key):
            yield key, getattr(wanted, key)
    if wanted.backbone_file:
        yield BACKBONE_FILE, wanted.backbone_file
    names = [field.name for field in fields(Recipe)]
    yield from _changed("training", _values(plain.recipe, names), _values(wanted.recipe, names))
    yield from _changed("settings", plain.settings, wanted.settings)


def _values(recipe: Recipe, names: list[str]) -> dict[str, Any]:
    return {name: getattr(recipe, name) for name in names}


def _changed(
    block: str, plain: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    for key, value in wanted.items():
        if plain[key] != value:
            yield f"{block}.{key}", dict(value) if isinstance(value, Mapping) else value
