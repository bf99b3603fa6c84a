"""Learning rates of every schedule."""

from __future__ import annotations

import math

import pytest

from benchmark.engine.schedule import rate
from benchmark.spec import Recipe


def test_late_cosine_starts_late_and_stays_above_zero() -> None:
    recipe = Recipe(lr=1.0, epochs=50)
    rates = [rate(recipe, epoch) for epoch in range(50)]
    assert rates[0] == rates[1] == 1.0
    # one epoch later than lr cos(99 pi e / (200 (E - 1))), whose values at 10, 25 and 40 are known
    assert [round(rates[e + 1], 3) for e in (10, 25, 40)] == [0.95, 0.701, 0.297]
    assert rates[-1] == pytest.approx(math.cos(99 * math.pi * 48 / (200 * 49)))


def test_one_epoch_runs_at_the_base_rate() -> None:
    assert rate(Recipe(lr=0.3, epochs=1), 0) == 0.3


def test_other_schedules() -> None:
    steps = Recipe(lr=1.0, epochs=4, schedule="multistep", milestones=(2, 3), gamma=0.1)
    assert [rate(steps, e) for e in range(4)] == pytest.approx([1, 1, 0.1, 0.01])
    cosine = Recipe(lr=1.0, epochs=4, schedule="cosine")
    assert [rate(cosine, e) for e in range(4)] == pytest.approx([1, 0.8535534, 0.5, 0.1464466])
    assert rate(Recipe(lr=0.2, schedule="constant"), 7) == 0.2
