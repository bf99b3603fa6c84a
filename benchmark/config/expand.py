"""From a suite and the user's overrides to the list of runs asked for."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.config.convert import Problems, field_types
from benchmark.config.grids import Grid
from benchmark.config.methods import MethodPlan, Situation
from benchmark.config.names import check_name
from benchmark.config.overrides import (
    STREAM_KEYS,
    Assignment,
    Overrides,
    check_used,
    read_assignments,
    values_for,
)
from benchmark.config.settings import method_settings, setting_types
from benchmark.config.suite import Suite
from benchmark.config.tasks import parse_tasks
from benchmark.config.weights import weights_file
from benchmark.data import dataset_info
from benchmark.registry import UnknownNameError
from benchmark.spec import Recipe, RunSpec


@dataclass(frozen=True)
class _ResolvedMethod:
    name: str
    recipe: Recipe
    settings: Mapping[str, Any]


def expand(suite: Suite, overrides: Overrides | None = None) -> list[RunSpec]:
    """Every run that the suite with these overrides asks for, complete and checked, each once.

    Data sets, backbones and task splits given here take the place of those of all the suite's
    grids. Raises `SuiteError` with every fault found.
    """
    given = overrides or Overrides()
    problems = Problems()
    grids = _grids(suite, given, problems)
    datasets = _once(name for grid in grids for name in grid.dataset)
    backbones = _once(name for grid in grids for name in grid.backbone)
    methods = _names("method", given.method, suite.methods, problems)
    for seed in given.seeds:
        if seed < 0:
            problems.add("--seeds", f"must be at least 0, not {seed}")
    assignments = read_assignments(given.sets, problems)
    stream = _stream(suite, assignments, problems)
    for name in datasets:
        _check_split(name, stream["split"], problems)
    check_used(assignments, _keys(methods), problems)
    backbone_file = weights_file(assignments, backbones, problems)
    domains = stream["scenario"] == "domain"
    places = _once(
        (dataset, backbone, tasks)
        for grid in grids
        for dataset, backbone in itertools.product(grid.dataset, grid.backbone)
        for tasks in _task_sizes(suite, given, grid, dataset, domains, problems)
    )
    situations = _once(Situation(name, backbone, len(tasks)) for name, backbone, tasks in places)
    resolved = {at: _methods(suite, methods, at, assignments, problems) for at in situations}
    problems.check()

    seeds = _once(given.seeds or suite.seeds)
    return [
        RunSpec(
            dataset=dataset,
            tasks=tasks,
            method=method.name,
            settings=method.settings,
            recipe=method.recipe,
            backbone=backbone,
            backbone_file=backbone_file,
            seed=seed,
            **(stream | {"order": stream["order"].format(seed=seed)}),
        )
        for dataset, backbone, tasks in places
        for seed in seeds
        for method in resolved[Situation(dataset, backbone, len(tasks))]
    ]


def _once(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))


def _names(
    kind: str, asked: Iterable[str], otherwise: Iterable[str], problems: Problems
) -> tuple[str, ...]:
    known = []
    for name in _once(asked):
        try:
            check_name(kind, name)
            known.append(name)
        except ValueError as error:
            problems.add(f"--{kind}", error)
    return tuple(known) or tuple(otherwise)  # the rest is checked even if no name was right


def _grids(suite: Suite, given: Overrides, problems: Problems) -> tuple[Grid, ...]:
    """The suite's products, each with what is given in place of its own lists."""
    own = Grid(suite.dataset, suite.backbone, suite.tasks)
    asked = Grid(
        _names("dataset", given.dataset, (), problems),
        _names("backbone", given.backbone, (), problems),
        given.tasks,
    )
    return _once(asked.over(grid.over(own)) for grid in (own, *suite.also))


def _task_sizes(
    suite: Suite, given: Overrides, grid: Grid, dataset: str, domains: bool, problems: Problems
) -> tuple[tuple[int, ...], ...]:
    if domains:
        return _domain_tasks(given, dataset, problems)
    info = dataset_info(dataset)
    place = "--tasks" if given.tasks else f"{suite.path}: tasks"
    sizes = []
    for entry in grid.tasks or (info.default_tasks,):
        try:
            sizes.append(parse_tasks(entry, info.classes, dataset))
        except ValueError as error:
            problems.add(place, error)
    return _once(sizes)


def _domain_tasks(
    given: Overrides, dataset: str, problems: Problems
) -> tuple[tuple[int, ...], ...]:
    """One task a domain, each with all classes."""
    info = dataset_info(dataset)
    count = len(info.domains)
    if count < 2:
        problems.add("scenario", f"domain: {dataset} has no domains to learn one after the other")
        return ()
    for entry in given.tasks:
        if str(entry) not in (str(count), "+".join([str(info.classes)] * count)):
            problems.add("--tasks", f"scenario domain: {dataset} has {count} tasks, its domains")
    return ((info.classes,) * count,)


def _check_split(dataset: str, split: str, problems: Problems) -> None:
    known = dataset_info(dataset).splits
    if split not in known:
        problems.add("split", UnknownNameError(f"split of {dataset}", split, known))


def _stream(suite: Suite, assignments: list[Assignment], problems: Problems) -> dict[str, Any]:
    """Values of the keys of the data stream; the order may hold `{seed}`, each run's own."""
    types = {key: kind for key, kind in field_types(RunSpec).items() if key in STREAM_KEYS}
    changed = values_for(assignments, "", "", types, problems)
    if not 0 <= changed.get("validation", 0.0) < 1:
        problems.add("--set validation", f"must lie in [0, 1), not {changed['validation']}")
    values = {key: getattr(suite, key) for key in STREAM_KEYS} | changed
    place, folder = f"{suite.path}: order", suite.path.parent
    if "order" in changed:
        place, folder = "--set order", Path()
    try:
        values["order"] = _order(values["order"], folder)
    except ValueError as error:
        problems.add(place, error)
    return values


def _order(order: str, folder: Path) -> str:
    """The class order as a run keeps it; a file is named by its full path."""
    if order == "shuffled":
        return "shuffled:{seed}"
    if re.fullmatch(r"natural|shuffled:\d+", order):
        return order
    path = (folder / Path(order).expanduser()).resolve()
    if not path.is_file():
        raise ValueError(
            f"{order!r} is neither natural, shuffled, shuffled:SEED nor a file ({path})"
        )
    return str(path).replace("{", "{{").replace("}", "}}")


def _keys(names: Iterable[str]) -> dict[str, dict[str, Iterable[str]]]:
    """What may be set: block -> method -> its keys."""
    recipe, own = field_types(Recipe), {name: setting_types(name) for name in names}
    return {"training": dict.fromkeys(own, recipe), "settings": dict(own)}


def _methods(
    suite: Suite,
    names: Iterable[str],
    at: Situation,
    assignments: list[Assignment],
    problems: Problems,
) -> list[_ResolvedMethod]:
    """Recipe and settings of every method: defaults, the suite's, then the user's values."""
    recipe_types = field_types(Recipe)
    resolved = []
    for name in names:
        training, settings = suite.methods.get(name, MethodPlan(name)).at(at)
        changed = values_for(assignments, name, "training", recipe_types, problems)
        try:
            recipe = Recipe(**{**suite.training, **training, **changed})
        except ValueError as error:
            problems.add(f"--set {name}.training", error)
            continue
        changed = values_for(assignments, name, "settings", setting_types(name), problems)
        asked = {**settings, **changed}
        complete = method_settings(name, asked, f"--set {name}.settings", problems)
        resolved.append(_ResolvedMethod(name, recipe, complete))
    return resolved
