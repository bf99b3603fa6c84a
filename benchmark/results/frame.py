"""All results as one tidy table: a row per run, or per run, stage and task."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import get_type_hints

from benchmark import metrics
from benchmark.results.costs import COSTS
from benchmark.results.schema import Environment, SpecBlock
from benchmark.results.store import Result, ResultError, ResultStore, canonical, run_numbers

if TYPE_CHECKING:
    import pandas as pd

_NESTED = ("tasks", "settings", "recipe")
# What identifies a run, in both forms.
_IDENTITY = ("key", "dataset", "split", "scenario", "tasks", "classes_per_task", "backbone",
             "order", "validation", "protocol", "method", "settings", "recipe", "input_range",
             "precision", "seed")  # fmt: skip


def load_results(
    root: str | Path = "results", *, predictions: bool = True, long: bool = False
) -> pd.DataFrame:
    """All results under `root` as a tidy DataFrame: one row per run, one column per variable.

    Columns: `key`; the specification (dataset, method, backbone, order, seed and so on; `tasks` is
    their number; settings, recipe and classes_per_task are JSON texts, equal for runs of the same
    variant); status (done, failed, interrupted), error, marks; every metric of
    `benchmark.metrics.METRICS` in percent or points; costs (`stored`: what the method stores, by
    the names it declares, as JSON text); and where the run comes from (suite,
    revision, dirty, hashes, packages as JSON text, device, started, seconds). The columns are the
    same whatever was found, also for an empty folder, and so are their types: texts are pandas'
    `string`, metrics and costs float64, seed, tasks and protocol int64; `dirty` is `boolean` and
    `threads` `Int64`, since a run that failed early may lack them. Runs that are not done have nan
    for every number, and so has a metric that is not defined for a run, such as forgetting with one
    task.

    predictions: also read the stored predictions for the metrics that need them (task_known,
    wrong_task, wrong_class); without, these columns are left out and reading is faster.

    long: one row per finished run, stage and task in place of one per run, with the columns that
    identify a run (key, dataset, split, scenario, tasks, classes_per_task, backbone, order,
    validation, protocol, method, settings, recipe, input_range, precision, seed) and

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
    results = store.results()
    if long:
        columns = [*_IDENTITY, "stage", "task", "accuracy", "test_count"]
        rows = [row for result in results for row in _accuracies(result)]
    else:
        columns = _columns(predictions)
        rows = [_row(result, store, predictions) for result in results]
    for problem in store.problems:
        warnings.warn(f"left out: {problem}", stacklevel=2)
    kinds = _kinds()
    frame: pd.DataFrame = pd.DataFrame(rows, columns=columns)
    frame = frame.astype({name: kinds.get(name, "float64") for name in columns})
    frame.attrs["problems"] = [str(problem) for problem in store.problems]
    return frame


def _columns(predictions: bool) -> list[str]:
    """The columns of a row per run, in order, whatever was found."""
    spec, environment = SpecBlock.__annotations__, Environment.__annotations__
    return [
        *("key", "status"),
        *(name for name in spec if name not in _NESTED),
        *("tasks", "classes_per_task", "settings", "recipe", "error", "marks", "stored"),
        *environment,
        *(metric.name for metric in metrics.FROM_ACCURACY),
        *COSTS,
        *(metric.name for metric in metrics.FROM_PREDICTIONS if predictions),
    ]


def _kinds() -> dict[str, str]:
    """Types of the columns that are no metric and no cost."""
    texts = ("key", "status", "classes_per_task", "error", "marks", "stored")
    always = {int: "int64", float: "float64"}
    perhaps = {int: "Int64", float: "float64", bool: "boolean"}  # a run that failed lacks some
    return {
        **dict.fromkeys(texts, "string"),
        **{name: always.get(kind, "string") for name, kind in get_type_hints(SpecBlock).items()},
        **{name: perhaps.get(kind, "string") for name, kind in get_type_hints(Environment).items()},
        **dict.fromkeys(("tasks", "stage", "task", "test_count"), "int64"),
    }


def _row(result: Result, store: ResultStore, predictions: bool) -> dict[str, Any]:
    outcome, environment = result["outcome"], result["environment"]
    row = {
        **_spec_columns(result),
        "status": outcome["status"],
        "error": outcome.get("error"),
        "marks": "; ".join(outcome.get("marks", [])),
        "stored": _plain(outcome.get("stored")),
        **{name: _plain(environment.get(name)) for name in Environment.__annotations__},
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
        file = store.folder(key) / "predictions.npz"
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
    return {
        "key": result["key"],
        **{name: value for name, value in spec.items() if name not in _NESTED},
        "tasks": len(spec["tasks"]),
        "classes_per_task": json.dumps(spec["tasks"]),
        "settings": json.dumps(canonical(spec["settings"]), sort_keys=True),
        "recipe": json.dumps(canonical(spec["recipe"]), sort_keys=True),
    }


def _plain(value: Any) -> Any:
    """A mapping as JSON text: one value a cell."""
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value
