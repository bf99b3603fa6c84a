"""Shows downloads and unpacking: live bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmark.cli.console import HEARTBEAT, say
from benchmark.data.fetch.room import in_bytes
from benchmark.data.fetch.watch import Note, Step, Watch
from benchmark.words import duration

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

FIRST_SIGN = 5.0  # seconds: without a terminal, a file that takes longer shows that it is alive
_DOING = {"fetch": "fetching", "check": "checking", "unpack": "unpacking"}
_DONE = {"fetch": "fetched", "check": "checked", "unpack": "unpacked"}


@contextmanager
def show_transfers() -> Iterator[Watch]:
    """A `Watch` that shows what it is told until the end of the block."""
    if sys.stdout.isatty():
        with _live_bars() as watch:
            yield watch
    else:
        yield TransferLines(say)


class _Rate:
    """The pace of one file since it was first heard of, so that resumed bytes do not count."""

    def __init__(self, step: Step, now: float) -> None:
        self.key = (step.action, step.name)
        self._start, self._first = now, step.done

    def seconds(self, now: float) -> float:
        """Time since the start."""
        return now - self._start

    def note(self, step: Step, now: float) -> str:
        """`12.3 MB/s, 3 min 20 s left`, as far as that can be told."""
        pace = (step.done - self._first) / max(self.seconds(now), 1e-3)
        if pace <= 0:
            return ""
        left = f", {duration((step.total - step.done) / pace)} left" if step.total else ""
        return f"{in_bytes(round(pace))}/s{left}"


class TransferLines:
    """A line when a file is done, and signs of life while it takes long."""

    def __init__(
        self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._write, self._clock = write, clock
        self._rate: _Rate | None = None
        self._next = 0.0

    def __call__(self, event: Step | Note) -> None:
        """Write a line where there is something to say."""
        if isinstance(event, Note):
            self._write(event.text)
            return
        now = self._clock()
        if self._rate is None or self._rate.key != (event.action, event.name):
            self._rate = _Rate(event, now)
            self._next = now + FIRST_SIGN
        if event.done == event.total:
            took = duration(self._rate.seconds(now))
            self._write(f"{_DONE[event.action]} {event.name}: {in_bytes(event.done)} in {took}")
            self._rate = None
        elif now >= self._next:
            self._next = now + HEARTBEAT
            share = f"{100 * event.done // event.total} % of " if event.total else ""
            size = in_bytes(event.total or event.done)
            pace = self._rate.note(event, now)
            line = f"{_DOING[event.action]} {event.name}: {share}{size}"
            self._write(line + (f", {pace}" if pace else ""))


@contextmanager
def _live_bars() -> Iterator[Watch]:
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.fields[size]}", markup=False),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, transient=True) as bars:
        yield _LiveTransfers(bars)


class _LiveTransfers:
    """One bar for the file under way; a file that is done becomes a line above it."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._row: TaskID | None = None
        self._rate: _Rate | None = None
        self._lines = TransferLines(self._print)

    def __call__(self, event: Step | Note) -> None:
        if isinstance(event, Note):
            self._lines(event)
            return
        now = time.monotonic()
        if self._rate is None or self._rate.key != (event.action, event.name):
            self._end()
            self._rate = _Rate(event, now)
            title = f"{_DOING[event.action]} {event.name}"
            self._row = self._bars.add_task(title, total=event.total or None, size="", note="")
            # told of the first step only, it knows when this began and stays silent
            self._lines(Step(event.action, event.name, event.done, 0))
        if event.done == event.total:
            self._lines(event)
            self._end()
        elif self._row is not None:
            size = in_bytes(event.done) + (f" of {in_bytes(event.total)}" if event.total else "")
            note = self._rate.note(event, now)
            total = event.total or None
            self._bars.update(self._row, completed=event.done, total=total, size=size, note=note)

    def _end(self) -> None:
        if self._row is not None:
            self._bars.remove_task(self._row)
        self._row, self._rate = None, None

    def _print(self, line: str) -> None:
        self._bars.console.print(line, markup=False, highlight=False, soft_wrap=True)
