"""Says how far a bench is and how much time is left, but not too often."""

from __future__ import annotations

import time
from collections.abc import Callable

QUIET = 10.0  # seconds between two lines


class Clock:
    """Time left of `total` subjects of which one after the other is measured.

    write: takes a line and the seconds left, None where nothing is known of them yet.
    """

    def __init__(
        self,
        total: int,
        write: Callable[[str, float | None], None] = lambda line, left: None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total, self._write, self._now = total, write, now
        self._finished = 0
        self._label = ""
        self._started = self._begun = self._last = now()

    def begin(self, label: str) -> None:
        """The next subject."""
        self._label, self._begun = label, self._now()

    def note(self, doing: str, rest: float | None = None) -> None:
        """What is being done with the subject, and for how many seconds more, where known."""
        now = self._now()
        if now - self._last >= QUIET:
            self._last = now
            line = f"[{self._finished + 1}/{self._total}] {self._label}: {doing}"
            self._write(line, self._left(now, rest))

    def end(self) -> None:
        """The subject is finished, and its result printed."""
        self._finished += 1
        self._last = self._now()

    def _left(self, now: float, rest: float | None) -> float | None:
        """Seconds to the end: others are taken to last as long as those before."""
        own = now - self._begun
        others = self._total - self._finished - 1
        if self._finished:
            each = (self._begun - self._started) / self._finished
            return max(each - own, 0) + others * each if rest is None else rest + others * each
        return None if rest is None else rest + others * (own + rest)
