"""Where values stand on an axis, and its ticks: linear, tasks in order, logarithmic with a zero."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmark.report.figures.numbers import round_sizes, size_text

_LEAST_SPAN = 5.0  # percent: a smaller spread of accuracies is not blown up
_MOST_TASKS = 10  # ticks


@dataclass(frozen=True)
class Axis:
    """name: with its unit; low, high: ends, as `place` gives them; ticks: place and text."""

    name: str
    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool = False
    zero: float = 0.0  # where 0 stands on a logarithmic axis

    def place(self, value: float) -> float:
        """A value on the axis, from `low` to `high`."""
        if not self.logarithmic:
            return value
        return math.log10(value) if value > 0 else self.zero

    def share(self, value: float) -> float:
        """A value's place as a share of the axis."""
        return (self.place(value) - self.low) / (self.high - self.low)


def percent_axis(name: str, values: Iterable[float], least: float = 0.0) -> Axis:
    """Around all values, between round numbers from `least` to 100."""
    known = list(values)
    low, high = max(min(known), least), min(max(known), 100.0)
    lack = max(0.0, _LEAST_SPAN - (high - low)) / 2
    low, high = max(low - lack, least), min(high + lack, 100.0)
    step = next(s for s in (1, 2, 5, 10, 20, 50) if s == 50 or (high - low) / s <= 6)
    first, last = math.floor(low / step), math.ceil(high / step)
    ticks = tuple((float(i * step), str(i * step)) for i in range(first, last + 1))
    return Axis(name, first * step, last * step, ticks)


def task_axis(name: str, count: int) -> Axis:
    """1 to `count`, ten ticks or fewer."""
    steps = (s for s in (1, 2, 5, 10, 20, 50, 100) if count <= _MOST_TASKS * s)
    step = next(steps, count)
    places = sorted({1, *range(step, count + 1, step)})
    margin = max(0.3, 0.03 * count)
    return Axis(name, 1 - margin, count + margin, tuple((float(i), str(i)) for i in places))


def cost_axis(name: str, values: Sequence[float]) -> Axis:
    """A logarithmic axis with a slot at its left edge for what costs nothing."""
    sizes = [value for value in values if value > 0]
    if not sizes:
        return Axis(name, -1, 1, ((0.0, "0"),))
    low, high = math.log10(min(sizes)), math.log10(max(sizes))
    gap = max(math.log10(3), (high - low) / 4)
    round_ones = round_sizes(min(sizes), max(sizes))
    ticks = [(math.log10(value), size_text(value)) for value in round_ones]
    free = len(sizes) == len(values)
    start = low if free else low - gap
    margin = max(high - start, 0.3) * 0.06
    zero = [] if free else [(start, "0")]
    return Axis(name, start - margin, high + margin, (*zero, *ticks), True, start)
