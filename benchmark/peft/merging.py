"""Merging parameters of the same architecture: moving averages and TIES."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Aggregate = Literal["mean", "sum", "max"]


@torch.no_grad()
def moving_average_(average: nn.Module, current: nn.Module, decay: float) -> None:
    """Average <- decay * average + (1 - decay) * current, parameter by parameter, in place."""
    torch._foreach_lerp_(list(average.parameters()), list(current.parameters()), 1 - decay)


def flatten(module: nn.Module) -> Tensor:
    """A detached copy of all parameters of a module as one vector [P]."""
    return torch.cat([p.detach().flatten() for p in module.parameters()])


@torch.no_grad()
def unflatten_(module: nn.Module, vector: Tensor) -> None:
    """Write a vector [P] back into the parameters of a module."""
    start = 0
    for p in module.parameters():
        p.copy_(vector[start : start + p.numel()].view_as(p))
        start += p.numel()


def trim_mask(vectors: Tensor, keep: float) -> Tensor:
    """Mask, bool [V, P], of the largest entries by magnitude of each task vector [V, P].

    keep: a percentage if above 1, otherwise a fraction. As in the reference code, int(keep * P) + 1
    entries are kept, and more if magnitudes tie with the smallest of them.
    """
    count = vectors.shape[1]
    drop = count - int(count * (keep / 100 if keep > 1 else keep))
    if drop == 0:
        return torch.ones_like(vectors, dtype=torch.bool)
    magnitudes = vectors.abs()
    return magnitudes >= magnitudes.kthvalue(drop, dim=1, keepdim=True).values


def trim(vectors: Tensor, keep: float) -> Tensor:
    """Task vectors [V, P] with all but their largest entries set to zero; see `trim_mask`."""
    return vectors * trim_mask(vectors, keep)


def elect(trimmed: Tensor) -> Tensor:
    """Sign of the sum over trimmed task vectors [V, P] -> [P].

    An entry whose sum is exactly zero gets the sign that most entries have.
    """
    signs = trimmed.sum(dim=0).sign()
    return torch.where(signs == 0, signs.sum().sign(), signs)


def agreeing(trimmed: Tensor, signs: Tensor) -> Tensor:
    """Which entries of trimmed vectors [V, P] have the elected sign [P]: bool [V, P]."""
    return torch.where(signs > 0, trimmed > 0, trimmed < 0)


def ties(vectors: Tensor, keep: float = 20.0, aggregate: Aggregate = "mean") -> Tensor:
    """TIES-merging (Yadav et al., NeurIPS 2023) of task vectors [V, P] -> [P].

    Trim each vector to its largest entries, elect one sign per entry by mass, then aggregate the
    entries of that sign: their mean (the published form; entries that were trimmed do not count),
    their sum, or their largest magnitude.
    """
    trimmed = trim(vectors, keep)
    signs = elect(trimmed)
    chosen = trimmed * agreeing(trimmed, signs)
    if aggregate == "max":
        return chosen.abs().amax(dim=0) * signs
    total = chosen.sum(dim=0)
    return total if aggregate == "sum" else total / (chosen != 0).sum(dim=0).clamp(min=1)
