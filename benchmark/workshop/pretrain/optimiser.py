"""Optimiser and learning-rate schedule shared by every pre-training objective."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class OptimiserSettings:
    """AdamW with linear warm-up, a plateau, a cosine to zero and clipped gradients.

    On the plateau the rate does not depend on the number of epochs, so that a longer training
    repeats the steps of a shorter one until the shorter one's decay.
    """

    learning_rate: float = 1.5e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    warmup_epochs: float = 2.0
    decay_epochs: float = 12.0
    clip_norm: float = 1.0


def build_optimiser(modules: Iterable[nn.Module], settings: OptimiserSettings) -> torch.optim.AdamW:
    """Gives AdamW over all parameters, with weight decay on matrices only."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    matrices = [p for p in parameters if _is_matrix(p)]
    others = [p for p in parameters if not _is_matrix(p)]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Says whether a parameter maps features; tokens and positions are [1, N, D] and do not."""
    return parameter.ndim >= 2 and parameter.shape[0] > 1


def _phases(settings: OptimiserSettings, steps: int, epoch_steps: int) -> tuple[int, int]:
    """Gives the numbers of steps of the warm-up and of the decay."""
    warmup = min(round(settings.warmup_epochs * epoch_steps), steps // 2)
    return warmup, min(round(settings.decay_epochs * epoch_steps), steps - warmup)


def decay_progress(settings: OptimiserSettings, step: int, steps: int, epoch_steps: int) -> float:
    """Gives how much of the decay lies behind `step` (from 0) of `steps`: 0 to 1."""
    _, decay = _phases(settings, steps, epoch_steps)
    return max(0.0, (step - (steps - decay)) / max(1, decay))


def learning_rate(settings: OptimiserSettings, step: int, steps: int, epoch_steps: int) -> float:
    """Gives the rate of `step` (from 0) of `steps`: warm-up, plateau, half a cosine to zero."""
    warmup, _ = _phases(settings, steps, epoch_steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = decay_progress(settings, step, steps, epoch_steps)
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def open_epochs(settings: OptimiserSettings, epochs: int, epoch_steps: int) -> int:
    """Gives the number of first epochs whose rates do not depend on the number of epochs."""
    warmup, decay = _phases(settings, epochs * epoch_steps, epoch_steps)
    if warmup < round(settings.warmup_epochs * epoch_steps):
        return 0
    return (epochs * epoch_steps - decay) // epoch_steps


def step_optimiser(optimiser: torch.optim.Optimizer, rate: float, clip_norm: float) -> None:
    """Takes one step at `rate` with the gradients' joint norm clipped, then drops the gradients."""
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, clip_norm)
    for group in optimiser.param_groups:
        group["lr"] = rate
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
