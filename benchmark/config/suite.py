"""Suites: YAML files that say which methods run on what, with every setting."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.config.convert import Problems, SuiteError, convert_mapping, field_types
from benchmark.config.extends import base_file, merge
from benchmark.config.grids import Grid, read_grids
from benchmark.config.methods import MethodPlan, read_method, read_training
from benchmark.config.names import check_names
from benchmark.config.reading import read_mapping
from benchmark.config.tuning import TuningSettings, read_tuning
from benchmark.registry import UnknownNameError
from benchmark.spec import InputRange, Precision, Scenario

SUITES_FOLDER = Path(__file__).resolve().parent.parent / "suites"
DEFAULT_SUITE = "icons"


@dataclass(frozen=True)
class Suite:
    """A checked suite file; the product of its lists is what it asks for, and each of `also`."""

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
    split: str = "default"
    scenario: Scenario = "class"
    also: tuple[Grid, ...] = ()  # further products, with the lists above where they have none
    training: Mapping[str, Any] = field(default_factory=dict)
    tuning: TuningSettings = field(default_factory=TuningSettings)  # for `clbench tune` alone


_LISTS = ("dataset", "backbone", "tasks", "seeds")
_REQUIRED = ("dataset", "backbone", "methods")


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

    `extends: NAME` takes another suite's values where it has none of its own, `only` chooses among
    its methods (`benchmark.config.extends`); `when` gives a method other values in some places
    (`benchmark.config.methods`); `tuning` and a method's `search` are for `clbench tune` alone
    (`benchmark.config.tuning`).

    Imports the modules of the suite's methods to check their settings, and so torch.
    """
    path = find_suite(name_or_path)
    content = read_mapping(path)
    base = base_file(path, content, suite_files())
    if base is not None:
        load_suite(str(base))  # its own faults are reported as its own
        content = merge(path, content, base)
    elif "only" in content:
        raise SuiteError([f"{path}: only: chooses methods of another suite: say which, `extends`"])
    problems = Problems(str(path))
    for key in _LISTS:
        if key in content and not isinstance(content[key], list):
            content[key] = [content[key]]
    types = field_types(Suite)
    types = {key: types[key] for key in types if key != "path"}
    types |= dict.fromkeys(("methods", "tuning"), Mapping[str, Any])
    types["also"] = tuple[Mapping[str, Any], ...]
    values = convert_mapping(content, types, "", problems)
    for key in _REQUIRED:
        if not content.get(key):
            problems.add(key, "must be given")

    for kind in ("dataset", "backbone"):
        check_names(kind, values.get(kind, ()), kind, problems)
    values["also"] = read_grids(values.get("also", ()), problems)
    values["training"] = read_training(values.get("training", {}), {}, "training", problems)
    values["tuning"] = read_tuning(values.get("tuning", {}), problems)
    values["methods"] = {
        name: read_method(name, entry, values["training"], problems)
        for name, entry in values.get("methods", {}).items()
    }
    for seed in values.get("seeds", ()):
        if seed < 0:
            problems.add("seeds", f"must be at least 0, not {seed}")
    if not 0 <= values.get("validation", 0.0) < 1:
        problems.add("validation", f"must lie in [0, 1), not {values['validation']}")
    problems.check()
    return Suite(path=path, **{"name": path.stem, "description": "", **values})
