"""What a suite says of one method: its training, its settings, and where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.config.convert import Problems, convert_mapping, field_types
from benchmark.config.names import check_name, check_names
from benchmark.config.settings import method_settings
from benchmark.config.tuning import Search, read_search
from benchmark.spec import Recipe


@dataclass(frozen=True)
class Situation:
    """Where a run takes place: what the settings of a method may depend on."""

    dataset: str
    backbone: str
    tasks: int  # how many


@dataclass(frozen=True)
class Case:
    """What a method does otherwise where every condition holds; an empty one always does."""

    dataset: tuple[str, ...] = ()
    backbone: tuple[str, ...] = ()
    tasks: tuple[int, ...] = ()  # numbers of tasks
    training: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def holds(self, at: Situation) -> bool:
        """Whether a run is one of those meant."""
        return (
            at.dataset in (self.dataset or (at.dataset,))
            and at.backbone in (self.backbone or (at.backbone,))
            and at.tasks in (self.tasks or (at.tasks,))
        )


@dataclass(frozen=True)
class MethodPlan:
    """A method of a suite: what it changes of the suite's training, and its own settings."""

    name: str
    training: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    when: tuple[Case, ...] = ()
    search: Search = field(default_factory=Search)  # for `clbench tune` alone

    def at(self, situation: Situation) -> tuple[dict[str, Any], dict[str, Any]]:
        """Training and settings of a run; of several cases that hold, the last one wins."""
        cases = [case for case in self.when if case.holds(situation)]
        training, settings = dict(self.training), dict(self.settings)
        for case in cases:
            training |= case.training
            settings |= case.settings
        return training, settings


_CONDITIONS = ("dataset", "backbone", "tasks")
_BLOCKS = {"training": Mapping[str, Any], "settings": Mapping[str, Any]}
_KEYS = {**_BLOCKS, "when": tuple[Mapping[str, Any], ...], "search": Mapping[str, Any]}


def read_method(
    name: str, entry: Any, training: Mapping[str, Any], problems: Problems
) -> MethodPlan:
    """The entry of a method in a suite whose own training is `training`; faults are noted."""
    place = f"methods.{name}"
    try:
        check_name("method", name)
    except ValueError as error:
        problems.add(place, error)
        return MethodPlan(name)
    if not isinstance(entry or {}, Mapping):
        problems.add(place, f"must hold `training` and `settings`, not {entry!r}")
        return MethodPlan(name)
    given = {key: value for key, value in (entry or {}).items() if value is not None}
    if isinstance(given.get("when"), Mapping):
        given["when"] = [given["when"]]
    blocks = convert_mapping(given, _KEYS, place, problems)
    settings = blocks.get("settings", {})
    method_settings(name, settings, f"{place}.settings", problems)
    changed = read_training(blocks.get("training", {}), training, f"{place}.training", problems)
    plan = MethodPlan(name, changed, settings)
    cases = tuple(
        _read_case(plan, case, training, f"{place}.when[{index}]", problems)
        for index, case in enumerate(blocks.get("when", ()))
    )
    search = read_search(
        name,
        blocks.get("search", {}),
        settings,
        {**training, **changed},
        f"{place}.search",
        problems,
    )
    return MethodPlan(name, changed, settings, cases, search)


def read_training(
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


def _read_case(
    plan: MethodPlan,
    entry: Mapping[str, Any],
    training: Mapping[str, Any],
    place: str,
    problems: Problems,
) -> Case:
    listed = {
        key: [value] if key in _CONDITIONS and not isinstance(value, list) else value
        for key, value in entry.items()
    }
    found = convert_mapping(listed, field_types(Case), place, problems)
    if not any(listed.get(key) for key in _CONDITIONS):
        problems.add(place, f"must name what it depends on: {', '.join(_CONDITIONS)}")
    if not any(listed.get(key) for key in _BLOCKS):
        problems.add(place, "must change something: training or settings")
    for kind in ("dataset", "backbone"):
        check_names(kind, found.get(kind, ()), f"{place}.{kind}", problems)
    for count in found.get("tasks", ()):
        if count < 1:
            problems.add(f"{place}.tasks", f"must be at least 1, not {count}")
    settings = found.get("settings", {})
    method_settings(plan.name, {**plan.settings, **settings}, f"{place}.settings", problems)
    base = {**training, **plan.training}
    changed = read_training(found.get("training", {}), base, f"{place}.training", problems)
    return Case(**{**found, "training": changed})
