"""The best set: paired t-tests with Holm's correction, and how often they split equal rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmark.report.statistics.best import ALPHA, BestSet, best_set


def best_of(table: NDArray[np.float64]) -> BestSet:
    """table [rows, seeds]."""
    return best_set([{("natural", i): x for i, x in enumerate(row)} for row in table.tolist()])


def test_holm_covers_the_comparisons_of_a_column() -> None:
    """Gaps d, and d + (-s, 0, s): t = d sqrt(3) / s with two degrees of freedom."""
    best = np.array([80.0, 81.0, 82.0])
    spread = np.array([-1.0, 0.0, 1.0])
    gaps = (4.0, 6.0, 40.0)
    found = best_of(np.array([best, *(best - gap + spread for gap in gaps)]))
    # p = 1 - t / sqrt(2 + t^2), two-sided with two degrees of freedom
    p = [1 - t / math.sqrt(2 + t * t) for t in (gap * math.sqrt(3) for gap in gaps)]
    assert p == pytest.approx([0.0202, 0.0091, 0.0002], abs=1e-4)
    assert found.p[1:] == pytest.approx([p[0], 2 * p[1], 3 * p[2]], rel=1e-6)
    assert found.best == {0}
    # Twice as many rows just behind the best: the first gap is no longer significant.
    more = [best - 0.1 * k * spread - 0.01 for k in range(1, 4)]
    found = best_of(np.array([best, *(best - gap + spread for gap in gaps), *more]))
    assert 1 in found.best
    assert 3 not in found.best


@pytest.mark.parametrize("n", [2, 3, 5])
def test_two_equal_rows_are_split_at_most_one_time_in_twenty(n: int) -> None:
    rng = np.random.default_rng(0)
    draws = 1500
    split = sum(len(best_of(70 + rng.normal(size=(2, n))).best) < 2 for _ in range(draws))
    error = math.sqrt(ALPHA * (1 - ALPHA) / draws)
    assert 0.03 <= split / draws <= ALPHA + 2.5 * error


def test_none_of_many_equal_rows_is_left_out_more_often() -> None:
    rng = np.random.default_rng(0)
    draws = 300
    out = np.zeros(10)
    for _ in range(draws):
        kept = best_of(70 + rng.normal(size=(10, 5))).best
        out += [i not in kept for i in range(10)]
    assert (out / draws).max() <= ALPHA


@pytest.mark.parametrize("rows", [2, 10])
def test_a_clear_gap_is_found(rows: int) -> None:
    rng = np.random.default_rng(0)
    level = np.array([70.0] + [60.0] * (rows - 1))[:, None]
    shared = 3 * rng.normal(size=(200, 1, 5))  # what the rows of a seed have in common
    tables = level + shared + rng.normal(size=(200, rows, 5))
    found = np.mean([len(best_of(table).best) == 1 for table in tables])
    assert found >= 0.95


def test_lower_may_be_better() -> None:
    rows = [{("", i): x for i, x in enumerate(row)} for row in ([5.0, 5.1, 4.9], [1.0, 1.2, 0.9])]
    assert best_set(rows, "lower").best == {1}
    assert best_set(rows, "higher").best == {0}


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [[]],
        [[], []],
        [[70.0], [60.0]],
        [[70.0, 71.0]],
        [[70.0, 71.0], [1.0]],
        [[70.0, math.nan], [60.0, 61.0]],
        [[math.nan, math.inf], [60.0, 61.0]],
    ],
)
def test_a_single_run_is_no_evidence(rows: list[list[float]]) -> None:
    found = best_set([{("", i): x for i, x in enumerate(row)} for row in rows])
    assert found == BestSet(lacking="fewer than two rows have two runs")


def test_rows_that_share_fewer_than_two_runs_with_the_best_are_not_tested() -> None:
    a = {("", i): 70.0 + i for i in range(3)}
    b = {("", i): 60.0 + i for i in range(3, 6)}
    assert not best_set([a, b]).best
    found = best_set([a, b, {("", i): 50.0 + 1.1 * i for i in range(3)}, {("", 0): 99.0}, {}])
    assert (found.best, found.untested, found.pairs) == ({0}, (1, 3), (3, 3))


def test_rows_without_any_noise() -> None:
    assert best_of(np.array([[70.0] * 3, [60.0] * 3])).best == {0}
    assert best_of(np.array([[70.0] * 3] * 4)).best == {0, 1, 2, 3}
    same = np.array([70.1, 71.3, 69.2])
    assert best_of(np.array([same, same, same - 5.0])).best == {0, 1}
    assert best_of(np.array([same, same + 1e-12, same - 1e-12])).best == {0, 1, 2}


def test_order_of_rows_and_unit_do_not_matter() -> None:
    table = np.random.default_rng(3).normal(size=(9, 4)) + np.arange(9)[:, None]
    kept = best_of(table)
    turned = best_of(table[::-1])
    assert {8 - i for i in turned.best} == kept.best
    assert turned.p[::-1] == pytest.approx(kept.p, nan_ok=True)
    assert best_of(1000 + 7 * table).p == pytest.approx(kept.p, rel=1e-6, nan_ok=True)
