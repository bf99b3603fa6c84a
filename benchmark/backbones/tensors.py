"""Brings checkpoints of timm ViTs to one form: plain names, float32, no head (no torch import)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from benchmark.backbones.hashing import BackboneError

T = TypeVar("T")

MAX_NAMED = 8  # tensors named in one message
_WRAPPERS = ("module.", "backbone.")
# What classifiers, projection heads and masked pre-training leave beside the backbone.
_NOT_BACKBONE = ("head.", "head_dist.", "pre_logits.", "masked_embed", "mask_token")


def plain_names(tensors: Mapping[str, T], path: Path) -> tuple[dict[str, T], tuple[str, ...]]:
    """Gives the backbone's entries under timm's names, and the names of what was left out.

    Wrappers' prefixes are taken off; only what is known to be no part of a backbone (heads, mask
    tokens) is left out, everything else stays, for whoever knows the architecture to judge.
    """
    kept: dict[str, T] = {}
    left_out = []
    for name, tensor in tensors.items():
        plain = _strip(name)
        if plain.startswith(_NOT_BACKBONE):
            left_out.append(name)
        elif plain in kept:
            raise BackboneError(f"{path}: two tensors claim the name {plain}, one of them {name}")
        else:
            kept[plain] = tensor
    return kept, tuple(sorted(left_out))


def as_float32(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Gives the same entries with floating-point numbers as float32, as they are computed with."""
    return {
        name: array.astype(np.float32, copy=False)
        if np.issubdtype(array.dtype, np.floating)
        else array
        for name, array in tensors.items()
    }


def listing(names: list[str]) -> str:
    """Gives the first names and how many more there are."""
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _strip(name: str) -> str:
    """Gives a name without leading wrappers' prefixes, however often they are repeated."""
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name
