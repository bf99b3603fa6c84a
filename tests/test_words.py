"""Durations, sizes and counts in words."""

from __future__ import annotations

import pytest

from benchmark.words import duration, inflected, plural, size, time_unit


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (200, "3 min 20 s"),
        (7500, "2 h 05 min"),
        (1e6, "12 days"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1000, "1.0 kB"), (999_960, "1.0 MB"), (2.2e12, "2.2 TB")],
)
def test_sizes(count: float, text: str) -> None:
    assert size(count) == text


def test_counts() -> None:
    assert [plural(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
    assert plural(3, "class", "classes") == "3 classes"
    assert [inflected(n, "seed") for n in (1, 2)] == ["seed", "seeds"]


@pytest.mark.parametrize(("longest", "unit"), [(90, "s"), (120, "min"), (8000, "h")])
def test_the_unit_of_time_suits_the_longest(longest: float, unit: str) -> None:
    assert time_unit(longest)[0] == unit
