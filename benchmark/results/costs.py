"""What a finished run costs: parameters, statistics, operations, memory, time.

A cost is one row of `COSTS`: results, tables, figures and explanations take everything about it
from there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from benchmark.metrics import Metric
from benchmark.results.schema import Outcome

OTHER = "other"  # what a method stores under no name of its own
PARAMETERS = "Parameters"
KEPT = "Statistics kept between tasks"
_FLOPS = "FLOPs per image"
_RESOURCES = "Memory and time"
FLOPS = "FLOPs"  # shown in 10^9, or in millions for small networks


@dataclass(frozen=True)
class Cost(Metric[[Outcome]]):
    """A number of a run's cost, nan where an older result does not hold it.

    group: heading in the table of costs, empty for what is not in it; optional: left out of the
    table where no row has any; drop: as for `benchmark.report.model.Column`.
    """

    group: str = ""
    optional: bool = False
    drop: int = 0


def _parameters(outcome: Outcome) -> float:
    backbone, classifier = outcome["backbone_parameters"], outcome["classifier_parameters"]
    return backbone + classifier + outcome["expanded_parameters"]


def _expanded_share(outcome: Outcome) -> float:
    backbone = outcome["backbone_parameters"]
    return 100 * outcome["expanded_parameters"] / backbone if backbone else math.nan


def _images_per_second(outcome: Outcome) -> float:
    speeds = outcome["train_images_per_second"]
    return sum(speeds) / len(speeds) if speeds else math.nan


def _number(value: float | None) -> float:
    return math.nan if value is None else value


_ROWS: tuple[Cost, ...] = (
    Cost(
        "trainable_parameters",
        "Trainable parameters",
        "Trainable per task",
        "k",
        "lower",
        "parameters trained in a task, of the task with the most",
        lambda outcome: max(outcome["trainable_parameters"], default=0),
        scale=1e3,
        decimals=1,
        group=PARAMETERS,
    ),
    Cost(
        "expanded_parameters",
        "Expanded parameters",
        "Expanded",
        "k",
        "lower",
        "parameters beside backbone and classifier after the last task, counted as the papers do",
        lambda outcome: outcome["expanded_parameters"],
        scale=1e3,
        decimals=1,
        group=PARAMETERS,
    ),
    Cost(
        "expanded_share",
        "Expanded parameters in percent of the backbone's",
        "Expanded",
        "% of backbone",
        "lower",
        "expanded parameters in percent of the backbone's parameters",
        _expanded_share,
    ),
    Cost(
        "stored_parameters",
        "Stored parameters",
        "Stored",
        "M",
        "lower",
        "parameters of backbone and classifier and the expanded ones, after the last task",
        _parameters,
        scale=1e6,
        group=PARAMETERS,
        drop=3,
    ),
    Cost(
        "classifier_parameters",
        "Parameters of the classifier",
        "Classifier",
        "k",
        "lower",
        "parameters of the classifier after the last task",
        lambda outcome: outcome["classifier_parameters"],
        scale=1e3,
        decimals=1,
    ),
    Cost(
        "backbone_parameters",
        "Parameters of the backbone",
        "Backbone",
        "M",
        "lower",
        "parameters of the backbone",
        lambda outcome: outcome["backbone_parameters"],
        scale=1e6,
    ),
    Cost(
        "stored_statistics",
        "Statistics kept between tasks",
        "All",
        "k",
        "lower",
        "numbers kept between tasks that are not parameters",
        lambda outcome: outcome["stored_statistics"],
        scale=1e3,
        decimals=1,
        group=KEPT,
    ),
    Cost(
        "train_flops_per_image",
        "Training operations per image",
        "Training",
        FLOPS,
        "lower",
        "operations for one image in a training step, forward and backward",
        lambda outcome: _number(outcome["flops_per_image"]["train"]),
        group=_FLOPS,
    ),
    Cost(
        "predict_flops_per_image",
        "Prediction operations per image",
        "Prediction",
        FLOPS,
        "lower",
        "operations for one image in prediction",
        lambda outcome: _number(outcome["flops_per_image"]["predict"]),
        group=_FLOPS,
    ),
    Cost(
        "query_flops_per_image",
        "Operations of the frozen query per image",
        "of which frozen query",
        FLOPS,
        "lower",
        "operations of the pass that computes the frozen features, a part of both",
        lambda outcome: _number(outcome["flops_per_image"].get("query")),
        group=_FLOPS,
        optional=True,
        drop=5,
    ),
    Cost(
        "peak_memory_mb",
        "Peak memory",
        "Peak memory",
        "GB",
        "lower",
        "largest memory in use during the run, of the GPU, or of the whole process on a CPU",
        lambda outcome: outcome["peak_memory_mb"],
        scale=1024,
        group=_RESOURCES,
        drop=2,
    ),
    Cost(
        "train_seconds",
        "Training time",
        "Training",
        "s",
        "lower",
        "time of training on all tasks, with what a method does before and after each",
        lambda outcome: sum(outcome["train_seconds"]),
        decimals=1,
        group=_RESOURCES,
    ),
    Cost(
        "eval_seconds",
        "Evaluation time",
        "Evaluation",
        "s",
        "lower",
        "time of evaluation after all tasks",
        lambda outcome: sum(outcome["eval_seconds"]),
        decimals=1,
        group=_RESOURCES,
    ),
    Cost(
        "train_images_per_second",
        "Training speed",
        "Speed",
        "images/s",
        "higher",
        "training images per second, mean over tasks",
        _images_per_second,
        decimals=1,
    ),
)
COSTS = {cost.name: cost for cost in _ROWS}


def cost_numbers(outcome: Outcome) -> dict[str, float]:
    """Every cost of a finished run by name."""
    return {cost.name: cost.function(outcome) for cost in COSTS.values()}


def stored_kinds(outcome: Outcome, part: Literal["parameters", "statistics"]) -> dict[str, int]:
    """Numbers of what the method itself stores, by the kinds it declares, `OTHER` among them.

    Offline copies and the like are a part of the parameters; the kinds of statistics make up
    `stored_statistics`. Backbone and classifier are left out, and so is all of a result without
    parts.
    """
    stored = outcome.get("stored")
    kinds = {} if stored is None else stored[part]
    return {name: count for name, count in kinds.items() if name not in ("backbone", "heads")}
