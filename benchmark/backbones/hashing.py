"""Reads and hashes weights without torch, so that run keys are cheap to compute."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open


class BackboneError(ValueError):
    """Weights that cannot be read or do not fit the architecture."""


def hash_tensors(tensors: Mapping[str, NDArray[np.generic]]) -> str:
    """Gives the SHA-256 over name, type, shape and bytes of every tensor, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def read_safetensors(path: Path) -> tuple[dict[str, NDArray[np.generic]], dict[str, str]]:
    """Gives the tensors and the text metadata of a safetensors file."""
    if not path.is_file():
        raise BackboneError(f"weight file {path} does not exist")
    try:
        with safe_open(path, framework="numpy") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return tensors, dict(file.metadata() or {})
    except (SafetensorError, OSError, TypeError, ValueError, KeyError) as error:
        raise BackboneError(f"weight file {path} cannot be read: {error}") from error
