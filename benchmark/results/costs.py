"""What a finished run costs, by name: parameters, statistics, operations, memory, time."""

from __future__ import annotations

import math
from typing import Literal

from benchmark.results.schema import Outcome

OTHER = "other"  # what a method stores under no name of its own


def cost_numbers(outcome: Outcome) -> dict[str, float]:
    """Counts, percent, seconds, MB; nan for what a result does not hold.

    `expanded_share` is in percent of the backbone's parameters; `stored_parameters` are backbone,
    classifier and what the method adds.
    """
    flops = outcome["flops_per_image"]
    backbone, expanded = outcome["backbone_parameters"], outcome["expanded_parameters"]
    speeds = outcome["train_images_per_second"]
    return {
        "expanded_parameters": expanded,
        "expanded_share": 100 * expanded / backbone if backbone else math.nan,
        "trainable_parameters": max(outcome["trainable_parameters"], default=0),
        "stored_statistics": outcome["stored_statistics"],
        "classifier_parameters": outcome["classifier_parameters"],
        "backbone_parameters": backbone,
        "stored_parameters": backbone + outcome["classifier_parameters"] + expanded,
        "train_seconds": sum(outcome["train_seconds"]),
        "eval_seconds": sum(outcome["eval_seconds"]),
        "train_images_per_second": sum(speeds) / len(speeds) if speeds else math.nan,
        "train_flops_per_image": _number(flops["train"]),
        "predict_flops_per_image": _number(flops["predict"]),
        "query_flops_per_image": _number(flops.get("query")),
        "peak_memory_mb": outcome["peak_memory_mb"],
    }


def stored_kinds(outcome: Outcome, part: Literal["parameters", "statistics"]) -> dict[str, int]:
    """Numbers of what the method itself stores, by the kinds it declares, `OTHER` among them.

    Offline copies and the like are a part of the parameters; the kinds of statistics make up
    `stored_statistics`. Backbone and classifier are left out, and so is all of a result without
    parts.
    """
    stored = outcome.get("stored")
    kinds = {} if stored is None else stored[part]
    return {name: count for name, count in kinds.items() if name not in ("backbone", "heads")}


def _number(value: float | None) -> float:
    return math.nan if value is None else value
