"""What a suite says of how it is tuned: the budget, and the one setting a method may choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_core import PydanticKnownError

from benchmark.spec import Recipe
from benchmark.validation import Errors, StrictModel, check_field, unknown_key

RECIPE = "training."  # before the name of a key of the recipe
LR = RECIPE + "lr"
# Where a choice lies among the values tried: inside has some on both sides, range and cap are at an
# end, because the range of the setting ends there too, or because no trial was left to go beyond;
# unordered values have no end, and where all trials failed there is no best.
End = Literal["inside", "range", "cap", "unordered", "failed"]
_NOT_SEARCHED = {
    LR: "is chosen for every method: leave it out",
    RECIPE + "epochs": "must stay the same for all values that are compared",
}


class TuningSettings(StrictModel):
    """The `tuning` block: what every method may spend."""

    validation: Annotated[
        float,
        Field(gt=0, lt=1, description="share of the training images in place of the test images"),
    ] = 0.2
    tasks: Annotated[
        int,
        Field(ge=0, description="first tasks of the stream that a trial learns; 0: all"),
    ] = 0
    rates: Annotated[int, Field(ge=1, le=20, description="trials of the learning rate")] = 4
    values: Annotated[
        int, Field(ge=1, le=20, description="trials of the setting, the value in force among them")
    ] = 3
    factor: Annotated[
        float, Field(ge=1.5, le=100, description="between neighbouring learning rates at first")
    ] = 3.0
    widen: Annotated[
        int, Field(ge=0, le=20, description="trials added to a choice that lies at an end, at most")
    ] = 4
    seeds: Annotated[int, Field(ge=1, le=100, description="runs of every trial")] = 1

    @property
    def trials(self) -> int:
        """Trials of every method before a search is widened, each with `seeds` runs."""
        return self.rates + self.values


@dataclass(frozen=True)
class Search:
    """The one setting a method chooses beside its learning rate, and the values to compare.

    name: a setting of the method, or `training.KEY` for a key of the recipe; empty: none. The
    value in force is always compared too, whether it is among `values` or not.
    """

    name: str = ""
    values: tuple[Any, ...] = ()


def read_search(given: Any, config: type, settings: Mapping[str, Any]) -> Search:
    """The `search` block of a method with this Config and these settings.

    Raises:
        pydantic.ValidationError: Names every error.
    """
    errors, found = Errors(), Search()
    if not isinstance(given, Mapping):
        raise PydanticKnownError("dict_type")
    for name, values in given.items():
        with errors.at(str(name)):
            found = Search(name, _values(name, values, config, settings))
    if len(given) > 1:
        names = ", ".join(map(str, given))
        errors.add(f"chooses one setting beside the learning rate, not {names}")
    errors.check()
    return found


def _values(name: str, values: Any, config: type, settings: Mapping[str, Any]) -> tuple[Any, ...]:
    own = [field.name for field in fields(config)]
    recipe = [RECIPE + field.name for field in fields(Recipe)]
    if name in _NOT_SEARCHED:
        raise ValueError(_NOT_SEARCHED[name])
    if name not in own and name not in recipe:
        raise ValueError(
            unknown_key(name, [key for key in own + recipe if key not in _NOT_SEARCHED])
        )
    if not isinstance(values, list) or not values:
        raise ValueError(f"must be a list of values to compare, not {values!r}")
    errors = Errors()
    found: list[Any] = []
    for index, value in enumerate(values):
        with errors.at(index):
            if name in own:
                checked = check_field(config, name, value)
                config(**{**settings, name: checked})
            else:
                checked = check_field(Recipe, name.removeprefix(RECIPE), value)
            if checked in found:
                raise ValueError(f"{value!r} is given twice")
            found.append(checked)
    errors.check()
    return tuple(found)
