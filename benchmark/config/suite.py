"""Suites: YAML files that say which methods run on what, with every setting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.backbones import catalogue
from benchmark.config.convert import Problems, SuiteError, convert_mapping, field_types
from benchmark.config.reading import read_mapping
from benchmark.config.settings import method_settings
from benchmark.config.spec import InputRange, Precision, Recipe
from benchmark.data import dataset_info
from benchmark.registry import UnknownNameError, method_source

SUITES_FOLDER = Path(__file__).resolve().parent.parent / "suites"
DEFAULT_SUITE = "icons"


@dataclass(frozen=True)
class MethodPlan:
    """A method of a suite: what it changes of the suite's training, and its own settings."""

    name: str
    training: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A checked suite file; the product of its lists is what it asks for."""

    path: Path
    name: str
    description: str
    dataset: tuple[str, ...]
    backbone: tuple[str, ...]
    methods: Mapping[str, MethodPlan]
    tasks: tuple[int | str, ...] = ()  # counts, or sizes such as 50+10+10; none: the data set's own
    seeds: tuple[int, ...] = (0,)
    order: str = "natural"
    input_range: InputRange = "unit"
    precision: Precision = "fp32"
    validation: float = 0.0
    training: Mapping[str, Any] = field(default_factory=dict)


_LISTS = ("dataset", "backbone", "tasks", "seeds")
_REQUIRED = ("dataset", "backbone", "methods")
_METHOD_KEYS = {"training": Mapping[str, Any], "settings": Mapping[str, Any]}


def suite_files() -> dict[str, Path]:
    """The suites that come with the project, by name."""
    return {path.stem: path for path in sorted(SUITES_FOLDER.glob("*.yaml"))}


def find_suite(name_or_path: str) -> Path:
    """The file of a suite given by name or by path."""
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        if not path.is_file():
            raise SuiteError([f"suite {name_or_path}: no such file"])
        return path
    files = suite_files()
    if name_or_path not in files:
        raise UnknownNameError("suite", name_or_path, files)
    return files[name_or_path]


def suite_description(path: Path) -> str:
    """What a suite file says of itself, without checking the rest of it."""
    return str(read_mapping(path).get("description", ""))


def load_suite(name_or_path: str) -> Suite:
    """Read and check a suite; every fault is reported at once, with file and key path.

    Imports the modules of the suite's methods to check their settings, and so torch.
    """
    path = find_suite(name_or_path)
    content = read_mapping(path)
    problems = Problems(str(path))
    for key in _LISTS:
        if key in content and not isinstance(content[key], list):
            content[key] = [content[key]]
    types = field_types(Suite)
    types = {key: types[key] for key in types if key != "path"} | {"methods": Mapping[str, Any]}
    values = convert_mapping(content, types, "", problems)
    for key in _REQUIRED:
        if not content.get(key):
            problems.add(key, "must be given")

    _check_names(values, problems)
    values["training"] = _check_training(values.get("training", {}), {}, "training", problems)
    values["methods"] = {
        name: _method_plan(name, entry, values["training"], problems)
        for name, entry in values.get("methods", {}).items()
    }
    for seed in values.get("seeds", ()):
        if seed < 0:
            problems.add("seeds", f"must be at least 0, not {seed}")
    if not 0 <= values.get("validation", 0.0) < 1:
        problems.add("validation", f"must lie in [0, 1), not {values['validation']}")
    problems.check()
    return Suite(path=path, **{"name": path.stem, "description": "", **values})


def check_name(kind: str, name: str) -> None:
    """Raise `UnknownNameError` unless a data set, backbone or method of that name exists."""
    finders: dict[str, Callable[[str], object]] = {
        "dataset": dataset_info,
        "backbone": catalogue.find,
        "method": method_source,
    }
    finders[kind](name)


def _check_names(values: Mapping[str, Any], problems: Problems) -> None:
    for kind in ("dataset", "backbone"):
        for name in values.get(kind, ()):
            try:
                check_name(kind, name)
            except ValueError as error:
                problems.add(kind, error)


def _check_training(
    given: Mapping[str, Any], base: Mapping[str, Any], place: str, problems: Problems
) -> dict[str, Any]:
    """The valid entries of a `training` block that changes `base`."""
    converted = convert_mapping(given, field_types(Recipe), place, problems)
    try:
        Recipe(**{**base, **converted})
    except ValueError as error:
        problems.add(place, error)
        return {}
    return converted


def _method_plan(
    name: str, entry: Any, training: Mapping[str, Any], problems: Problems
) -> MethodPlan:
    place = f"methods.{name}"
    try:
        check_name("method", name)
    except ValueError as error:
        problems.add(place, error)
        return MethodPlan(name)
    if not isinstance(entry or {}, Mapping):
        problems.add(place, f"must hold `training` and `settings`, not {entry!r}")
        return MethodPlan(name)
    blocks = {key: value or {} for key, value in (entry or {}).items()}
    blocks = convert_mapping(blocks, _METHOD_KEYS, place, problems)
    settings = blocks.get("settings", {})
    method_settings(name, settings, f"{place}.settings", problems)
    changed = blocks.get("training", {})
    changed = _check_training(changed, training, f"{place}.training", problems)
    return MethodPlan(name, changed, settings)
