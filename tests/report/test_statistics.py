"""The best set: how often equal methods are split and gaps found, and what it does with gaps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmark.report.statistics.best import LEVEL, BestSet, best_set, range_quantile, range_tail


def rates(
    means: list[float], stds: list[float], n: int, draws: int, shared: float = 0.0
) -> tuple[float, float]:
    """Of `draws` tables the share in which a truly best row is left out of the best, and the mean
    share of worse rows that are left out. shared: standard deviation of what all rows of a seed
    have in common.
    """
    rng = np.random.default_rng(0)
    best = np.array(means) == max(means)
    split, found = 0, 0.0
    for _ in range(draws):
        noise = np.array(stds)[:, None] * rng.normal(size=(len(means), n))
        table = np.array(means)[:, None] + noise + shared * rng.normal(size=n)
        kept = best_of(table).best
        out = np.array([i not in kept for i in range(len(means))])
        split += bool(out[best].any())
        found += float(out[~best].mean()) if (~best).any() else 0.0
    return split / draws, found / draws


def best_of(table: NDArray[np.float64]) -> BestSet:
    return best_set([dict(enumerate(row)) for row in table.tolist()])


# Limits are the promised rates with the error of so many draws: 5 % + 2.5 standard errors.
@pytest.mark.parametrize("n", [2, 3, 5])
def test_two_equal_methods_are_split_at_most_one_time_in_twenty(n: int) -> None:
    split, _ = rates([70.0, 70.0], [1.0, 1.0], n, 1500, shared=2.0)
    assert split <= LEVEL + 2.5 * math.sqrt(LEVEL * (1 - LEVEL) / 1500)
    assert split >= 0.03  # not by never finding anything


@pytest.mark.parametrize(
    ("means", "stds"),
    [
        ([70.0] * 15, [1.0] * 15),
        ([70.0, 70.0] + [67.0] * 13, [1.0, 1.0] + [0.1] * 13),  # noisier than all others
        ([70.0] * 7 + [60.0] * 8, [1.0] * 7 + [0.2] * 8),
    ],
    ids=["15 equal", "2 noisy of 15", "7 noisy of 15"],
)
def test_equal_methods_among_many_are_split_no_more_often(
    means: list[float], stds: list[float]
) -> None:
    split, _ = rates(means, stds, 5, 250)
    assert split <= LEVEL + 2.5 * math.sqrt(LEVEL * (1 - LEVEL) / 250)


@pytest.mark.parametrize("shared", [0.0, 3.0])
def test_a_gap_of_three_standard_deviations_is_found(shared: float) -> None:
    _, found = rates([70.0, 67.0], [1.0, 1.0], 5, 1000, shared)
    assert found >= 0.90


def test_the_gap_is_found_among_fifteen_methods_too() -> None:
    _, last = rates([70.0] * 14 + [67.0], [1.0] * 15, 5, 150)
    assert last >= 0.95
    _, behind = rates([70.0] + [67.0] * 14, [1.0] * 15, 5, 300)
    assert behind >= 0.88  # 0.905 in 1500 draws
    # What seeds have in common makes pairs closer: here half of each row's variance.
    half = math.sqrt(0.5)
    _, paired = rates([70.0] + [67.0] * 14, [half] * 15, 5, 100, shared=half)
    assert paired >= 0.97


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([range(5), range(2, 7)], 0.51),
        ([range(5), range(3)], 0.51),
        ([range(9 * row, 9 * row + 5) for row in range(15)], 0.41),
    ],
    ids=["three of five shared", "five against three", "15 rows without pairs"],
)
def test_runs_that_do_not_pair_find_less(runs: list[range], expected: float) -> None:
    """What the module says of its weak side: the first row is three standard deviations better."""
    rng = np.random.default_rng(0)
    draws = 1500 if len(runs) == 2 else 200
    found = 0
    for _ in range(draws):
        rows = [{run: rng.normal() for run in own} for own in runs]
        rows[0] = {run: value + 3 for run, value in rows[0].items()}
        found += len(runs) - len(best_set(rows).best | {0})
    assert found / draws / (len(runs) - 1) == pytest.approx(expected, abs=0.05)


def test_pairing_finds_what_the_spread_over_seeds_hides() -> None:
    seeds = np.array([0.0, 5.0, -4.0])
    close = np.array([70.0, 69.0])[:, None] + seeds + [[0.1, -0.1, 0.0], [0.0, 0.1, -0.1]]
    assert best_of(close).best == {0}
    rows = [dict(enumerate(close[0])), {f"other {i}": x for i, x in enumerate(close[1])}]
    apart = best_set(rows)
    assert apart.best == {0, 1}
    assert not apart.paired


def test_rows_without_common_runs_go_by_welch() -> None:
    from scipy.stats import ttest_ind

    a, b = [70.1, 70.5, 69.8, 70.0], [69.0, 69.9, 69.5]
    found = best_set([dict(enumerate(a)), {f"x{i}": v for i, v in enumerate(b)}])
    assert found.p[1] == pytest.approx(ttest_ind(a, b, equal_var=False).pvalue, rel=1e-6)
    assert found.p[0] == 1.0


def test_two_rows_are_a_paired_t_test() -> None:
    from scipy.stats import ttest_rel

    a, b = [70.1, 70.5, 69.8, 71.0], [69.0, 69.9, 69.5, 69.1]
    found = best_of(np.array([b, a]))
    assert found.p[0] == pytest.approx(ttest_rel(a, b).pvalue, rel=1e-6)
    assert found.best == ({1} if found.p[0] <= LEVEL else {0, 1})


def test_lower_may_be_better() -> None:
    rows = [{0: 5.0, 1: 5.1, 2: 4.9}, {0: 1.0, 1: 1.2, 2: 0.9}]
    assert best_set(rows, "lower").best == {1}
    assert best_set(rows, "higher").best == {0}


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{}],
        [{}, {}],
        [{0: 70.0}, {0: 60.0}],
        [{0: 70.0, 1: 71.0}],
        [{0: 70.0, 1: 71.0}, {0: 1.0}],
        [{0: 70.0, 1: math.nan}, {0: 60.0, 1: 61.0}],
        [{0: math.nan, 1: math.inf}, {0: 60.0, 1: 61.0}],
    ],
)
def test_a_single_run_is_no_evidence(rows: list[dict[int, float]]) -> None:
    found = best_set(rows)
    assert (found.best, found.tested) == (frozenset(), ())
    assert all(map(math.isnan, found.p))
    assert len(found.p) == len(rows)


def test_rows_with_one_run_stand_aside() -> None:
    found = best_set([{0: 99.0}, {0: 70.0, 1: 71.0, 2: 69.0}, {0: 50.0, 1: 51.1, 2: 49.2}, {}])
    assert (found.best, found.tested, found.single) == ({1}, (1, 2), (0,))


def test_rows_without_any_noise() -> None:
    assert best_of(np.array([[70.0] * 3, [60.0] * 3])).best == {0}
    assert best_of(np.array([[70.0] * 3] * 4)).best == {0, 1, 2, 3}
    same = np.array([70.1, 71.3, 69.2])
    assert best_of(np.array([same, same, same - 5.0])).best == {0, 1}
    assert best_of(np.array([same, same + 1e-12, same - 1e-12])).best == {0, 1, 2}


def test_partly_finished_rows_are_compared_on_common_runs() -> None:
    """The second row has only the hard seed's partners: its mean is lower, its pairs are not."""
    full = {0: 90.0, 1: 70.2, 2: 69.9, 3: 89.7}
    partial = {1: 70.1, 2: 70.0}
    found = best_set([full, partial, {0: 40.0, 1: 20.1, 2: 20.0, 3: 39.6}])
    assert found.best == {0, 1}
    assert found.paired


def test_order_of_rows_and_unit_do_not_matter() -> None:
    table = np.random.default_rng(3).normal(size=(9, 4)) + np.arange(9)[:, None]
    kept = best_of(table)
    turned = best_of(table[::-1])
    assert {8 - i for i in turned.best} == kept.best
    assert turned.p[::-1] == pytest.approx(kept.p)
    assert best_of(1000 + 7 * table).p == pytest.approx(kept.p, rel=1e-6)


def test_ranges_are_those_of_tukey_and_dunnett() -> None:
    from scipy.stats import norm, studentized_range

    for k in (2, 5, 20):
        quantile = studentized_range.ppf(1 - LEVEL, k, 1e6) / math.sqrt(2)
        assert range_quantile(LEVEL, k) == pytest.approx(quantile, abs=2e-3)
    assert range_tail(1.7, 2, 2) == pytest.approx(2 * norm.sf(1.7), rel=1e-6)
    assert range_tail(1.7, 1, 2) == pytest.approx(norm.sf(1.7), rel=1e-6)
    tails = [range_tail(2.5, s, 15) for s in range(1, 16)]
    assert tails == sorted(tails)
