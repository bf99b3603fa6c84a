"""The next value beyond the outermost of those tried."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark.tuning.scale import next_beyond, scale_of


def beyond(values: list[Any], up: bool, low: float = -1e12, high: float = 1e12) -> Any:
    """The next value, or None where the range ends."""
    scale = scale_of(values)
    assert scale is not None
    numbers = [scale.number(value) for value in values]
    found = next_beyond(numbers, up, scale, lambda value: low <= scale.number(value) <= high)
    return None if found is None else scale.value(found)


@pytest.mark.parametrize(
    ("values", "above", "below"),
    [
        ([1.0, 10.0, 100.0], 1000.0, 0.1),  # the ratio of the last two
        ([0.003, 0.01, 0.03], 0.09, 0.0009),
        ([0.9, 0.95, 0.99], 0.998, 0.8),  # of what they lack of 1
        ([0.9, 0.97, 0.99], 0.9967, 0.67),
        ([0.67, 0.9], 0.97, 0.5),  # which may not pass zero
        ([0.5, 1.0], 2.0, 0.25),  # 1 lacks nothing
        ([0.0, 0.1], 0.2, -0.1),  # no ratio: the difference
        ([-1.0, -10.0], -0.1, -100.0),
        ([1, 3, 5], 8, 0),  # whole numbers
        ([10, 11], 12, 9),
        ([1.0, 1.001], 1.002, 0.999),  # as many digits as lead beyond
        ([{"heads": 3.0, "body": 1.0}, {"heads": 10.0, "body": 1.0}],
         {"heads": 33.0, "body": 1.0}, {"heads": 0.9, "body": 1.0}),
    ],
)  # fmt: skip
def test_the_step_is_that_between_the_two_outermost(values: Any, above: Any, below: Any) -> None:
    assert beyond(values, True) == above
    assert beyond(values, False) == below
    assert beyond(values[::-1], True) == above  # in whatever order they were tried
    assert type(beyond(values, True)) is type(values[0])


@pytest.mark.parametrize(
    ("values", "up", "low", "high", "expected"),
    [
        ([10.0, 50.0], True, 0, 100, 100.0),  # not past the end, but there
        ([50.0, 100.0], True, 0, 100, None),
        ([0.2, 0.6], True, 0, 0.9999, 0.99),  # an end that does not belong to the range
        ([2.0, 10.0], False, 1, 10, 1.0),
        ([1, 3, 5], False, 1, 10, None),
        ([3, 8], True, 1, 10, 10),
        ([0.0, 0.1], False, 0, 1, None),
    ],
)
def test_the_range_ends_the_search(
    values: Any, up: bool, low: float, high: float, expected: Any
) -> None:
    assert beyond(values, up, low, high) == expected


@pytest.mark.parametrize(
    "values",
    [
        [],
        [True, False],
        ["a", "b"],
        [(1, 2), (3, 4)],
        [1.0, "a"],
        [1.0, None],
        [{}, {"heads": 1.0}],
        [{"heads": 1.0, "body": 1.0}, {"heads": 2.0, "body": 2.0}],
        [{"heads": "a"}, {"heads": "b"}],
    ],
)
def test_what_has_no_order(values: Any) -> None:
    assert scale_of(values) is None
