"""Events of a run, as plain values that can cross a process boundary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class RunStarted:
    """A run starts or resumes; its work is `tasks` times `epochs`."""

    key: str
    label: str
    tasks: int
    epochs: int


@dataclass(frozen=True)
class TaskStarted:
    """Training on 0-based `task` starts; earlier tasks are finished."""

    key: str
    task: int


@dataclass(frozen=True)
class EpochDone:
    """0-based `epoch` of a task's `epochs` is finished; `loss` is its mean."""

    key: str
    task: int
    epoch: int
    epochs: int
    loss: float


@dataclass(frozen=True)
class TaskDone:
    """A task is trained and evaluated; `accuracy` in percent is the mean over the tasks seen."""

    key: str
    task: int
    accuracy: float


@dataclass(frozen=True)
class RunDone:
    """A run ended with `status`; `final` is its final accuracy in percent, None if it has none."""

    key: str
    status: str
    final: float | None
    seconds: float


@dataclass(frozen=True)
class Message:
    """A line for the user."""

    text: str


Event = RunStarted | TaskStarted | EpochDone | TaskDone | RunDone | Message


class ProgressSink(Protocol):
    """Receives the events of runs."""

    def event(self, event: Event) -> None:
        """Handle one event."""
