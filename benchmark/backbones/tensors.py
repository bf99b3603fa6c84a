"""Brings checkpoints of timm ViTs to one form: plain names, float32, no head (no torch import)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")

_WRAPPERS = ("module.", "backbone.")
# What classifiers and masked pre-training leave beside the backbone.
_NOT_BACKBONE = ("head.", "head_dist.", "masked_embed", "mask_token")


def plain_names(tensors: Mapping[str, T]) -> dict[str, T]:
    """Gives the backbone's entries under timm's names, without wrappers' prefixes and heads.

    When some names carry `backbone.`, the others belong to projection heads and are left out.
    """
    names = {name: _strip(name, ("module.",)) for name in tensors}
    if any(name.startswith("backbone.") for name in names.values()):
        names = {old: new for old, new in names.items() if new.startswith("backbone.")}
    stripped = {_strip(new, _WRAPPERS): tensors[old] for old, new in names.items()}
    return {name: tensor for name, tensor in stripped.items() if not name.startswith(_NOT_BACKBONE)}


def as_float32(tensors: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Gives the same entries with floating-point numbers as float32, as they are computed with."""
    return {
        name: array.astype(np.float32, copy=False)
        if np.issubdtype(array.dtype, np.floating)
        else array
        for name, array in tensors.items()
    }


def _strip(name: str, prefixes: tuple[str, ...]) -> str:
    """Gives a name without leading prefixes, however often they are repeated."""
    while name.startswith(prefixes):
        name = name.split(".", 1)[1]
    return name
