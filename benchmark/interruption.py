"""Signals that end a command: SIGINT, SIGTERM and SIGHUP end it alike, with what is done kept."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

PART_OF_EVERY_RUN = True  # see engine.provenance

_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class Interrupted(KeyboardInterrupt):
    """A signal ended the work; `number` is the signal's."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = int(number)


def exit_code(interruption: KeyboardInterrupt) -> int:
    """The exit code of a command that was interrupted: 128 and the number of the signal."""
    return 128 + getattr(interruption, "number", signal.SIGINT)


@contextmanager
def interruptible() -> Iterator[None]:
    """Inside, the signals raise `Interrupted` in the main thread."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled(interrupt):
        yield


@contextmanager
def deferred() -> Iterator[Callable[[], int | None]]:
    """Inside, a first signal is only noted, for work that has a better moment to stop.

    It raises `Interrupted` at the end of the block, those that follow do nothing.

    Yields:
        A function that gives the number of the signal that was noted, or None.
    """
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    with _handled(note):
        yield lambda: noted[0] if noted else None
    if noted:
        raise Interrupted(noted[0])


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals; those that are ignored, as under nohup, stay so."""
    if threading.current_thread() is not threading.main_thread():  # no other can
        yield
        return
    before: dict[int, Any] = {}
    try:
        for number in _SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                before[number] = signal.signal(number, handler)
        yield
    finally:
        for number, earlier in before.items():
            signal.signal(number, earlier)
