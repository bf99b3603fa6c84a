"""The checkpoint of a run, from which an interrupted one resumes to the same bits.

A checkpoint is one line, `clbench checkpoint SHA-256`, and the content that the digest is of.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmark.engine.state import StateError, as_bytes, as_tensor, packed, unpacked
from benchmark.storage import write_atomically

PART_OF_EVERY_RUN = True  # see engine.provenance

NAME = "checkpoint.pt"
_MARK = b"clbench checkpoint "


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; says why."""


@dataclass
class Progress:
    """What the finished tasks of a run gave.

    Attributes:
        tasks: Number of finished tasks; the other lists have one entry for each of them.
        losses: Mean loss of every epoch.
        choices: What `evaluation.choices` gave, by stage.
        notes: What the method said of the run (`Method.note`).
        batch_dependent: Whether a prediction depends on the other images of its batch.
        costs: What the outcome says of costs, once the last task is finished.
        peak_memory_mb: Largest memory of all processes that worked on the run.
        seconds: Time that all of them took.
    """

    tasks: int = 0
    losses: list[list[float]] = field(default_factory=list)
    train_seconds: list[float] = field(default_factory=list)
    eval_seconds: list[float] = field(default_factory=list)
    train_images_per_second: list[float] = field(default_factory=list)
    trainable_parameters: list[int] = field(default_factory=list)
    choices: dict[int, dict[str, Tensor]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    batch_dependent: bool = False
    costs: dict[str, Any] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    seconds: float = 0.0


@dataclass(frozen=True)
class Saved:
    """A run as far as it is.

    Attributes:
        state: Of the method after the finished tasks, as `Builder.pack` made it; empty before.
        progress: What these gave.
        within: Training on the task after them, as `within_task` saves it; empty: not begun.
    """

    state: bytes
    progress: Progress
    within: bytes = b""


def save(folder: Path, saved: Saved) -> None:
    """Write a run atomically; raises `StorageError` where the folder cannot be written."""
    content = packed(
        {
            "state": as_tensor(saved.state),
            "progress": vars(saved.progress),
            "within": as_tensor(saved.within),
        }
    )
    head = _MARK + hashlib.sha256(content).hexdigest().encode() + b"\n"
    write_atomically(folder / NAME, lambda file: file.writelines((head, content)))


def load(folder: Path) -> Saved | None:
    """What `save` was given, or None where there is no checkpoint.

    Raises `CheckpointError` where it is damaged or of another version.
    """
    try:
        stored = (folder / NAME).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise CheckpointError(f"cannot be read: {error.strerror or error}") from error
    head, _, content = stored.partition(b"\n")
    if head != _MARK + hashlib.sha256(content).hexdigest().encode():
        raise CheckpointError("damaged, or of another version of clbench")
    try:
        found = unpacked(content)
        progress = Progress(**found["progress"])
        return Saved(as_bytes(found["state"]), progress, as_bytes(found["within"]))
    except (StateError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"of another version of clbench: {error}") from error


def put_aside(folder: Path) -> Path:
    """Rename a checkpoint that cannot be used to `checkpoint.damaged-N`; return the new name."""
    names = (folder / f"checkpoint.damaged-{number}" for number in count(1))
    free = next(name for name in names if not name.exists())
    return (folder / NAME).rename(free)


def remove(folder: Path) -> None:
    """Delete the checkpoint of a finished run."""
    (folder / NAME).unlink(missing_ok=True)
