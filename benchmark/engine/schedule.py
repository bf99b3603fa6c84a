"""Learning rate of every epoch."""

from __future__ import annotations

import math

from benchmark.spec import Recipe


def rate(recipe: Recipe, epoch: int) -> float:
    """Base learning rate of 0-based `epoch`, constant within the epoch.

    late_cosine is the schedule of the official InfLoRA and CODA-Prompt code,
    lr * cos(99 pi s / (200 (E - 1))) with s = max(epoch - 1, 0): the first two epochs run at the
    base rate and the last one does not reach zero. With one epoch the rate is the base rate.
    cosine falls from lr towards zero, lr / 2 * (1 + cos(pi epoch / E)).
    """
    last = recipe.epochs - 1
    if recipe.schedule == "late_cosine" and last > 0:
        return recipe.lr * math.cos(99 * math.pi * max(epoch - 1, 0) / (200 * last))
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))
    if recipe.schedule == "multistep":
        return recipe.lr * recipe.gamma ** sum(epoch >= m for m in recipe.milestones)
    return recipe.lr
