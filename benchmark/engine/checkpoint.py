"""Saving a run after every finished task, so that an interrupted run resumes to the same bits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.method import Method, Task
from benchmark.storage import write_atomically

PART_OF_EVERY_RUN = True  # see engine.provenance

NAME = "checkpoint.pt"


@dataclass
class Progress:
    """What the finished tasks of a run gave.

    Attributes:
        accuracy: Percent on each task seen, one row a stage; None where a stage is not evaluated.
        tasks: Number of finished tasks; the other lists have one entry for each of them.
        losses: Mean loss of every epoch.
        predictions: Arrays that will be stored, by name.
        notes: What the method said of the run (`Method.note`).
    """

    accuracy: list[list[float] | None]
    tasks: int = 0
    losses: list[list[float]] = field(default_factory=list)
    train_seconds: list[float] = field(default_factory=list)
    eval_seconds: list[float] = field(default_factory=list)
    train_images_per_second: list[float] = field(default_factory=list)
    trainable_parameters: list[int] = field(default_factory=list)
    predictions: dict[str, Tensor] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def initial_state(method: Method) -> dict[str, Tensor]:
    """Copies of the backbone's tensors, taken right after `__init__`."""
    return {
        name: value.detach().cpu().clone()
        for name, value in method.state_dict().items()
        if name.startswith("backbone.") and isinstance(value, Tensor)
    }


def save(folder: Path, method: Method, initial: dict[str, Tensor], progress: Progress) -> None:
    """Write the method's state and the progress atomically.

    Backbone tensors that still have their initial values are left out.
    """
    state = {
        name: value
        for name, value in method.state_dict().items()
        if not (name in initial and torch.equal(value.cpu(), initial[name]))
    }
    content = {"state": state, "progress": vars(progress)}
    write_atomically(folder / NAME, lambda file: torch.save(content, file))


def load(folder: Path) -> tuple[dict[str, Any], Progress] | None:
    """The state that `save` kept and the progress, or None when there is none to be read."""
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        return saved["state"], Progress(**saved["progress"])
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, TypeError):
        return None  # a damaged checkpoint costs time, never a wrong number


def restore(
    method: Method, tasks: list[Task], state: dict[str, Any], initial: dict[str, Tensor]
) -> None:
    """Rebuild the shapes of the finished tasks, then load the state strictly."""
    for task in tasks:
        method.grow(task)
    method.load_state_dict({**initial, **state}, strict=True)


def remove(folder: Path) -> None:
    """Delete the checkpoint of a finished run, and what a killed process left of one."""
    for file in (folder / NAME, *folder.glob(f".{NAME}.*")):
        file.unlink(missing_ok=True)
