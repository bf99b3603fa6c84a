"""The command that asks for exactly one run: short beside its suite, or complete by itself."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from pydantic_core import to_jsonable_python

from benchmark.config.assignments import BACKBONE_FILE, BACKBONE_KEYS, STREAM_KEYS, unread
from benchmark.config.expand import Overrides, expand
from benchmark.config.preparation import AUGMENTATION, EVALUATION
from benchmark.config.reading import parse
from benchmark.config.suite import Suite, suite_files
from benchmark.spec import RunSpec, values_of

if TYPE_CHECKING:
    from benchmark.results.schema import SpecBlock


def run_arguments(spec: RunSpec, suite: Suite, tuned: str = "") -> list[str]:
    """Arguments of `clbench run` that ask for `spec` alone, starting from `suite`.

    Only what differs from the suite is set. tuned: the record that the run was asked for with,
    which is an argument of the command too.
    """
    tasks = _task_text(spec.tasks)
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
            tuned=tuned,
        ),
    )
    names = {key: getattr(spec, key) for key in _NAMES}
    changes = (*scenario, *_differences(plain, spec))
    arguments = _arguments(suite_argument(suite), names, tasks, spec.seed, changes)
    return [*arguments, "--tuned", tuned] if tuned else arguments


def complete_arguments(spec: SpecBlock, suite: str) -> list[str]:
    """Arguments of `clbench run` that ask for one stored run alone, whatever its suite says now.

    spec: the `spec` block of a result; suite: any suite there is, of which nothing but its name
    counts, as every value is set. Needs no torch.
    """
    values: Mapping[str, Any] = spec
    changes = [(key, values[key]) for key in STREAM_KEYS]
    if spec["backbone_file"]:
        changes.append((BACKBONE_FILE, spec["backbone_file"]))
    changes += [(key, values[field]) for key, field in BACKBONE_KEYS.items() if field in values]
    changes += _block(AUGMENTATION, values[AUGMENTATION])
    changes += _block(EVALUATION, values[EVALUATION])
    changes += [(f"training.{key}", value) for key, value in spec["recipe"].items()]
    changes += [(f"settings.{key}", value) for key, value in spec["settings"].items()]
    return _arguments(suite, values, _task_text(spec["tasks"]), spec["seed"], changes)


def suite_argument(suite: Suite) -> str:
    """How a suite is named on the command line: by name if it is ours, else by its full path."""
    path = suite.path.resolve()
    ours = {file.resolve(): name for name, file in suite_files().items()}
    return ours.get(path, str(path))


def in_shell(words: list[str]) -> str:
    """A command line that a shell reads as these words."""
    return shlex.join(words)


_NAMES = ("dataset", "method", "backbone")


def _arguments(
    suite: str,
    names: Mapping[str, str],
    tasks: str,
    seed: int,
    changes: Iterable[tuple[str, Any]],
) -> list[str]:
    arguments = ["--suite", suite]
    for name in _NAMES:
        arguments += [f"--{name}", names[name].replace(",", "\\,")]  # as options.names reads it
    arguments += ["--tasks", tasks, "--seeds", str(seed)]
    for key, value in changes:
        arguments += ["--set", f"{key}={value if key == BACKBONE_FILE else _value_text(value)}"]
    return arguments


def _task_text(tasks: Sequence[int]) -> str:
    """`10` for equal tasks, else the sizes: `50+10+10`."""
    return str(len(tasks)) if len(set(tasks)) == 1 else "+".join(map(str, tasks))


def _value_text(value: Any) -> str:
    """What `--set` reads as this value; a text is quoted only where it would be taken otherwise."""
    with suppress(ValueError):
        if isinstance(value, str) and parse(value) == value:
            return value
    return json.dumps(value, ensure_ascii=False)


def _differences(plain: RunSpec, wanted: RunSpec) -> Iterator[tuple[str, Any]]:
    for key in STREAM_KEYS:
        if getattr(plain, key) != getattr(wanted, key):
            yield key, to_jsonable_python(getattr(wanted, key))
    if wanted.backbone_file:
        yield BACKBONE_FILE, wanted.backbone_file
    for key, field in BACKBONE_KEYS.items():
        if getattr(plain, field) != getattr(wanted, field):
            yield key, getattr(wanted, field)
    if plain.augmentation != wanted.augmentation:
        yield from _block(AUGMENTATION, to_jsonable_python(wanted.augmentation))
    yield from _changed(EVALUATION, vars(plain.evaluation), vars(wanted.evaluation))
    changed = dict(_changed("training", vars(plain.recipe), vars(wanted.recipe)))
    idle = {f"training.{key}" for key in (*wanted.recipe.unread(), "lr_scales")}
    # What this run alone makes no use of is only taken with the whole recipe.
    whole = _block("training", to_jsonable_python(wanted.recipe))
    yield from whole if idle & changed.keys() else changed.items()
    settings = dict(_changed("settings", values_of(plain.settings), values_of(wanted.settings)))
    hidden = {f"settings.{key}" for key in unread(wanted.settings)}
    everything = _block("settings", values_of(wanted.settings))
    yield from everything if hidden & settings.keys() else settings.items()


def _block(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A whole block, or the word in its place."""
    if isinstance(value, Mapping):
        yield from ((f"{name}.{key}", inner) for key, inner in value.items())
    else:
        yield name, value


def _changed(
    block: str, plain: Mapping[str, Any], wanted: Mapping[str, Any]
) -> Iterator[tuple[str, Any]]:
    for key, value in wanted.items():
        if plain[key] != value:
            yield f"{block}.{key}", dict(value) if isinstance(value, Mapping) else value
