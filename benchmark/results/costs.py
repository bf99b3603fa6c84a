"""What a finished run costs: parameters, statistics, operations, memory, time.

A cost is one function of an outcome, listed in `COSTS`: results, tables, figures and explanations
take everything about it from there.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from benchmark.metrics import Metric
from benchmark.results.schema import Outcome

OTHER = "other"  # what a method stores under no name of its own
PARAMETERS = "Parameters"
KEPT = "Statistics kept between tasks"
_FLOPS = "FLOPs per image"
_RESOURCES = "Memory and time"
FLOPS = "FLOPs"  # shown in 10^9, or in millions for small networks
_SCALES = {"k": 1e3, "M": 1e6, "GB": 1024}
_ONE_DECIMAL = ("k", "s", "images/s")


@dataclass(frozen=True)
class Cost(Metric[[Outcome]]):
    """A number of a run's cost.

    Attributes:
        group: Heading in the table of costs; empty for what is not in it.
        optional: Left out of the table where no row has any.
        drop: As for `benchmark.report.model.Column`.
    """

    group: str = ""
    optional: bool = False
    drop: int = 0


COSTS: dict[str, Cost] = {}


def _cost(
    title: str,
    label: str,
    unit: str,
    *,
    better: Literal["higher", "lower"] = "lower",
    **shown: Any,
) -> Callable[[Callable[[Outcome], float]], Callable[[Outcome], float]]:
    """Lists a cost under the name of its function, with the docstring as its explanation."""

    def add(function: Callable[[Outcome], float]) -> Callable[[Outcome], float]:
        name, text = function.__name__, (function.__doc__ or "").rstrip(".")
        COSTS[name] = Cost(
            name,
            title,
            label,
            unit,
            better,
            explanation=text[:1].lower() + text[1:],
            function=function,
            scale=_SCALES.get(unit, 1.0),
            decimals=1 if unit in _ONE_DECIMAL else 2,
            **shown,
        )
        return function

    return add


@_cost("Trainable parameters", "Trainable per task", "k", group=PARAMETERS)
def trainable_parameters(outcome: Outcome) -> float:
    """Parameters trained in a task, of the task with the most."""
    return max(outcome["trainable_parameters"], default=0)


@_cost("Expanded parameters", "Expanded", "k", group=PARAMETERS)
def expanded_parameters(outcome: Outcome) -> float:
    """Parameters beside backbone and classifier after the last task, counted as the papers do."""
    return outcome["expanded_parameters"]


@_cost("Expanded parameters in percent of the backbone's", "Expanded", "% of backbone")
def expanded_share(outcome: Outcome) -> float:
    """Expanded parameters in percent of the backbone's parameters."""
    backbone = outcome["backbone_parameters"]
    return 100 * outcome["expanded_parameters"] / backbone if backbone else math.nan


@_cost("Stored parameters", "Stored", "M", group=PARAMETERS, drop=3)
def stored_parameters(outcome: Outcome) -> float:
    """Parameters of backbone and classifier and the expanded ones, after the last task."""
    backbone, classifier = outcome["backbone_parameters"], outcome["classifier_parameters"]
    return backbone + classifier + outcome["expanded_parameters"]


@_cost("Parameters of the classifier", "Classifier", "k")
def classifier_parameters(outcome: Outcome) -> float:
    """Parameters of the classifier after the last task."""
    return outcome["classifier_parameters"]


@_cost("Parameters of the backbone", "Backbone", "M")
def backbone_parameters(outcome: Outcome) -> float:
    """Parameters of the backbone."""
    return outcome["backbone_parameters"]


@_cost("Statistics kept between tasks", "All", "k", group=KEPT)
def stored_statistics(outcome: Outcome) -> float:
    """Numbers kept between tasks that are not parameters."""
    return outcome["stored_statistics"]


def _counted(value: float | None) -> float:
    return math.nan if value is None else value


@_cost("Training operations per image", "Training", FLOPS, group=_FLOPS)
def train_flops_per_image(outcome: Outcome) -> float:
    """Operations for one image in a training step, forward and backward."""
    return _counted(outcome["flops_per_image"]["train"])


@_cost("Prediction operations per image", "Prediction", FLOPS, group=_FLOPS)
def predict_flops_per_image(outcome: Outcome) -> float:
    """Operations for one image in prediction."""
    return _counted(outcome["flops_per_image"]["predict"])


@_cost(
    "Operations of the frozen query per image",
    "of which frozen query",
    FLOPS,
    group=_FLOPS,
    optional=True,
    drop=5,
)
def query_flops_per_image(outcome: Outcome) -> float:
    """Operations of the pass that computes the frozen features, a part of both."""
    return outcome["flops_per_image"]["query"]


@_cost("Peak memory", "Peak memory", "GB", group=_RESOURCES, drop=2)
def peak_memory_mb(outcome: Outcome) -> float:
    """Largest memory in use during the run, of the GPU, or of the whole process on a CPU."""
    return outcome["peak_memory_mb"]


@_cost("Training time", "Training", "s", group=_RESOURCES)
def train_seconds(outcome: Outcome) -> float:
    """Time of training on all tasks, with what a method does before and after each."""
    return sum(outcome["train_seconds"])


@_cost("Evaluation time", "Evaluation", "s", group=_RESOURCES)
def eval_seconds(outcome: Outcome) -> float:
    """Time of evaluation after all tasks."""
    return sum(outcome["eval_seconds"])


@_cost("Training speed", "Speed", "images/s", better="higher")
def train_images_per_second(outcome: Outcome) -> float:
    """Training images per second, mean over tasks."""
    speeds = outcome["train_images_per_second"]
    return sum(speeds) / len(speeds) if speeds else math.nan


def stored_kinds(outcome: Outcome, part: Literal["parameters", "statistics"]) -> dict[str, int]:
    """Numbers of what the method itself stores, by the kinds it declares, `OTHER` among them.

    Offline copies and the like are a part of the parameters; the kinds of statistics make up
    `stored_statistics`. Backbone and classifier are left out.
    """
    kinds = outcome["stored"][part]
    return {name: count for name, count in kinds.items() if name not in ("backbone", "heads")}
