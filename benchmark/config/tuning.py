"""What a suite says of how it is tuned: the budget, and the one setting a method may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from benchmark.config.convert import Problems, convert, convert_mapping, field_types, unknown_key
from benchmark.config.settings import method_settings, setting_types
from benchmark.spec import Recipe

RECIPE = "training."  # before the name of a key of the recipe
LR = RECIPE + "lr"
_NOT_SEARCHED = {
    "lr": "is chosen for every method: leave it out",
    "epochs": "must stay the same for all values that are compared",
}


@dataclass(frozen=True)
class TuningSettings:
    """The `tuning` block: what every method may spend."""

    validation: float = 0.2  # share of the training images that stands in for the test images
    rates: int = 4  # trials of the learning rate
    values: int = 3  # trials of the method's setting, the value in force among them
    factor: float = 3.0  # between neighbouring learning rates at first
    seeds: int = 1  # of every trial

    @property
    def trials(self) -> int:
        """Trials of every method, each with `seeds` runs."""
        return self.rates + self.values


@dataclass(frozen=True)
class Search:
    """The one setting a method chooses beside its learning rate, and the values to compare.

    name: a setting of the method, or `training.KEY` for a key of the recipe; empty: none. The
    value in force is always compared too, whether it is among `values` or not.
    """

    name: str = ""
    values: tuple[Any, ...] = ()


_BOUNDS = {"rates": (1, 20), "values": (1, 20), "factor": (1.5, 100), "seeds": (1, 100)}


def read_tuning(given: Mapping[str, Any], problems: Problems) -> TuningSettings:
    """The `tuning` block of a suite; faults are noted."""
    values = convert_mapping(given, field_types(TuningSettings), "tuning", problems)
    settings = TuningSettings(**values)
    if not 0 < settings.validation < 1:
        problems.add("tuning.validation", f"must lie in (0, 1), not {settings.validation}")
    for key, (low, high) in _BOUNDS.items():
        if not low <= asdict(settings)[key] <= high:
            problems.add(f"tuning.{key}", f"must lie in [{low}, {high}], not {values[key]}")
    return settings


def read_search(
    method: str,
    given: Mapping[str, Any],
    settings: Mapping[str, Any],
    training: Mapping[str, Any],
    place: str,
    problems: Problems,
) -> Search:
    """The `search` block of a method with these settings and this training; faults are noted."""
    own = setting_types(method)
    recipe = {RECIPE + key: kind for key, kind in field_types(Recipe).items()}
    searches = []
    for name, values in given.items():
        where = f"{place}.{name}"
        if name not in own and name not in recipe:
            problems.add(where, unknown_key(name, [*own, *(k for k in recipe if _allowed(k))]))
        elif name in recipe and not _allowed(name):
            problems.add(where, _NOT_SEARCHED[name.removeprefix(RECIPE)])
        elif not isinstance(values, list) or not values:
            problems.add(where, f"must be a list of values to compare, not {values!r}")
        else:
            kind = own[name] if name in own else recipe[name]
            found = _values(values, kind, where, problems)
            for index, value in found:
                at = f"{where}[{index}]"
                if name in own:
                    method_settings(method, {**settings, name: value}, at, problems)
                else:
                    _check_recipe({**training, name.removeprefix(RECIPE): value}, at, problems)
            searches.append(Search(name, tuple(value for _, value in found)))
    if len(given) > 1:
        names = ", ".join(map(str, given))
        problems.add(place, f"chooses one setting beside the learning rate, not {names}")
    return searches[0] if searches else Search()


def _allowed(name: str) -> bool:
    return name.removeprefix(RECIPE) not in _NOT_SEARCHED


def _values(values: list[Any], kind: Any, place: str, problems: Problems) -> list[tuple[int, Any]]:
    found: list[tuple[int, Any]] = []
    for index, value in enumerate(values):
        try:
            converted = convert(value, kind)
        except ValueError as error:
            problems.add(f"{place}[{index}]", error)
            continue
        if any(converted == other for _, other in found):
            problems.add(f"{place}[{index}]", f"{value!r} is given twice")
        found.append((index, converted))
    return found


def _check_recipe(training: Mapping[str, Any], place: str, problems: Problems) -> None:
    try:
        Recipe(**training)
    except ValueError as error:
        problems.add(place, error)
