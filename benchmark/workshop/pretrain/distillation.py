"""What self-distillation takes from lightly, the teacher's schedules, and signs of a collapse."""

from __future__ import annotations

import math
from importlib import import_module
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.workshop.pretrain.recipes import SelfSupervisedSettings
from benchmark.workshop.pretrain.training import phases


class MissingLibraryError(RuntimeError):
    """A library that only some of pre-training needs is not installed."""


def lightly(module: str) -> ModuleType:
    """Import a module of lightly, an optional dependency, or say how to get it."""
    try:
        return import_module(f"lightly.{module}")
    except ImportError as error:
        raise MissingLibraryError(
            "pre-training without labels needs lightly: pip install 'clbench[pretrain]'"
        ) from error


def teacher_momentum(
    settings: SelfSupervisedSettings, step: int, steps: int, epoch_steps: int
) -> float:
    """Return the momentum of `step` of `steps`: the recipe's, in the decay along a cosine to 1."""
    _, decay = phases(settings.optimizer, steps, epoch_steps)
    cosine: float = lightly("utils.scheduler").cosine_schedule(
        max(0, step - (steps - decay)), decay, settings.teacher_momentum, 1.0
    )
    return cosine


def teacher_temperature(settings: SelfSupervisedSettings, step: int, epoch_steps: int) -> float:
    """Return the temperature of `step`: linear from the first to the second, then constant."""
    low, high = settings.teacher_temperature
    warmup = round(settings.temperature_warmup * epoch_steps)
    linear: float = lightly("utils.scheduler").linear_warmup_schedule(step, warmup, low, high)
    return linear


@torch.no_grad()
def spread(features: Tensor) -> float:
    """Return sqrt(D) times the mean deviation of unit features [N, D].

    It is 1 for features that are spread out and 0 for collapsed ones.
    """
    unit = F.normalize(features, dim=1)
    deviation = unit.std(dim=0, unbiased=False).mean()
    return float(deviation * math.sqrt(features.shape[1]))


@torch.no_grad()
def used_prototypes(probabilities: Tensor) -> float:
    """Return exp of the entropy of the mean of probabilities [N, K].

    It is 1 where one prototype has taken all (collapsed) and K where all are used.
    """
    return math.exp(float(torch.special.entr(probabilities.mean(dim=0)).sum()))
