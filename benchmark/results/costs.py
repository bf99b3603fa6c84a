"""What a finished run costs, by name: parameters, statistics, operations, memory, time."""

from __future__ import annotations

import math

from benchmark.results.schema import Outcome

# Parts of `outcome.stored` by what they are; whatever else a method keeps is "other".
OFFLINE = "offline"  # the copy that LAE and its forms keep of their modules
STATISTICS = {
    "class_means": ("means", "gaussians.mean"),
    "class_covariances": ("gaussians.factor",),
    "subspace_bases": ("protected",),
}


def cost_numbers(outcome: Outcome) -> dict[str, float]:
    """Counts, percent, seconds, MB; nan for what an older result does not hold.

    `expanded_share` is in percent of the backbone's parameters; `stored_parameters` are backbone,
    classifier and what the method adds; `offline_parameters` are a part of the expanded ones, and
    the kinds of statistics parts of `stored_statistics`.
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
        **_parts(outcome),
        "train_seconds": sum(outcome["train_seconds"]),
        "eval_seconds": sum(outcome["eval_seconds"]),
        "train_images_per_second": sum(speeds) / len(speeds) if speeds else math.nan,
        "train_flops_per_image": _number(flops["train"]),
        "predict_flops_per_image": _number(flops["predict"]),
        "query_flops_per_image": _number(flops.get("query")),
        "peak_memory_mb": outcome["peak_memory_mb"],
    }


def _parts(outcome: Outcome) -> dict[str, float]:
    """Offline copies and kinds of statistics."""
    stored = outcome.get("stored")
    if stored is None:
        names = ("offline_parameters", *STATISTICS, "other_statistics")
        return dict.fromkeys(names, math.nan)
    kinds: dict[str, float] = {
        kind: sum(stored["statistics"].get(name, 0) for name in names)
        for kind, names in STATISTICS.items()
    }
    other = outcome["stored_statistics"] - sum(kinds.values())
    return {
        "offline_parameters": stored["parameters"].get(OFFLINE, 0),
        **kinds,
        "other_statistics": other,
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else value
