"""Every metric on cases computed by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from synthetic_results import METHODS, make_predictions, make_result, make_spec

from benchmark import metrics

# Three tasks; the second gets better after the third, the first loses.
MATRIX = [[90.0], [70.0, 80.0], [60.0, 85.0, 95.0]]
COUNTS = [10, 20, 30]
JOINT = [None, None, [60.0, 70.0, 80.0]]


def test_stage_accuracies_weigh_tasks_alike() -> None:
    assert metrics.stage_accuracies(MATRIX) == [90.0, 75.0, 80.0]
    assert metrics.final_accuracy(MATRIX) == 80.0
    assert metrics.average_accuracy(MATRIX) == pytest.approx((90 + 75 + 80) / 3)


def test_weighted_accuracies_weigh_images_alike() -> None:
    stages = metrics.weighted_stage_accuracies(MATRIX, COUNTS)
    expected = [90.0, (700 + 1600) / 30, (600 + 1700 + 2850) / 60]
    assert stages == pytest.approx(expected)
    assert metrics.weighted_final_accuracy(MATRIX, COUNTS) == pytest.approx(expected[-1])
    assert metrics.weighted_average_accuracy(MATRIX, COUNTS) == pytest.approx(sum(expected) / 3)


def test_weighting_by_equal_counts_changes_nothing() -> None:
    weighted = metrics.weighted_stage_accuracies(MATRIX, [7, 7, 7])
    assert weighted == pytest.approx(metrics.stage_accuracies(MATRIX))


def test_forgetting_compares_with_the_best_stage_before_the_last() -> None:
    # task 1: max(90, 70) - 60 = 30; task 2: max(80) - 85 = -5, the last stage does not count
    assert metrics.forgetting(MATRIX) == pytest.approx((30 - 5) / 2)
    assert metrics.backward_transfer(MATRIX) == pytest.approx(((60 - 90) + (85 - 80)) / 2)
    assert metrics.new_task_accuracy(MATRIX) == pytest.approx((90 + 80 + 95) / 3)


def test_forgetting_sees_a_best_stage_in_the_middle() -> None:
    matrix = [[50.0], [70.0, 40.0], [65.0, 60.0, 90.0], [55.0, 45.0, 80.0, 30.0]]
    assert metrics.forgetting(matrix) == pytest.approx((15 + 15 + 10) / 3)


def test_single_task_has_no_forgetting() -> None:
    numbers = metrics.matrix_metrics([[75.0]], [10])
    assert numbers["final"] == numbers["average"] == numbers["new_task"] == 75.0
    assert math.isnan(numbers["forgetting"])
    assert math.isnan(numbers["backward_transfer"])


def test_missing_stages_leave_undefined_what_needs_them() -> None:
    numbers = metrics.matrix_metrics(JOINT, COUNTS)
    assert numbers.pop("final") == 70.0
    assert numbers.pop("final_weighted") == pytest.approx((600 + 1400 + 2400) / 60)
    assert all(math.isnan(value) for value in numbers.values())


def test_summary_has_the_sample_standard_deviation() -> None:
    summary = metrics.summarize([1.0, 2.0, 6.0])
    assert (summary.mean, summary.n) == (3.0, 3)
    assert summary.std == pytest.approx(math.sqrt((4 + 1 + 9) / 2))


def test_summary_of_one_none_and_undefined_values() -> None:
    one = metrics.summarize([5.0])
    assert (one.mean, one.n, math.isnan(one.std)) == (5.0, 1, True)
    none = metrics.summarize([])
    assert (math.isnan(none.mean), none.n) == (True, 0)
    some = metrics.summarize([5.0, metrics.NAN])
    assert (math.isnan(some.mean), math.isnan(some.std), some.n) == (True, True, 2)


# Two tasks of two classes; task 0 has two test images, task 1 has four.
PREDICTIONS = {
    "labels": np.array([0, 1, 2, 2, 3, 3], dtype=np.int16),
    "task_of_class": np.array([0, 0, 1, 1], dtype=np.int16),
    "task_of_image": np.array([0, 0, 1, 1, 1, 1], dtype=np.int16),
    "top_classes/0": np.array([[0, 1], [0, 1]], dtype=np.int16),
    "top_scores/0": np.ones((2, 2), dtype=np.float16),
    "known/0": np.array([0, 0], dtype=np.int16),
    # right, wrong task | right, wrong class, wrong task, right
    "top_classes/1": np.array([[0, 1], [2, 1], [2, 0], [3, 2], [0, 3], [3, 1]], dtype=np.int16),
    "top_scores/1": np.ones((6, 2), dtype=np.float16),
    "known/1": np.array([0, 1, 2, 3, 3, 3], dtype=np.int16),
}


def test_task_known_accuracy_weighs_tasks_alike() -> None:
    assert metrics.task_known_accuracy(PREDICTIONS) == pytest.approx((100 + 75) / 2)
    assert metrics.task_known_accuracy(PREDICTIONS, stage=0) == 50.0


def test_error_split() -> None:
    split = metrics.error_split(PREDICTIONS)
    assert split.wrong_task == pytest.approx((50 + 25) / 2)
    assert split.wrong_class == pytest.approx((0 + 25) / 2)
    first = metrics.error_split(PREDICTIONS, stage=0)
    assert (first.wrong_task, first.wrong_class) == (0.0, 50.0)


@pytest.mark.parametrize("method", METHODS)
def test_predictions_give_the_whole_error_of_every_stored_stage(method: str) -> None:
    spec = make_spec(method, tasks=(3, 1, 2, 2))
    result, arrays = make_result(spec)
    accuracies = metrics.stage_accuracies(result["outcome"]["accuracy"])
    for stage, accuracy in enumerate(accuracies):
        assert (f"top_classes/{stage}" in arrays) == (not math.isnan(accuracy))
        if not math.isnan(accuracy):
            split = metrics.error_split(arrays, stage)
            assert split.wrong_task + split.wrong_class == pytest.approx(100 - accuracy)


def test_predictions_of_too_few_images_are_refused() -> None:
    arrays = make_predictions(make_spec())
    arrays["top_classes/2"] = arrays["top_classes/2"][:-1]
    with pytest.raises(ValueError, match="stage 2"):
        metrics.error_split(arrays, 2)


def test_every_metric_is_computed_under_its_name() -> None:
    numbers = metrics.matrix_metrics(MATRIX, COUNTS) | metrics.prediction_metrics(PREDICTIONS)
    assert list(numbers) == list(metrics.METRICS)
    assert numbers["forgetting"] == metrics.forgetting(MATRIX)
    assert numbers["wrong_task"] == metrics.error_split(PREDICTIONS).wrong_task


@pytest.mark.parametrize("metric", metrics.METRICS.values(), ids=lambda metric: metric.name)
def test_the_readme_defines_it_under_its_title(metric: metrics.Metric[...]) -> None:
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text("utf-8")
    names = [line.split("|")[1] for line in readme.splitlines() if line.startswith("| ")]
    assert any(metric.title.lower() in name for name in names)
