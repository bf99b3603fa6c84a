"""Saving a run after every finished task, so that a cut run goes on to the same bits."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.method import Method, Task

NAME = "checkpoint.pt"


def initial_state(method: Method) -> dict[str, Tensor]:
    """Copies of the backbone's tensors, taken right after `__init__`."""
    return {
        name: value.detach().cpu().clone()
        for name, value in method.state_dict().items()
        if name.startswith("backbone.") and isinstance(value, Tensor)
    }


def save(
    folder: Path, method: Method, initial: dict[str, Tensor], progress: dict[str, Any]
) -> None:
    """Write the method's state and `progress` (tensors and plain values) atomically.

    Backbone tensors that still have their initial values are left out.
    """
    state = {
        name: value
        for name, value in method.state_dict().items()
        if not (name in initial and torch.equal(value.cpu(), initial[name]))
    }
    temporary = folder / f".{NAME}.tmp"
    try:
        with temporary.open("wb") as file:
            torch.save({"state": state, "progress": progress}, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(folder / NAME)
    finally:
        temporary.unlink(missing_ok=True)


def load(folder: Path) -> dict[str, Any] | None:
    """The saved checkpoint, or None when there is none that can be read."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError):
        return None  # a damaged checkpoint costs time, never a wrong number
    return saved


def restore(
    method: Method, tasks: list[Task], state: dict[str, Any], initial: dict[str, Tensor]
) -> None:
    """Rebuild the shapes of the finished tasks, then load the state strictly."""
    for task in tasks:
        method.grow(task)
    method.load_state_dict({**initial, **state}, strict=True)


def remove(folder: Path) -> None:
    """Delete the checkpoint of a finished run."""
    (folder / NAME).unlink(missing_ok=True)
