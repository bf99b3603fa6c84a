"""From a suite and the command line's changes to the list of runs asked for."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.backbones import catalogue
from benchmark.config import prepared
from benchmark.config.assignments import (
    BACKBONE_FILE,
    NATIVE_KEYS,
    STREAM_KEYS,
    Assignment,
    check_recipes,
    check_settings,
    check_used,
    read_assignments,
    values_for,
)
from benchmark.config.preparation import INPUT_RANGE, read_input_range
from benchmark.config.reading import as_suite_error
from benchmark.config.suite import (
    DEFAULT_SUITE,
    MethodPlan,
    Situation,
    Suite,
    load_suite,
    suite_files,
)
from benchmark.config.tuned import Choices, read_choices
from benchmark.data import dataset_info, full_name
from benchmark.data.base import DatasetInfo
from benchmark.data.orders import seed_of
from benchmark.registry import METHODS, UnknownNameError
from benchmark.spec import (
    SEEDS,
    SHUFFLES,
    InputRange,
    Recipe,
    RunSpec,
    Settings,
)
from benchmark.storage import is_file
from benchmark.validation import Errors

_FINDERS = {"dataset": dataset_info, "backbone": catalogue.find, "method": METHODS.source}


@dataclass(frozen=True)
class Overrides:
    """What the command line asks for in place of the suite's own; empty: as the suite says."""

    dataset: tuple[str, ...] = ()
    backbone: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    tasks: tuple[int | str, ...] = ()
    seeds: tuple[int, ...] = ()
    sets: tuple[str, ...] = ()  # KEY=VALUE
    tuned: str = ""  # record whose choices take the place of the suite's values, but for `sets`


def requested(
    suite: str | None = None, overrides: Overrides | None = None
) -> list[tuple[Suite, list[RunSpec]]]:
    """The runs asked for, by suite: the named one, else that of each data set, else the default.

    Raises `SuiteError` with every fault of a suite.
    """
    given = overrides or Overrides()
    groups: dict[str, tuple[str, ...]] = {}
    if suite is not None or not given.dataset:
        groups[suite or DEFAULT_SUITE] = given.dataset
    else:  # a data set brings its own suite, with the settings meant for it
        known = suite_files()
        for name in given.dataset:
            own = name if name in known else DEFAULT_SUITE
            groups[own] = (*groups.get(own, ()), name)
    asked = []
    for name, datasets in groups.items():
        loaded = load_suite(name)
        asked.append((loaded, expand(loaded, replace(given, dataset=datasets))))
    return asked


def expand(suite: Suite, overrides: Overrides | None = None) -> list[RunSpec]:
    """Every run that the suite with these overrides asks for, complete and checked, each once.

    Data sets, backbones and task splits given here take the place of those of all the suite's
    grids.

    Raises:
        SuiteError: Holds every error.
    """
    given = overrides or Overrides()
    errors = Errors()
    datasets = _names("dataset", given.dataset, errors)
    backbones = _names("backbone", given.backbone, errors)
    methods = _names("method", given.method, errors) or tuple(suite.methods)
    for name in methods:
        if base := suite.dropped.get(name):
            errors.add(
                f"{name} is not among `only` of suite {suite.name}, so it has no settings there: "
                f"add it to `only` in {suite.path}, or use --suite {base}",
                "--method",
            )
    for seed in given.seeds:
        if seed not in SEEDS:
            errors.add(f"must be from 0 to {SEEDS[-1]}, not {seed}", "--seeds")
    grids = [
        (datasets or g.dataset or suite.dataset, backbones or g.backbone or suite.backbone, g)
        for g in (suite, *suite.also)
    ]
    configs = {name: METHODS.get(name).Config for name in methods}
    assignments = read_assignments(given.sets, errors, configs)
    stream = _stream(suite, assignments, errors)
    all_datasets = _once(name for grid in grids for name in grid[0])
    splits = {
        name: _split(suite, name, stream["split"], assignments, errors) for name in all_datasets
    }
    augmentations = prepared.augmentations(suite, all_datasets, assignments, errors)
    evaluations = prepared.evaluations(suite, all_datasets, assignments, errors)
    check_used(assignments, configs, errors)
    backbone_file = _weights_file(assignments, _once(b for grid in grids for b in grid[1]), errors)
    domains = stream["scenario"] == "domain"
    products = _once(
        (dataset, backbone, tasks)
        for names, networks, grid in grids
        for dataset, backbone in itertools.product(names, networks)
        for tasks in (
            _domain_tasks(given, dataset, errors)
            if domains
            else _task_sizes(suite, given, grid.tasks or suite.tasks, dataset, errors)
        )
    )
    situations = _once(Situation(name, backbone, len(tasks)) for name, backbone, tasks in products)
    choices = read_choices(given.tuned) if given.tuned else Choices("", "")
    resolved = {at: _methods(suite, configs, at, choices, assignments, errors) for at in situations}
    networks = _once(network for _, network, _ in products)
    _check_text({"order": [stream["order"]], BACKBONE_FILE: [backbone_file]}, errors)
    _check_text({"--backbone": networks}, errors)
    with as_suite_error():
        errors.check()

    seeds = _once(given.seeds or suite.seeds)
    return [
        RunSpec(
            dataset=dataset,
            tasks=tasks,
            method=method,
            settings=settings,
            recipe=recipe,
            backbone=backbone,
            backbone_file=backbone_file,
            seed=seed,
            augmentation=augmentations[dataset],
            evaluation=evaluations[dataset],
            **(stream | {"order": stream["order"].format(seed=seed), "split": splits[dataset]}),
        )
        for dataset, backbone, tasks in products
        for seed in seeds
        for method, recipe, settings in resolved[Situation(dataset, backbone, len(tasks))]
    ]


def _check_text(named: Mapping[str, Iterable[str]], errors: Errors) -> None:
    """Note paths that are no UTF-8, which results could not hold."""
    for place, texts in named.items():
        for text in texts:
            try:
                text.encode()
            except UnicodeEncodeError:
                errors.add(f"{text!r} is not UTF-8 and cannot be written into results", place)


def _once(items: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(items))


def _names(kind: str, given: Iterable[str], errors: Errors) -> tuple[str, ...]:
    """The names that exist; the rest is checked even if none was right."""
    known, asked = [], _once(given)
    for name in asked:
        with errors.at(f"--{kind}"):
            _FINDERS[kind](name)
            known.append(full_name(name) if kind == "dataset" else name)
    if len(known) < len(asked) > 1 and any(":" in name for name in asked):
        errors.add("a comma in a path is written \\,", f"--{kind}")
    return _once(known)


# -- where and on what stream -------------------------------------------------------------------


def _task_sizes(
    suite: Suite, given: Overrides, entries: Sequence[int | str], dataset: str, errors: Errors
) -> tuple[tuple[int, ...], ...]:
    info = dataset_info(dataset)
    meant = any(dataset in grid.dataset for grid in (suite, *suite.also))
    sizes = []
    for entry in given.tasks or entries or ("+".join(map(str, _default_sizes(info))),):
        with errors.at("--tasks" if given.tasks else f"{suite.path}: tasks"):
            try:
                sizes.append(parse_tasks(entry, info.classes, dataset))
                if given.tasks or meant or min(sizes[-1]) > 1:
                    continue
                sizes[-1] = _default_sizes(info)  # nothing can be learned in tasks of one class
            except ValueError:
                if given.tasks or meant:
                    raise
                sizes.append(_default_sizes(info))  # the suite's tasks are those of its data sets
    return _once(sizes)


def _default_sizes(info: DatasetInfo) -> tuple[int, ...]:
    """Classes per task where nobody says how many tasks: as equal as can be, the larger first."""
    size, larger = divmod(info.classes, info.default_tasks)
    return (size + 1,) * larger + (size,) * (info.default_tasks - larger)


def parse_tasks(entry: int | str, classes: int, dataset: str) -> tuple[int, ...]:
    """Classes per task for `10` (equal tasks) or `50+10+10+10+10+10` (these sizes).

    Raises:
        ValueError: The tasks do not use up the classes; names the nearest valid counts.
    """
    parts = str(entry).strip().split("+")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise ValueError(f"{entry!r} is neither a number of tasks nor sizes such as 50+10+10")
    sizes = tuple(int(part) for part in parts)
    if len(sizes) > 1:
        if sum(sizes) != classes:
            raise ValueError(
                f"{entry} adds up to {sum(sizes)}, but {dataset} has {classes} classes"
            )
        return sizes
    (count,) = sizes
    if classes % count == 0:
        return (classes // count,) * count
    divisors = [n for n in range(1, classes + 1) if classes % n == 0]
    nearest = [*[n for n in divisors if n < count][-1:], *[n for n in divisors if n > count][:1]]
    raise ValueError(
        f"{count} tasks do not divide the {classes} classes of {dataset}: "
        f"nearest valid {' or '.join(map(str, nearest))}"
    )


def _domain_tasks(given: Overrides, dataset: str, errors: Errors) -> tuple[tuple[int, ...], ...]:
    """One task a domain, each with all classes."""
    info = dataset_info(dataset)
    count = len(info.domains)
    if count < 2:
        errors.add(f"domain: {dataset} has no domains to learn one after the other", "scenario")
        return ()
    for entry in given.tasks:
        if str(entry) not in (str(count), "+".join([str(info.classes)] * count)):
            errors.add(f"scenario domain: {dataset} has {count} tasks, its domains", "--tasks")
    return ((info.classes,) * count,)


def _stream(suite: Suite, assignments: list[Assignment], errors: Errors) -> dict[str, Any]:
    """Values of the keys of the data stream; the order may hold `{seed}`, each run's own."""
    pixels = [one for one in assignments if one.key == INPUT_RANGE and not one.block]
    others = [one for one in assignments if one not in pixels]
    changed = values_for(others, "", "", RunSpec, errors)
    for one in pixels:
        with errors.at(one.option):
            changed[INPUT_RANGE] = read_input_range(one.value)
    values = {key: getattr(suite, key) for key in STREAM_KEYS} | changed
    if own := [one for one in assignments if one.key in NATIVE_KEYS and not one.block]:
        with errors.at(", ".join(one.option for one in own)):
            values[INPUT_RANGE] = _native(values[INPUT_RANGE], own)
    origin, folder = f"{suite.path}: order", suite.path.parent
    if "order" in changed:
        origin, folder = "--set order", Path()
    with errors.at(origin):
        values["order"] = _order(values["order"], folder)
    return values


def _native(asked: InputRange, given: Sequence[Assignment]) -> InputRange:
    """What `native` means where `backbone.mean` and `backbone.std` are given."""
    if asked != "native":
        raise ValueError("has no effect without input_range: native")
    return read_input_range({NATIVE_KEYS[one.key]: one.value for one in given})


def _split(
    suite: Suite, dataset: str, split: str, assignments: Iterable[Assignment], errors: Errors
) -> str:
    """The split on one data set: `--set`, else what the suite says of it, else the suite's own.

    On a data set that the suite does not name, which need not have the suite's split, it gives way
    to the data set's default.
    """
    known = dataset_info(dataset).splits
    given = any(one.key == "split" and not one.block for one in assignments)
    own = suite.per_dataset.get(dataset)
    if own and own.split and not given:
        split = own.split
    if split in known:
        return split
    meant = any(dataset in grid.dataset for grid in (suite, *suite.also))
    if not (given or meant or (own and own.split)):
        return "default"
    errors.add(UnknownNameError(f"split of {dataset}", split, known), "split")
    return split


def _order(order: str, folder: Path) -> str:
    """The class order as a run keeps it; a file is named by its full path."""
    if order in SHUFFLES:
        return f"{order}:{{seed}}"
    if order == "natural" or seed_of(order) is not None:
        return order
    path = (folder / Path(order).expanduser()).resolve()
    if not is_file(path):
        raise ValueError(
            f"{order!r} is neither natural, shuffled, shuffled:SEED nor a file ({path}), nor coda "
            "or coda:SEED"
        )
    return str(path).replace("{", "{{").replace("}", "}}")


def _weights_file(
    assignments: Iterable[Assignment], backbones: Sequence[str], errors: Errors
) -> str:
    """The full path of the file that `--set backbone.file` asks for, empty where none was."""
    path = ""
    for one in assignments:
        if one.key != BACKBONE_FILE or one.block:
            continue
        file = Path(one.value.strip()).expanduser().resolve()
        sources = [catalogue.find(name).source for name in backbones]
        if not one.value.strip():
            errors.add("must name a file of weights", one.option)
        elif len(backbones) != 1:
            errors.add(
                f"is the weights of one backbone, and {len(backbones)} are asked for "
                f"({', '.join(backbones)}): choose one with --backbone, or put files called "
                "after the backbones into the folder that CLBENCH_WEIGHTS names",
                one.option,
            )
        elif sources[0] in ("file", "random"):
            errors.add(f"cannot be given, as backbone {backbones[0]} says what to load", one.option)
        elif not is_file(file):
            errors.add(f"no such file: {file}", one.option)
        path = str(file)
    return path


# -- methods ------------------------------------------------------------------------------------


def _methods(
    suite: Suite,
    configs: Mapping[str, type[Any]],
    at: Situation,
    choices: Choices,
    assignments: list[Assignment],
    errors: Errors,
) -> list[tuple[str, Recipe, Settings]]:
    """Recipe and settings of every method: defaults, the suite's, what was tuned, the user's."""
    resolved = []
    for name, config in configs.items():
        training, settings = suite.methods.get(name, MethodPlan()).at(at)
        training |= choices.values_for(name, "training", Recipe, errors)
        settings |= choices.values_for(name, "settings", config, errors)
        training |= values_for(assignments, name, "training", Recipe, errors)
        settings |= values_for(assignments, name, "settings", config, errors)
        option = "--tuned or --set" if choices.name else "--set"
        with errors.at(f"{option} {name}.settings"):
            recipe = Recipe(**{**suite.training, **training})
            resolved.append((name, recipe, config(**settings)))
    check_recipes(assignments, {name: recipe for name, recipe, _ in resolved}, errors)
    check_settings(assignments, {name: settings for name, _, settings in resolved}, errors)
    for name in configs:
        scaled = suite.methods.get(name, MethodPlan()).at(at)[0].get("lr_scales", {})
        for group in [group for group in scaled if group not in METHODS.get(name).groups]:
            error = UnknownNameError(f"parameter group of {name}", group, METHODS.get(name).groups)
            errors.add(error, f"{suite.path}: methods.{name}.training.lr_scales")
    everyone = _once([*configs, *suite.methods, *suite.dropped])
    known = _once(group for name in everyone for group in METHODS.get(name).groups)
    for group in suite.training.get("lr_scales", {}):
        if group not in known:
            error = UnknownNameError("parameter group", group, known)
            errors.add(error, f"{suite.path}: training.lr_scales")
    return resolved


def outsiders(suite: Suite, specs: Iterable[RunSpec]) -> tuple[str, ...]:
    """The methods that the suite says nothing of: they run with their own defaults."""
    return tuple(name for name in _once(s.method for s in specs) if name not in suite.methods)
