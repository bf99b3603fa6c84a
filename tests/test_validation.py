"""Strict models: nothing is converted silently, and every error names its location."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from pydantic import Field, ValidationError

from benchmark.validation import (
    Errors,
    OneOrMore,
    StrictModel,
    check_field,
    check_fields,
    messages,
)


class Inner(StrictModel):
    rate: float = 1.0
    names: Annotated[tuple[str, ...], OneOrMore(least=1)] = ("a",)


class Outer(StrictModel):
    inner: Mapping[str, Inner]
    flag: bool = False
    pair: tuple[int, int] = (0, 0)


@dataclass(frozen=True)
class Plain:
    count: Annotated[int, Field(ge=1)] = 1
    layers: tuple[int, ...] = ()


def errors_of(values: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(values)
    return dict(messages(caught.value))


def test_lists_make_tuples_whole_numbers_floats_and_one_value_a_list() -> None:
    read = Outer.model_validate({"inner": {"x": {"rate": 2, "names": "b"}}, "pair": [1, 2]})
    assert (read.inner["x"].rate, read.inner["x"].names, read.pair) == (2.0, ("b",), (1, 2))
    assert type(read.inner["x"].rate) is float


def test_all_errors_of_all_depths_are_named_at_once() -> None:
    found = errors_of(
        {"inner": {"x": {"rte": 1, "rate": True, "names": []}, "y": 3}, "flag": 1, "pair": [1, "2"]}
    )
    assert found.keys() == {
        "inner.x.rte", "inner.x.rate", "inner.x.names", "inner.y", "flag", "pair[1]",
    }  # fmt: skip
    assert "did you mean 'rate'?" in found["inner.x.rte"]
    assert found["pair[1]"] == "must be a whole number, not '2'"


def test_some_fields_of_a_dataclass() -> None:
    assert check_fields(Plain, {"layers": [1, 2]}) == {"layers": (1, 2)}
    assert check_field(Plain, "count", 3) == 3
    with pytest.raises(ValueError, match=r"^\[1\] must be a whole number, not 'x'$"):
        check_field(Plain, "layers", [1, "x"])
    with pytest.raises(ValidationError) as caught:
        check_fields(Plain, {"count": 0, "layer": [1]})
    assert [location for location, _ in messages(caught.value)] == ["count", "layer"]


def test_an_error_is_collected_once() -> None:
    errors = Errors()
    for _ in range(2):
        with errors.at("--set", 0):
            raise ValueError("odd")
    with errors.at("inner"):
        Inner.model_validate({"rate": "x"})
    with pytest.raises(ValidationError) as caught:
        errors.check()
    assert [location for location, _ in messages(caught.value)] == ["--set[0]", "inner.rate"]
