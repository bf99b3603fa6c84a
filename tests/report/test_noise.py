"""Noise intervals: right by hand, seldom wrong where nothing moved, and able to see what did."""

from __future__ import annotations

import math
from statistics import fmean

import numpy as np
import pytest
from scipy import stats

from benchmark.report.statistics import noise


def test_alone_it_is_the_ordinary_paired_t_interval() -> None:
    differences = [0.3, -0.1, 0.4, 0.2]
    (half,) = noise.half_widths([noise.paired(differences, 0.0)], 1)
    low, high = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    assert half == pytest.approx((high - low) / 2)
    assert fmean(differences) - half == pytest.approx(low)


def test_alone_it_is_the_ordinary_two_sample_t_interval() -> None:
    first, second = [50.0, 52.0, 51.5], [53.0, 55.0]
    (half,) = noise.half_widths([noise.unpaired(first, second, 0.0)], 1)
    low, high = stats.ttest_ind(second, first).confidence_interval(0.95)
    assert half == pytest.approx((high - low) / 2)


def test_many_cells_widen_the_interval() -> None:
    spread = noise.paired([0.3, -0.1, 0.4], 0.0)
    one, many = (noise.half_widths([spread], tests)[0] for tests in (1, 100))
    assert many == pytest.approx(one * stats.t.ppf(1 - 0.00025, 2) / stats.t.ppf(0.975, 2))


def test_spread_that_happens_to_be_nothing_is_not_believed() -> None:
    assert noise.paired([0.02, 0.02, 0.02], 0.05).variance == pytest.approx(0.0025)
    alike = [noise.Spread(v, 2, 1 / 3) for v in (1.0, 1.2, 0.9, 1.1, 0.1)]
    *_, last = widths = noise.half_widths(alike, 1)
    (alone,) = noise.half_widths(alike[-1:], 1)
    assert last > 0.5 * widths[0] > alone / 4.3 * 1.96  # drawn up, though with more certainty


def test_prior_of_spreads_that_are_alike_is_their_mean() -> None:
    rng = np.random.default_rng(0)
    draws = 4.0 * rng.chisquare(3, 4000) / 3
    prior, weight = noise._prior([noise.Spread(float(v), 3, 0.25) for v in draws])
    assert prior == pytest.approx(4.0, rel=0.05)
    assert weight > 50


def test_prior_of_spreads_that_differ_is_recovered() -> None:
    rng = np.random.default_rng(1)
    true = 4.0 * 6 / rng.chisquare(6, 6000)  # scaled inverse chi-square with 6 degrees
    draws = true * rng.chisquare(2, 6000) / 2
    prior, weight = noise._prior([noise.Spread(float(v), 2, 1 / 3) for v in draws])
    assert prior == pytest.approx(4.0, rel=0.1)
    assert weight == pytest.approx(6, rel=0.2)


@pytest.mark.parametrize("value", [1e-6, 0.01, 0.5, 1.0, 3.0, 1e4])
def test_inverse_of_trigamma(value: float) -> None:
    from scipy.special import polygamma

    assert float(polygamma(1, noise.trigamma_inverse(value))) == pytest.approx(value, rel=1e-6)


def campaign(rng: np.random.Generator, cells: int, uneven: float) -> list[list[float]]:
    """Paired differences of three seeds in many cells in which nothing moved."""
    spreads = np.exp(rng.normal(0, uneven, cells))
    return [list(rng.normal(0, spread, 3)) for spread in spreads]


def moved(cells: list[list[float]]) -> list[bool]:
    halves = noise.half_widths([noise.paired(cell, 0.01) for cell in cells], len(cells))
    return [abs(fmean(cell)) > half for cell, half in zip(cells, halves, strict=True)]


@pytest.mark.parametrize("uneven", [0.0, 0.3, 0.6])
def test_where_nothing_moved_little_is_found(uneven: float) -> None:
    """No more than 5 % of campaigns show any moved cell, within the error of 300 trials."""
    rng = np.random.default_rng(2)
    wrong = sum(any(moved(campaign(rng, 60, uneven))) for _ in range(300))
    assert wrong / 300 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 300)


def test_a_clear_loss_of_one_method_is_found() -> None:
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(100):
        cells = campaign(rng, 60, 0.3)
        cells[7] = [difference - 10 for difference in rng.normal(0, 1, 3)]
        found += moved(cells)[7]
    assert found >= 90


# -- one run a side -----------------------------------------------------------------------------


def test_variance_of_the_final_accuracy_is_binomial() -> None:
    rows = [[80.0], [60.0, 70.0]]
    expected = (2400 / 100 + 2100 / 50) / 4
    assert noise.image_variance("final", rows, [100, 50]) == pytest.approx(expected)
    first = 1600 / 100
    average = ((math.sqrt(first) + math.sqrt(expected)) / 2) ** 2
    assert noise.image_variance("average", rows, [100, 50]) == pytest.approx(average)
    forgetting = 1600 / 100 + 2400 / 100
    assert noise.image_variance("forgetting", rows, [100, 50]) == pytest.approx(forgetting)


def test_variance_with_stages_missing_or_all_right() -> None:
    assert noise.image_variance("average", [None, [60.0, 70.0]], [100, 50]) > 0
    assert 0 < noise.image_variance("final", [[100.0]], [10]) < 100
