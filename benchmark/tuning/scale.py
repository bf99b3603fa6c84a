"""Values that have an order, and the next one beyond the outermost of those tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_MOST_DIGITS = 17  # of a float
_SHARE_FROM = 0.5  # from here on to 1, what counts of a value is how much it lacks


@dataclass(frozen=True)
class Scale:
    """The numbers that values stand for.

    whole: numbers are integers. key: of the number in values that are mappings, whose other numbers
    are those of `rest`; empty where values are the numbers themselves.
    """

    whole: bool
    key: str = ""
    rest: Mapping[str, Any] | None = None

    def number(self, value: Any) -> float:
        """The number of a value."""
        found: float = value[self.key] if self.key else value
        return found

    def value(self, number: float) -> Any:
        """The value of a number."""
        plain = int(number) if self.whole else float(number)
        return {**(self.rest or {}), self.key: plain} if self.key else plain


def scale_of(values: Sequence[Any]) -> Scale | None:
    """The scale of numbers, or of mappings of numbers that differ in one of them.

    None where values have no order: truth values, words, lists, anything mixed.
    """
    if values and all(map(_is_number, values)):
        return Scale(_whole(values))
    if not values or not all(map(_is_mapping, values)):
        return None
    first = values[0]
    if any(value.keys() != first.keys() for value in values):
        return None
    keys = [key for key in first if any(value[key] != first[key] for value in values)]
    if len(values) == 1:
        keys = list(first)
    if len(keys) != 1:
        return None
    (key,) = keys
    return Scale(_whole([value[key] for value in values]), key, first)


def next_beyond(
    numbers: Sequence[float], up: bool, scale: Scale, fits: Callable[[Any], bool]
) -> float | None:
    """The number that follows the largest of those tried, or the smallest.

    The step is that between the two outermost numbers: their ratio; from a half to 1 the ratio of
    what they lack of 1 (0.9, 0.95, 0.975); where one is zero or the signs differ their difference.
    Where the step leads out of the range, the last number before its end with two digits is taken.

    Args:
        numbers: Those tried, two or more.
        up: Beyond the largest, not the smallest.
        scale: What values the numbers stand for.
        fits: Whether a value is in the range of its setting.

    Returns:
        None where the range has nothing beyond.
    """
    inner, outer = sorted(numbers, reverse=not up)[-2:]
    wanted = _step(inner, outer, scale.whole)
    if not math.isfinite(wanted) or wanted == outer:
        return None
    candidates = (wanted, *_between(outer, wanted, scale.whole))
    return next((number for number in candidates if fits(scale.value(number))), None)


def rounded(number: float, digits: int = 2) -> float:
    """To two significant digits, as people write settings."""
    return float(f"{number:.{digits}g}")


def _step(inner: float, outer: float, whole: bool) -> float:
    """From the second number over the last one to the next, in as few digits as lead beyond."""
    up = outer > inner
    if whole:
        near = round(_extrapolated(inner, outer))
        return max(near, outer + 1) if up else min(near, outer - 1)
    lack = 0.0
    if all(_SHARE_FROM <= number < 1 for number in (inner, outer)):
        lack = (1 - outer) ** 2 / (1 - inner)
    share = 0 < lack < 1
    exact = lack if share else _extrapolated(inner, outer)
    for digits in range(2, _MOST_DIGITS + 1):
        wanted = rounded(exact, digits)
        wanted = rounded(1 - wanted, _MOST_DIGITS - 2) if share else wanted
        if wanted > outer if up else wanted < outer:
            return wanted
    return outer


def _extrapolated(inner: float, outer: float) -> float:
    return outer * (outer / inner) if inner * outer > 0 else 2 * outer - inner


def _between(outer: float, wanted: float, whole: bool) -> Iterator[float]:
    """Positive numbers of two digits between two numbers, from the second one on."""
    low, high = sorted((outer, wanted))
    least = max(low, 1.0) if whole else low
    if not least > 0 or not high > least:
        return
    decades = range(math.floor(math.log10(least)) - 1, math.floor(math.log10(high)))
    found = [float(f"{digits}e{decade}") for decade in decades for digits in range(10, 100)]
    yield from sorted(
        (n for n in found if low < n < high and (n.is_integer() or not whole)),
        reverse=wanted > outer,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _whole(numbers: Sequence[Any]) -> bool:
    return all(isinstance(number, int) for number in numbers)


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_number, value.values()))
