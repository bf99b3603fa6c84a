"""Every metric, defined once: pure functions of the accuracy matrix or of stored predictions.

Notation: T tasks; a[i][j] is the accuracy in percent on the test images of task j after training on
task i (j <= i, both 0-based here, 1-based in the formulas); n[j] is the number of test images of
task j. A row of the matrix is None when that stage was not evaluated, as for joint training, which
has the last row only. A value that is not defined is nan, never 0: forgetting with a single task,
an average with missing rows.

A metric is one row of `FROM_ACCURACY` or `FROM_PREDICTIONS`: results, tables, figures and
explanations take everything about it from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Generic, Literal, NamedTuple, ParamSpec, TypeAlias

import numpy as np
from numpy.typing import NDArray

Accuracy: TypeAlias = Sequence[Sequence[float] | None]
# As in `predictions.npz`, see `benchmark.results.store`.
Predictions: TypeAlias = Mapping[str, NDArray[Any]]
P = ParamSpec("P")

NAN = float("nan")


@dataclass(frozen=True)
class Metric(Generic[P]):
    """One number of a finished run: what it is called, how it is computed and shown.

    label: short name, for a column of a table; unit: of value / scale, which is what is shown, with
    `decimals`; explanation: the formula, or what is counted; function: computes the value.
    """

    name: str
    title: str
    label: str
    unit: str
    better: Literal["higher", "lower"]
    explanation: str
    function: Callable[P, float]
    scale: float = 1.0
    decimals: int = 2


# -- from the accuracy matrix -------------------------------------------------------------------


def stage_accuracies(accuracy: Accuracy) -> list[float]:
    """ACC_i = 1/i sum_{j<=i} a[i][j] for every stage i; nan where a stage was not evaluated."""
    return [NAN if row is None else fmean(row) for row in accuracy]


def weighted_stage_accuracies(accuracy: Accuracy, test_counts: Sequence[int]) -> list[float]:
    """ACCw_i = sum_{j<=i} n[j] a[i][j] / sum_{j<=i} n[j], every image alike; nan as above."""
    return [
        NAN if row is None else _weighted_mean(row, test_counts[: len(row)]) for row in accuracy
    ]


def final_accuracy(accuracy: Accuracy) -> float:
    """ACC_T: the unweighted mean over all tasks after the last one."""
    return stage_accuracies(accuracy)[-1]


def average_accuracy(accuracy: Accuracy) -> float:
    """1/T sum_i ACC_i; nan when a stage was not evaluated."""
    return _mean(stage_accuracies(accuracy))


def weighted_final_accuracy(accuracy: Accuracy, test_counts: Sequence[int]) -> float:
    """ACCw_T: the share of all test images that is right after the last task, in percent."""
    return weighted_stage_accuracies(accuracy, test_counts)[-1]


def weighted_average_accuracy(accuracy: Accuracy, test_counts: Sequence[int]) -> float:
    """1/T sum_i ACCw_i; nan when a stage was not evaluated."""
    return _mean(weighted_stage_accuracies(accuracy, test_counts))


def forgetting(accuracy: Accuracy) -> float:
    """1/(T-1) sum_{j<T} (max_{j<=i<T} a[i][j] - a[T][j]); negative when old tasks got better.

    nan with a single task and when a stage was not evaluated.
    """
    return _mean(forgetting_by_task(accuracy))


def backward_transfer(accuracy: Accuracy) -> float:
    """1/(T-1) sum_{j<T} (a[T][j] - a[j][j]); nan as for forgetting."""
    rows = _complete(accuracy)
    *earlier, last = rows or [[]]
    return _mean([last[j] - row[j] for j, row in enumerate(earlier)])


def new_task_accuracy(accuracy: Accuracy) -> float:
    """1/T sum_j a[j][j], each task right after it was learned; nan when a stage is missing."""
    return _mean([row[-1] for row in _complete(accuracy)])


def forgetting_by_task(accuracy: Accuracy) -> list[float]:
    """max_{j<=i<T} a[i][j] - a[T][j] for every task j < T; all nan when a stage is missing."""
    rows = _complete(accuracy)
    if not rows:
        return [NAN] * (len(accuracy) - 1)
    *earlier, last = rows
    return [max(row[j] for row in earlier[j:]) - last[j] for j in range(len(earlier))]


# -- from stored predictions --------------------------------------------------------------------


class ErrorSplit(NamedTuple):
    """The error in percent in two parts; they sum to 100 - ACC of the same stage."""

    wrong_task: float
    wrong_class: float


def stages(predictions: Predictions) -> list[int]:
    """The 0-based stages that predictions are stored of, in order."""
    return sorted(int(name.partition("/")[2]) for name in predictions if "top_classes/" in name)


def task_accuracies(predictions: Predictions, stage: int) -> list[float]:
    """Accuracy in percent on each task seen at a 0-based stage."""
    return _per_task(_right(predictions, stage), predictions, stage)


def task_known_accuracy(predictions: Predictions, stage: int | None = None) -> float:
    """Percent right when the choice is limited to the image's own task, mean over the tasks seen.

    stage: 0-based, the last evaluated one by default.
    """
    stage = _last(predictions, stage)
    known = predictions[f"known/{stage}"]
    right = known == predictions["labels"][: len(known)]
    return fmean(_per_task(right, predictions, stage))


def error_split(predictions: Predictions, stage: int | None = None) -> ErrorSplit:
    """Error by wrong task and by wrong class within the right task, means over the tasks seen.

    stage: 0-based, the last evaluated one by default.
    """
    stage = _last(predictions, stage)
    tasks = predictions["task_of_class"]
    guess = predictions[f"top_classes/{stage}"][:, 0]
    elsewhere = tasks[guess] != tasks[predictions["labels"][: len(guess)]]
    within = ~elsewhere & ~_right(predictions, stage)
    return ErrorSplit(
        wrong_task=fmean(_per_task(elsewhere, predictions, stage)),
        wrong_class=fmean(_per_task(within, predictions, stage)),
    )


def task_confusion(predictions: Predictions, stage: int | None = None) -> NDArray[np.float64]:
    """Percent of each task's images whose best class is one of each task.

    Rows: the images' own tasks; columns: tasks of the best class; float64 [i + 1, i + 1] for stage
    i. A task without images has a row of nan. stage: 0-based, the last evaluated one by default.
    Raises ValueError when the predictions are not those of all images of the stage's tasks.
    """
    stage = _last(predictions, stage)
    guess = predictions[f"top_classes/{stage}"][:, 0]
    own = _images_of_stage(predictions, stage, len(guess))
    size = stage + 1
    into = predictions["task_of_class"][guess]
    if into.max(initial=0) > stage:
        raise ValueError(
            f"stage {stage}: predictions of classes not seen before stage {into.max()}"
        )
    counts = np.bincount(own * size + into, minlength=size * size).reshape(size, size)
    with np.errstate(invalid="ignore"):
        shares: NDArray[np.float64] = 100 * counts / counts.sum(axis=1, keepdims=True)
    return shares


# -- the metrics --------------------------------------------------------------------------------


def _unweighted(
    function: Callable[[Accuracy], float],
) -> Callable[[Accuracy, Sequence[int]], float]:
    """The function with the number of test images as a second argument that it does not need."""
    return lambda accuracy, test_counts: function(accuracy)


FROM_ACCURACY: tuple[Metric[[Accuracy, Sequence[int]]], ...] = (
    Metric(
        "final",
        "Final accuracy",
        "Final",
        "%",
        "higher",
        "ACC_T = 1/T sum_j a[T][j]",
        _unweighted(final_accuracy),
    ),
    Metric(
        "average",
        "Average accuracy",
        "Average",
        "%",
        "higher",
        "1/T sum_i ACC_i",
        _unweighted(average_accuracy),
    ),
    Metric(
        "final_weighted",
        "Final accuracy over images",
        "Final over images",
        "%",
        "higher",
        "ACCw_T = sum_j n[j] a[T][j] / sum_j n[j]",
        weighted_final_accuracy,
    ),
    Metric(
        "average_weighted",
        "Average accuracy over images",
        "Average over images",
        "%",
        "higher",
        "1/T sum_i ACCw_i",
        weighted_average_accuracy,
    ),
    Metric(
        "forgetting",
        "Forgetting",
        "Forgetting",
        "%",
        "lower",
        "1/(T-1) sum_{j<T} (max_{j<=i<T} a[i][j] - a[T][j])",
        _unweighted(forgetting),
    ),
    Metric(
        "backward_transfer",
        "Backward transfer",
        "Backward transfer",
        "%",
        "higher",
        "1/(T-1) sum_{j<T} (a[T][j] - a[j][j])",
        _unweighted(backward_transfer),
    ),
    Metric(
        "new_task",
        "New-task accuracy",
        "New task",
        "%",
        "higher",
        "1/T sum_j a[j][j]",
        _unweighted(new_task_accuracy),
    ),
)
FROM_PREDICTIONS: tuple[Metric[[Predictions]], ...] = (
    Metric(
        "task_known",
        "Task-known accuracy",
        "Task known",
        "%",
        "higher",
        "1/T sum_j share of task j's images whose best class within task j is right, after T",
        task_known_accuracy,
    ),
    Metric(
        "wrong_task",
        "Error: wrong task",
        "Wrong task",
        "%",
        "lower",
        "1/T sum_j share of task j's images put into a class of another task, after T",
        lambda predictions: error_split(predictions).wrong_task,
    ),
    Metric(
        "wrong_class",
        "Error: wrong class within the task",
        "Wrong class",
        "%",
        "lower",
        "1/T sum_j share of task j's images put into another class of task j, after T",
        lambda predictions: error_split(predictions).wrong_class,
    ),
)
METRICS: dict[str, Metric[...]] = {
    **{metric.name: metric for metric in FROM_ACCURACY},
    **{metric.name: metric for metric in FROM_PREDICTIONS},
}


def matrix_metrics(accuracy: Accuracy, test_counts: Sequence[int]) -> dict[str, float]:
    """All metrics that need the accuracy matrix only, by name."""
    return {metric.name: metric.function(accuracy, test_counts) for metric in FROM_ACCURACY}


def prediction_metrics(predictions: Predictions) -> dict[str, float]:
    """All metrics that need stored predictions, after the last stage, by name."""
    return {metric.name: metric.function(predictions) for metric in FROM_PREDICTIONS}


# -- over seeds ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Summary:
    """Mean and sample standard deviation (divisor n - 1) over n runs; std is nan for n = 1."""

    mean: float
    std: float
    n: int


def summarize(values: Iterable[float]) -> Summary:
    """Summary of one value per run; an undefined value among them makes mean and std undefined."""
    numbers = list(values)
    if not numbers or any(math.isnan(value) for value in numbers):
        return Summary(NAN, NAN, len(numbers))
    return Summary(fmean(numbers), stdev(numbers) if len(numbers) > 1 else NAN, len(numbers))


# -- helpers ------------------------------------------------------------------------------------


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else NAN


def _weighted_mean(values: Sequence[float], weights: Sequence[int]) -> float:
    return sum(v * w for v, w in zip(values, weights, strict=True)) / sum(weights)


def _complete(accuracy: Accuracy) -> list[Sequence[float]]:
    """The rows, or none at all when one is missing."""
    rows = [row for row in accuracy if row is not None]
    return rows if len(rows) == len(accuracy) else []


def _last(predictions: Predictions, stage: int | None) -> int:
    if stage is not None:
        return stage
    return stages(predictions)[-1]


def _right(predictions: Predictions, stage: int) -> NDArray[np.bool_]:
    """Bool [n_i]: is the best class the right one, for the images of the tasks up to the stage."""
    guess = predictions[f"top_classes/{stage}"][:, 0]
    right: NDArray[np.bool_] = guess == predictions["labels"][: len(guess)]
    return right


def _per_task(marks: NDArray[np.bool_], predictions: Predictions, stage: int) -> list[float]:
    """Percent of marked images in each of the tasks 0 .. stage; marks: bool [n_i]."""
    of_image = _images_of_stage(predictions, stage, len(marks))
    counts = np.bincount(of_image, minlength=stage + 1)
    marked = np.bincount(of_image, weights=marks, minlength=stage + 1)
    return [float(share) for share in 100 * marked / counts]


def _images_of_stage(predictions: Predictions, stage: int, count: int) -> NDArray[np.int64]:
    """Tasks of the `count` images that were predicted at the stage; int64 [n_i]."""
    task_of_image = predictions["task_of_image"]
    expected = int((task_of_image <= stage).sum())
    if count != expected:
        raise ValueError(f"stage {stage}: predictions of {count} images, expected {expected}")
    return task_of_image[:expected].astype(np.int64)
