"""Cases of the classifier alignment alone: statistics, drawn features and the aligned heads."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.peft.alignment import AlignmentConfig, Draws, Gaussians, align, mean_scale
from benchmark.workshop.replay.case import RecordedCase, ReplayError
from benchmark.workshop.replay.compare import ArrayResult, CaseComparison
from benchmark.workshop.replay.run import kind
from benchmark.workshop.replay.world import as_tensor

PLAIN = "plain"
NORMALISED = "logit_norm_"  # then the temperature


class RecordedDraws(Draws):
    """Stored normal numbers [E, C, S, d] and orders [E, C * S]."""

    def __init__(self, noise: Tensor, order: Tensor) -> None:
        self._noise, self._order = noise, order

    def noise(self, epoch: int, shape: torch.Size, like: Tensor) -> Tensor:
        """The numbers of the epoch."""
        return self._noise[epoch]

    def order(self, epoch: int, count: int, like: Tensor) -> Tensor:
        """The order of the epoch."""
        return self._order[epoch]


@kind("classifier alignment", lambda case: "samples_per_class" in case.meta)
def alignment(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """Align the recorded heads in every recorded variant.

    Arrays of a variant are `<variant>/<name>`, the variant being "plain" or "logit_norm_" and the
    temperature.
    """
    comparison = CaseComparison(case.arrays, tolerance)
    sizes = _sizes(case)
    classes, width = sum(sizes), case.field("feature_dim", kind=int)
    epochs = case.field("optimizer", "ca_epochs", kind=int)
    samples = case.field("samples_per_class", kind=int)
    features = as_tensor(case.array("features", classes, None, width))
    noise = as_tensor(case.array("eps", epochs, classes, samples, width))
    draws = RecordedDraws(noise, _orders(case, epochs, classes * samples))

    gaussians = Gaussians(width).double()
    for size in sizes:  # task by task, as a method meets the classes
        known = len(gaussians.mean)
        gaussians.grow(size)
        labels = torch.arange(known, known + size).repeat_interleave(features.shape[1])
        gaussians.fit(
            range(known, known + size), features[known : known + size].flatten(0, 1), labels
        )
    scale = mean_scale(sizes)
    comparison.check("class_mean", gaussians.mean)
    comparison.check("class_cov", gaussians.factor @ gaussians.factor.mT)
    comparison.check("scaled_mean", gaussians.scaled_mean(scale))
    if epochs > 0:
        comparison.check("samples_epoch0_first8", gaussians.sample(scale, noise[0])[:, :8])

    heads = _heads(case, sizes, width)
    for variant in _variants(case):
        aligned = align(heads, gaussians, _settings(case, variant), draws)
        outcome: dict[str, Any] = {
            "classifier_weight_after": aligned.weight,
            "classifier_bias_after": aligned.bias,
            "loss": np.asarray([float(loss) for loss in aligned.losses]),
            "lr": np.asarray(aligned.rates),
        }
        for name, ours in outcome.items():
            comparison.check(f"{variant}/{name}", ours)
    for name, where in {
        "features": "class_mean and class_cov",
        "eps": "samples_epoch0_first8 and the losses",
        "permutation": "the losses",
        "classifier_weight_before": "the losses",
        "classifier_bias_before": "the losses",
    }.items():
        comparison.leave(name, f"input: its values show in {where}")
    return comparison.results()


def _sizes(case: RecordedCase) -> list[int]:
    """Classes per task: one number for all tasks, or a list."""
    listed = isinstance(case.meta.get("classes_per_task"), list)
    tasks = case.field("tasks", kind=int)
    sizes = (
        [int(size) for size in case.field("classes_per_task", kind=list)]
        if listed
        else [case.field("classes_per_task", kind=int)] * tasks
    )
    if not sizes or len(sizes) != tasks or min(sizes) < 1:
        raise ReplayError(f"{case.path}: {tasks} tasks of {sizes} classes")
    return sizes


def _orders(case: RecordedCase, epochs: int, count: int) -> Tensor:
    orders = case.array("permutation", epochs, count)
    if not np.array_equal(np.sort(orders, axis=1), np.tile(np.arange(count), (epochs, 1))):
        raise ReplayError(f"{case.path}: array permutation does not visit every sample once")
    return torch.from_numpy(orders.astype(np.int64))


def _heads(case: RecordedCase, sizes: list[int], width: int) -> list[nn.Linear]:
    weight = as_tensor(case.array("classifier_weight_before", sum(sizes), width))
    bias = as_tensor(case.array("classifier_bias_before", sum(sizes)))
    heads = [nn.Linear(width, size, dtype=torch.float64) for size in sizes]
    parts = zip(torch.split(weight, sizes), torch.split(bias, sizes), strict=True)
    for head, (w, b) in zip(heads, parts, strict=True):
        head.load_state_dict({"weight": w, "bias": b})
    return heads


def _variants(case: RecordedCase) -> list[str]:
    """What stands before the slash in the names of arrays, where it is known here."""
    names = dict.fromkeys(name.partition("/")[0] for name in case.arrays if "/" in name)
    return [name for name in names if name == PLAIN or name.startswith(NORMALISED)]


def _settings(case: RecordedCase, variant: str) -> AlignmentConfig:
    temperature = 0.0
    if variant != PLAIN:
        try:
            temperature = float(variant.removeprefix(NORMALISED))
        except ValueError:
            temperature = float("nan")
        if not 0 < temperature < float("inf"):
            raise ReplayError(f"{case.path}: variant {variant} names no temperature")
    return AlignmentConfig(
        align_epochs=case.field("optimizer", "ca_epochs", kind=int),
        align_samples=case.field("samples_per_class", kind=int),
        align_batch=case.field("batch", kind=int),
        align_lr=case.field("optimizer", "lr", kind=float),
        align_momentum=case.field("optimizer", "momentum", kind=float),
        align_decay=case.field("optimizer", "weight_decay", kind=float),
        logit_norm=temperature,
    )
