"""Saving a run within a task, at an interval and on a signal, so that little of it is ever lost."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmark.engine.attributes import Attributes, AttributeStateError, Prints
from benchmark.engine.state import Builder, StateError, as_bytes, as_tensor, packed, unpacked
from benchmark.engine.trainer import Saver, Training
from benchmark.interruption import Interrupted, deferred
from benchmark.seeds import global_states, set_global_states

PART_OF_EVERY_RUN = True  # see engine.provenance

_COUNTS = ("epoch", "batches", "count", "losses", "images")  # of `Training`


class ResumeError(RuntimeError):
    """Training that cannot go on within its task, which has to start again."""


class TaskSaver(Saver):
    """Saves training on one task, and resumes it.

    A resumed task begins as any other, with `begin_task`. Then everything is set to what it was at
    the last save: the state of the method, attributes that changed since `begin_task`, optimizer,
    generators, and the place in the epoch.

    Attributes:
        builder: Of the method.
        every: Seconds between two saves; 0: none but on a signal.
        keep: Stores what was saved.
        found: What an earlier process saved of this task; empty: nothing.
        warn: Is told why the task cannot be saved.
    """

    def __init__(
        self,
        builder: Builder,
        every: float,
        keep: Callable[[bytes], None],
        found: bytes,
        warn: Callable[[str], None],
    ) -> None:
        self.builder, self.every, self.keep = builder, every, keep
        self.found, self.warn = found, warn
        self._signalled: Callable[[], int | None] = lambda: None
        self._before: Prints | None = None  # attributes after `begin_task`
        self._last = time.monotonic()

    @contextmanager
    def watch(self, training: Training) -> Iterator[None]:
        """Resume, then note signals until a step is finished."""
        try:
            self._before = _attributes(training).prints()
        except AttributeStateError as error:
            self._give_up(error)
        if self.found:
            self._resume(training)
        self._last = time.monotonic()
        with deferred() as self._signalled:
            yield
            if self._signalled():
                self.save(training)

    def due(self) -> bool:
        """Whether the interval has passed, or a signal has come."""
        late = self.every and time.monotonic() - self._last >= self.every
        return bool(late) or self._signalled() is not None

    def save(self, training: Training) -> None:
        """Save training after a step; ends it where a signal has come."""
        if self._before is not None:
            try:
                self.keep(self._packed(training, self._before))
            except (AttributeStateError, StateError) as error:
                self._give_up(error)
        self._last = time.monotonic()
        if (number := self._signalled()) is not None:
            raise Interrupted(number)

    def _give_up(self, reason: Exception) -> None:
        self._before = None
        self.warn(f"cannot be saved within a task, only after it: {reason}")

    def _packed(self, training: Training, before: Prints) -> bytes:
        method = training.method
        return packed(
            {
                **{name: getattr(training, name) for name in _COUNTS},
                "total": float(training.total),
                "seconds": time.perf_counter() - training.started,
                "passes": training.data.passes,
                "begun": _words(before),
                "state": as_tensor(self.builder.pack(method)),
                "changed": _attributes(training).changed(before),
                "trainable": [n for n, p in method.named_parameters() if p.requires_grad],
                "optimizer": training.optimizer.state_dict(),
                "generators": global_states(),
            }
        )

    def _resume(self, training: Training) -> None:
        """Set everything to what it was; ResumeError where it would not be the same."""
        try:
            saved = unpacked(self.found)
            if self._before is None or saved["begun"] != _words(self._before):
                raise ResumeError("begin_task did not do the same again")
            self._set(training, saved)
        except (StateError, ValueError, LookupError, AttributeError) as error:
            raise ResumeError(str(error)) from error

    def _set(self, training: Training, saved: dict[str, Any]) -> None:
        method, device = training.method, training.total.device
        self.builder.load(method, as_bytes(saved["state"]))
        for name, parameter in method.named_parameters():
            parameter.requires_grad_(name in saved["trainable"])
        _attributes(training).restore(saved["changed"], device)
        training.optimizer.load_state_dict(saved["optimizer"])
        for name in _COUNTS:
            setattr(training, name, saved[name])
        training.total = torch.tensor(saved["total"], device=device, dtype=torch.float64)
        training.started = time.perf_counter() - saved["seconds"]
        training.data.passes = saved["passes"]
        set_global_states(saved["generators"])


def _attributes(training: Training) -> Attributes:
    return Attributes(training.method, {"data": training.data, "task": training.task})


def _words(prints: Prints) -> dict[str, str]:
    return {".".join(key): value.hex() for key, value in prints.items()}
