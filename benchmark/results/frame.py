"""All results as one tidy table: a row per run, or per run, stage and task."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import get_type_hints

from benchmark import metrics
from benchmark.results.costs import COSTS
from benchmark.results.schema import Environment, SpecBlock
from benchmark.results.store import (
    PREDICTIONS,
    Result,
    ResultError,
    ResultStore,
    canonical,
    run_numbers,
)

if TYPE_CHECKING:
    import pandas as pd

_BLOCKS = ("settings", "recipe", "augmentation", "evaluation")
_NESTED = ("tasks", *_BLOCKS)
# What identifies a run, in both forms.
_IDENTITY = ("key", "dataset", "split", "scenario", "tasks", "classes_per_task", "backbone",
             "order", "validation", "protocol", "method", "settings", "recipe", "input_range",
             "precision", "augmentation", "evaluation", "seed")  # fmt: skip


def load_results(
    root: str | Path = "results", *, predictions: bool = True, long: bool = False
) -> pd.DataFrame:
    """All results under `root` as a tidy DataFrame: one row per run, one column per variable.

    Columns: `key`; the specification (`tasks` is their number; settings, recipe, augmentation,
    evaluation, classes_per_task and a mean and deviation given as input_range are JSON texts, equal
    for runs of the same variant); status (done, failed,
    interrupted), error, marks; `stored`, what the method stores by the names it declares, as JSON
    text; where the run comes from (suite, revision, hashes, tuned and packages as JSON texts,
    device, started, seconds and so on); every metric of `benchmark.metrics.METRICS` in percent or
    points; costs.

    Columns and types are the same whatever was found, also for an empty folder: texts are pandas'
    `string`, metrics and costs float64, seed, tasks and protocol int64; `dirty` is `boolean` and
    `threads` `Int64`, since a run that failed early may lack them. Runs that are not done have nan
    for every number, and so has a metric that is not defined, such as forgetting with one task.

    predictions: also read the stored predictions for the metrics that need them (task_known,
    wrong_task, wrong_class); without, these columns are left out and reading is faster.

    long: one row per finished run, stage and task in place of one per run, with the columns that
    identify a run (key, dataset, split, scenario, tasks, classes_per_task, backbone, order,
    validation, protocol, method, settings, recipe, input_range, precision, augmentation,
    evaluation, seed) and

        stage       1 .. tasks, after which task the accuracy was measured
        task        1 .. stage, on whose test images
        accuracy    percent, a[stage][task]
        test_count  test images of the task

    Stages that were not evaluated, as all but the last of joint training, have no rows.

    Files that cannot be used are warned of and listed in `frame.attrs["problems"]`; the rest is
    given. A folder that is not there is an empty one.

        frame = load_results("results/embedded")
        done = frame[frame.status == "done"]
        done.groupby(["method", "settings"])["final"].agg(["mean", "std", "count"])

        curves = load_results("results/embedded", long=True)
        curves.groupby(["method", "key", "stage"])["accuracy"].mean()  # ACC_i of every run
    """
    import pandas as pd

    store = ResultStore(root)
    results = store.results(verified=predictions)
    types = _types()
    if long:
        identity = {name: types[name] for name in _IDENTITY}
        types = identity | {
            "stage": "int64",
            "task": "int64",
            "accuracy": "float64",
            "test_count": "int64",
        }
        rows = [row for result in results for row in _accuracies(result)]
    else:
        if not predictions:
            for metric in metrics.FROM_PREDICTIONS:
                del types[metric.name]
        rows = [_row(result, store, predictions) for result in results]
    for problem in store.problems:
        warnings.warn(f"left out: {problem}", stacklevel=2)
    frame: pd.DataFrame = pd.DataFrame(rows, columns=list(types)).astype(types)
    frame.attrs["problems"] = [str(problem) for problem in store.problems]
    return frame


def _types() -> dict[str, str]:
    """The columns of a row per run, in order, with their types."""
    always = {int: "int64", float: "float64"}
    perhaps = {int: "Int64", float: "float64", bool: "boolean"}  # a run that failed lacks some
    spec, environment = get_type_hints(SpecBlock), get_type_hints(Environment)
    numbers = [metric.name for metric in metrics.FROM_ACCURACY]
    numbers += [*COSTS, *(metric.name for metric in metrics.FROM_PREDICTIONS)]
    return {
        **dict.fromkeys(("key", "status"), "string"),
        **{name: always.get(spec[name], "string") for name in spec if name not in _NESTED},
        "backbone_image_size": "Int64",  # where one was given
        "tasks": "int64",
        **dict.fromkeys(("classes_per_task", *_BLOCKS, "error", "marks", "stored"), "string"),
        **{name: perhaps.get(kind, "string") for name, kind in environment.items()},
        **dict.fromkeys(numbers, "float64"),
    }


def _row(result: Result, store: ResultStore, predictions: bool) -> dict[str, Any]:
    outcome, environment = result["outcome"], result["environment"]
    row = {
        **_spec_columns(result),
        "status": outcome["status"],
        "error": outcome.get("error"),
        "marks": "; ".join(outcome.get("marks", [])),
        "stored": _plain(outcome.get("stored")),
        **{name: _plain(value) for name, value in environment.items()},
    }
    if outcome["status"] == "done":
        row |= run_numbers(result)
        if predictions:
            try:
                row |= _prediction_metrics(store, result["key"])
            except ResultError as damage:
                store.problems.append(damage)
    return row


def _prediction_metrics(store: ResultStore, key: str) -> dict[str, float]:
    """Metrics of the stored predictions; ResultError where they cannot be used."""
    arrays = store.predictions(key)
    try:
        return metrics.prediction_metrics(arrays)
    except (ValueError, LookupError) as error:
        file = store.folder(key) / PREDICTIONS
        raise ResultError(file, f"incomplete: {type(error).__name__}: {error}") from error


def _accuracies(result: Result) -> Iterator[dict[str, Any]]:
    """A row for every accuracy of a finished run; none for one that is not done."""
    outcome = result["outcome"]
    if outcome["status"] != "done":
        return
    spec = _spec_columns(result)
    identity = {name: spec[name] for name in _IDENTITY}
    for stage, accuracies in enumerate(outcome["accuracy"], 1):
        for task, accuracy in enumerate(accuracies or (), 1):
            yield {
                **identity,
                "stage": stage,
                "task": task,
                "accuracy": accuracy,
                "test_count": outcome["test_counts"][task - 1],
            }


def _spec_columns(result: Result) -> dict[str, Any]:
    spec = result["spec"]
    blocks: Mapping[str, Any] = spec
    return {
        "key": result["key"],
        **{name: _plain(value) for name, value in spec.items() if name not in _NESTED},
        "tasks": len(spec["tasks"]),
        "classes_per_task": json.dumps(spec["tasks"]),
        **{name: json.dumps(canonical(blocks[name]), sort_keys=True) for name in _BLOCKS},
    }


def _plain(value: Any) -> Any:
    """A mapping as JSON text: one value a cell."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
