"""Everything the user sees while a command works: lines, warnings, and progress of runs."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmark.events import (
    EpochDone,
    Event,
    Message,
    ProgressSink,
    RunDone,
    RunStarted,
    TaskDone,
    TaskStarted,
)

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

HEARTBEAT = 60.0  # seconds: without a terminal, long runs show that they are alive this often


def say(text: str = "") -> None:
    """Print a result to standard output."""
    print(text, flush=True)


def warn(text: str) -> None:
    """Print a remark or a fault to standard error."""
    print(text, file=sys.stderr, flush=True)


@contextmanager
def show_progress(total: int) -> Iterator[ProgressSink]:
    """Progress of `total` runs: live bars on a terminal, plain lines elsewhere."""
    if sys.stdout.isatty():
        with live_progress(total) as sink:
            yield sink
    else:
        yield LineProgress(total, say)


@dataclass
class _Run:
    """How far one run is, in epochs over all its tasks."""

    label: str
    epochs: int
    size: int
    done: int = 0
    resumed: int = 0  # epochs that an earlier process had finished
    task: int = -1


@dataclass
class Tracker:
    """Adds up the events of all runs and estimates the time left from the work done so far."""

    total: int
    clock: Callable[[], float] = time.monotonic
    running: dict[str, _Run] = field(default_factory=dict)
    finished: int = 0

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._credit = 0.0  # runs' worth of work that cost no time now: it was resumed

    def note(self, event: Event) -> None:
        """Take an event into account."""
        if isinstance(event, RunStarted):
            size = max(event.tasks * event.epochs, 1)
            self.running[event.key] = _Run(event.label, event.epochs, size)
        elif isinstance(event, RunDone):
            self.running.pop(event.key, None)
            self.finished += 1
        elif not isinstance(event, Message) and (run := self.running.get(event.key)):
            if isinstance(event, TaskStarted):
                run.done = event.task * run.epochs
                if run.task < 0:  # the first task of this process: those before were resumed
                    run.resumed = run.done
                    self._credit += run.resumed / run.size
                run.task = event.task
            elif isinstance(event, EpochDone):
                run.done = event.task * run.epochs + event.epoch + 1
            elif isinstance(event, TaskDone):
                run.done = (event.task + 1) * run.epochs

    @property
    def share(self) -> float:
        """Finished share of all work, 0 to 1, every run counting the same."""
        under_way = sum(min(run.done / run.size, 1.0) for run in self.running.values())
        return min((self.finished + under_way) / max(self.total, 1), 1.0)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end; None before anything is finished."""
        worked = self.share * self.total - self._credit
        if worked <= 0:
            return None
        return (self.clock() - self._started) / worked * self.total * (1 - self.share)


def in_words(seconds: float) -> str:
    """A duration as a person says it: `48 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _left(tracker: Tracker) -> str:
    left = tracker.seconds_left
    return "" if left is None or tracker.finished >= tracker.total else f", {in_words(left)} left"


def _ended(tracker: Tracker, label: str, event: RunDone) -> str:
    final = "" if event.final is None else f", final accuracy {event.final:.2f} %"
    took = f" in {in_words(event.seconds)}" if event.seconds else ""
    head = f"[{tracker.finished}/{tracker.total}] {label}: {event.status}{final}"
    return head + took + _left(tracker)


class LineProgress:
    """Plain lines without control characters: one for every finished run, and a sign of life."""

    def __init__(
        self, total: int, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tracker = Tracker(total, clock)
        self._write = write
        self._clock = clock
        self._last = clock()

    def event(self, event: Event) -> None:
        """Write a line where there is something to say."""
        running = self.tracker.running.get(getattr(event, "key", ""))
        label = running.label if running else getattr(event, "key", "")
        self.tracker.note(event)
        if isinstance(event, Message):
            self._line(event.text)
        elif isinstance(event, RunDone):
            self._line(_ended(self.tracker, label, event))
        elif isinstance(event, (TaskDone, EpochDone)) and self._clock() - self._last > HEARTBEAT:
            place = f"task {event.task + 1}"
            place += f", epoch {event.epoch + 1}" if isinstance(event, EpochDone) else " done"
            self._line(f"{label}: {place}{_left(self.tracker)}")

    def _line(self, text: str) -> None:
        self._last = self._clock()
        self._write(text)


@contextmanager
def live_progress(total: int) -> Iterator[ProgressSink]:
    """Bars on a terminal: one for everything, one for every run under way."""
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, transient=True) as bars:
        yield _LiveProgress(total, bars)


class _LiveProgress:
    """Feeds rich's bars from the events."""

    def __init__(self, total: int, bars: Progress) -> None:
        self._tracker = Tracker(total)
        self._bars = bars
        self._overall = bars.add_task("all runs", total=1.0, note="")
        self._rows: dict[str, TaskID] = {}

    def event(self, event: Event) -> None:
        """Move the bars; a finished run becomes a line above them."""
        tracker = self._tracker
        before = tracker.running.get(getattr(event, "key", ""))
        tracker.note(event)
        if isinstance(event, Message):
            self._write(event.text)
        elif isinstance(event, RunStarted):
            size = tracker.running[event.key].size
            self._rows[event.key] = self._bars.add_task(event.label, total=size, note="")
        elif isinstance(event, RunDone):
            row = self._rows.pop(event.key, None)
            if row is not None:
                self._bars.remove_task(row)
            self._write(_ended(tracker, before.label if before else event.key, event))
        elif before is not None:
            self._move(event, before)
        note = f"{tracker.finished}/{tracker.total} done{_left(tracker)}"
        self._bars.update(self._overall, completed=tracker.share, note=note)

    def _move(self, event: TaskStarted | EpochDone | TaskDone, run: _Run) -> None:
        note = f"task {event.task + 1}"
        if isinstance(event, EpochDone):
            note += f", loss {event.loss:.3f}"
        elif isinstance(event, TaskDone):
            note += f": {event.accuracy:.1f} %"
        self._bars.update(self._rows[event.key], completed=run.done, note=note)

    def _write(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False)
