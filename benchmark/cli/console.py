"""Everything that commands show: lines, warnings, tables and progress.

    say("3 runs to do")                         a line on standard output
    warn("failed: inflora on icons")            a line on standard error
    say_table(rows, headers, right=("time",))   columns; without headers, plain pairs
    with progress() as shown:                   work that takes long
        work = shown.start("fetching a.zip", total=file.bytes, unit="bytes")
        shown.update(work, done=received)       at any rate: it is shown as often as is useful
        shown.end(work, "fetched a.zip")        the text stays, what `update` showed does not
        shown.line("it was there already")      a line that stays, beside the work under way
    with run_progress(len(runs)) as sink:       the same for the events of runs
        execute(runs, settings, sink.event)

Progress is live bars with the time left on a terminal. Elsewhere it is plain lines: those that
stay, and a sign of life of work that takes long. `step_progress` makes a callback of it for
functions that report `(step, done, total)`. How quantities are written (durations, sizes, counts)
is in `benchmark.words`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TextIO

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column, Table
from rich.text import Text

from benchmark.events import EpochDone, Event, Message, RunDone, RunStarted, TaskDone, TaskStarted
from benchmark.words import duration, size

HEARTBEAT = 60.0  # seconds between two signs of life where progress is plain lines
_UNLIMITED = 10_000  # columns: files and pipes have no width

Unit = Literal["", "bytes"]


def say(text: str = "") -> None:
    """Print a result to standard output."""
    print(_encodable(text, sys.stdout), flush=True)


def warn(text: str) -> None:
    """Print a remark or an error to standard error."""
    print(_encodable(text, sys.stderr), file=sys.stderr, flush=True)


def say_table(
    rows: Iterable[Sequence[str]], headers: Sequence[str] = (), *, right: Collection[str] = ()
) -> None:
    """Print aligned columns to standard output; `right` names the headers of numbers.

    On a terminal long cells are folded to its width, elsewhere every row is one line.
    """
    table = Table(box=None, show_header=bool(headers), pad_edge=False, padding=(0, 2, 0, 0))
    for header in headers:
        table.add_column(Text(header), justify="right" if header in right else "left")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(
        file=sys.stdout, width=None if _is_terminal(sys.stdout) else _UNLIMITED, highlight=False
    )
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        say(line.rstrip())


class Work:
    """Work under way; the time left follows from its pace so far."""

    def __init__(
        self, name: str, total: float, done: float, unit: Unit, clock: Callable[[], float]
    ) -> None:
        self.name, self.total, self.done, self.unit = name, total, done, unit
        self.note = ""
        self._clock, self._started = clock, clock()
        self._given = done  # it took no time now: an earlier process had done it

    def skip(self, amount: float) -> None:
        """Count work that an earlier process had done."""
        self.done += amount
        self._given += amount

    @property
    def pace(self) -> float:
        """How much is done in a second."""
        return (self.done - self._given) / max(self._clock() - self._started, 1e-3)

    @property
    def seconds_left(self) -> float | None:
        """Estimated seconds to the end; None while nothing tells."""
        if self.done >= self.total or self.pace <= 0:
            return None
        return (self.total - self.done) / self.pace

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    def amount(self) -> str:
        """How much is done, such as `12.3 MB of 1.2 GB, 5.1 MB/s`."""
        if self.unit == "bytes":
            whole = f" of {size(self.total)}" if self.total else ""
            pace = f", {size(self.pace)}/s" if self.pace > 0 else ""
            return f"{size(self.done)}{whole}{pace}"
        return f"{self.done:,.0f} of {self.total:,.0f}"


class Progress:
    """Progress as plain lines without control characters; see `progress`."""

    def __init__(
        self,
        write: Callable[[str], None],
        heartbeat: float = HEARTBEAT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._write, self._heartbeat, self._clock = write, heartbeat, clock
        self._last = clock()
        self.overall: Work | None = None  # its time left is shown with all other work

    def line(self, text: str) -> None:
        """Write a line that stays."""
        self._last = self._clock()
        self._write(text)

    def start(self, name: str, total: float = 0, done: float = 0, unit: Unit = "") -> Work:
        """Begin to show work; total: 0 where it is unknown, done: what is finished already."""
        return Work(name, total, done, unit, self._clock)

    def update(
        self, work: Work, done: float | None = None, note: str = "", total: float | None = None
    ) -> None:
        """Show how far work is; `note` takes the place of the amount."""
        work.done = work.done if done is None else done
        work.total = work.total if total is None else total
        work.note = note
        self._show(work)

    def end(self, work: Work, text: str = "") -> None:
        """Work is over; `text` stays."""
        if text:
            self.line(text)

    def left(self, work: Work) -> str:
        """The time left as the end of a sentence, empty where it is unknown."""
        seconds = (self.overall or work).seconds_left
        return "" if seconds is None else f", {duration(seconds)} left"

    def _show(self, work: Work) -> None:
        if self._clock() - self._last >= self._heartbeat and work is not self.overall:
            self.line(f"{work.name}: {work.note or work.amount()}{self.left(work)}")


class _LiveProgress(Progress):
    """Progress as bars on a terminal."""

    def __init__(self, bars: RichProgress) -> None:
        super().__init__(self._print)
        self._bars = bars
        self._rows: dict[Work, TaskID] = {}

    def start(self, name: str, total: float = 0, done: float = 0, unit: Unit = "") -> Work:
        work = super().start(name, total, done, unit)
        self._rows[work] = self._bars.add_task(name, total=total or None, note="")
        return work

    def end(self, work: Work, text: str = "") -> None:
        self._bars.remove_task(self._rows.pop(work))
        super().end(work, text)

    def _show(self, work: Work) -> None:
        note = work.note or work.amount()
        if self.overall in (None, work):
            note += self.left(work)
        total = work.total or None
        self._bars.update(self._rows[work], completed=work.done, total=total, note=note)

    def _print(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress(stream: TextIO | None = None, heartbeat: float = HEARTBEAT) -> Iterator[Progress]:
    """Show progress on standard output or `stream` until the end of the block."""
    stream = stream or sys.stdout
    if not _is_terminal(stream):
        yield Progress(warn if stream is sys.stderr else say, heartbeat)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=10, table_column=Column(width=10)),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with RichProgress(*columns, console=Console(file=stream), transient=True) as bars:
        yield _LiveProgress(bars)


@contextmanager
def step_progress(
    stream: TextIO | None = None, heartbeat: float = 10.0
) -> Iterator[Callable[[str, int, int], None]]:
    """A callback for functions that report `(step, done, total)`, one step after another."""
    with progress(stream, heartbeat) as shown:
        current: Work | None = None

        def report(step: str, done: int, total: int) -> None:
            nonlocal current
            if current is None or current.name != step:
                if current is not None:
                    shown.end(current)
                current = shown.start(step, total, done)
            shown.update(current, done, total=total)

        yield report


@contextmanager
def run_progress(total: int) -> Iterator[RunProgress]:
    """Show the progress of `total` runs by their events."""
    with progress() as shown:
        yield RunProgress(shown, total)


class RunProgress:
    """Shows the events of runs: each under way, and all together, every run counting the same."""

    def __init__(self, shown: Progress, total: int) -> None:
        self._shown = shown
        self._runs: dict[str, tuple[Work, RunStarted]] = {}
        self._ended = 0
        self.overall = shown.overall = shown.start("all runs", total)

    def event(self, event: Event) -> None:
        """Show one event."""
        match event:
            case Message():
                self._shown.line(event.text)
            case RunStarted():
                work = self._shown.start(event.label, event.tasks * max(event.epochs, 1))
                self._runs[event.key] = work, event
            case RunDone():
                self._end(event)
            case _ if event.key in self._runs:
                self._move(event, *self._runs[event.key])
        done = sum(work.done / work.total for work, _ in self._runs.values())
        ended = f"{self._ended} of {self.overall.total:.0f} done"
        self._shown.update(self.overall, self._ended + done, ended)

    def _move(self, event: TaskStarted | EpochDone | TaskDone, work: Work, run: RunStarted) -> None:
        epochs = max(run.epochs, 1)
        note = f"task {event.task + 1}"
        match event:
            case TaskStarted():
                if not work.note and event.task:  # the first task of this process
                    work.skip(event.task * epochs)
                    self.overall.skip(event.task / run.tasks)
                done = event.task * epochs
            case EpochDone():
                done = event.task * epochs + event.epoch + 1
                note += f", epoch {event.epoch + 1}, loss {event.loss:.3f}"
            case TaskDone():
                done = (event.task + 1) * epochs
                note += f": {event.accuracy:.1f} %"
        self._shown.update(work, done, note)

    def _end(self, event: RunDone) -> None:
        work, _ = self._runs.pop(event.key, (None, None))
        self._ended += 1
        self.overall.done = self._ended + sum(w.done / w.total for w, _ in self._runs.values())
        label = work.name if work else event.key
        final = "" if event.final is None else f", final accuracy {event.final:.2f} %"
        took = f" in {duration(event.seconds)}" if event.seconds else ""
        text = f"[{self._ended}/{self.overall.total:.0f}] {label}: {event.status}{final}{took}"
        text += self._shown.left(self.overall)
        if work:
            self._shown.end(work, text)
        else:
            self._shown.line(text)


def _is_terminal(stream: TextIO | None) -> bool:
    """Whether bars can be drawn; the stream is None where a shell has closed it."""
    return stream is not None and not stream.closed and stream.isatty()


def _encodable(text: str, stream: TextIO | None) -> str:
    """The text as the stream can take it."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.replace("±", "+-").encode(encoding, "replace").decode(encoding)
    return text
