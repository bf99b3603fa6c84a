"""Saves and restores a cut pre-training so that it continues to the same bits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from benchmark.backbones.reading import UNREADABLE


class CheckpointError(ValueError):
    """A checkpoint cannot be read or belongs to other settings."""


def write_bytes(path: Path, content: bytes) -> None:
    """Writes `content` under a temporary name and renames it, so no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def save_checkpoint(path: Path, identity: str, state: dict[str, Any]) -> None:
    """Writes `state` atomically, marked with the `identity` of settings and data."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    torch.save({"identity": identity, "state": state}, temporary)
    temporary.replace(path)


def load_checkpoint(path: Path, identity: str) -> dict[str, Any] | None:
    """Gives the saved state, or None if there is none; refuses one of other settings or data."""
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        found, state = saved["identity"], saved["state"]
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path}: cannot be read ({error}); remove it to start anew"
        ) from error
    if found != identity:
        raise CheckpointError(
            f"{path}: belongs to other settings or data; remove it or choose another output folder"
        )
    return dict(state)
