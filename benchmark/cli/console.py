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
from functools import partial
from typing import Literal, TextIO

from rich.console import Console
from rich.progress import BarColumn, ProgressColumn, Task, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column, Table
from rich.text import Text

from benchmark.events import EpochDone, Event, Message, RunDone, RunStarted, TaskDone, TaskStarted
from benchmark.words import duration, size, visible

HEARTBEAT = 60.0  # seconds between two signs of life where progress is plain lines
_PACE_PERIOD = 7 * 86_400.0  # seconds whose pace tells the time left: an epoch may take hours
_UNLIMITED = 10_000  # columns: files and pipes have no width

Unit = Literal["", "bytes"]


def say(text: str = "") -> None:
    """Print a result to standard output."""
    _print(visible(text), sys.stdout)


def warn(text: str) -> None:
    """Print a remark or an error to standard error."""
    _print(visible(text), sys.stderr)


def say_drawn(text: str) -> None:
    """Print text with codes of a terminal, as `report.formats.terminal` makes it."""
    _print(text, sys.stdout)


def _print(text: str, stream: TextIO) -> None:
    print(_encodable(text, stream), file=stream, flush=True)


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
        table.add_row(*(Text(visible(cell)) for cell in row))
    console = Console(
        file=sys.stdout, width=None if _is_terminal(sys.stdout) else _UNLIMITED, highlight=False
    )
    with console.capture() as drawn:
        console.print(table)
    for line in drawn.get().splitlines():
        _print(line.rstrip(), sys.stdout)


class _Name(ProgressColumn):
    """What work is called: the one column that gives way where the terminal is narrow."""

    def render(self, task: Task) -> Text:
        """The name, cut at the end of the column."""
        return Text(task.description, no_wrap=True, overflow="ellipsis")


class Progress:
    """Work under way: live bars on the terminal of `console`, else plain lines; see `progress`."""

    def __init__(
        self,
        write: Callable[[str], None],
        heartbeat: float = HEARTBEAT,
        clock: Callable[[], float] = time.monotonic,
        console: Console | None = None,
    ) -> None:
        self._write, self._heartbeat, self._clock = write, heartbeat, clock
        self._last = clock()
        self.overall: Task | None = None  # its time left is shown with all other work
        self.bars = RichProgress(
            _Name(table_column=Column(overflow="ellipsis")),
            BarColumn(bar_width=10, table_column=Column(width=10)),
            TextColumn("{task.percentage:>3.0f} %", table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
            console=console,
            disable=console is None,
            get_time=clock,
            speed_estimate_period=_PACE_PERIOD,
            transient=True,
        )

    def line(self, text: str) -> None:
        """Write a line that stays."""
        self._last = self._clock()
        self._write(visible(text))

    def start(self, name: str, total: float = 0, done: int = 0, unit: Unit = "") -> Task:
        """Begin to show work; total: 0 where it is unknown, done: what is finished already."""
        name = visible(name)
        added = self.bars.add_task(name, total=total or None, completed=done, note="", unit=unit)
        return next(work for work in self.bars.tasks if work.id == added)

    def update(
        self, work: Task, done: float | None = None, note: str = "", total: float | None = None
    ) -> None:
        """Show how far work is; `note` takes the place of the amount."""
        self.bars.update(work.id, completed=done, total=total or None)
        note, left = visible(note) or _amount(work), self.left(self.overall or work)
        work.fields["note"] = note if self.overall not in (None, work) else f"{note}{left}"
        overdue = self._clock() - self._last >= self._heartbeat
        if self.bars.disable and overdue and work is not self.overall:
            self.line(f"{work.description}: {note}{left}")

    def end(self, work: Task, text: str = "") -> None:
        """Work is over; `text` stays."""
        self.bars.remove_task(work.id)
        if text:
            self.line(text)

    def left(self, work: Task) -> str:
        """The time left as the end of a sentence, empty where it is unknown."""
        seconds = work.time_remaining
        return f", {duration(seconds)} left" if seconds else ""


def _amount(work: Task) -> str:
    """How much is done, such as `12.3 MB of 1.2 GB, 5.1 MB/s`."""
    if work.fields["unit"] == "bytes":
        whole = f" of {size(work.total)}" if work.total else ""
        pace = f", {size(work.speed)}/s" if work.speed else ""
        return f"{size(work.completed)}{whole}{pace}"
    return f"{work.completed:,.0f} of {work.total or 0:,.0f}"


@contextmanager
def progress(stream: TextIO | None = None, heartbeat: float = HEARTBEAT) -> Iterator[Progress]:
    """Show progress on standard output or `stream` until the end of the block."""
    stream = stream or sys.stdout
    if not _is_terminal(stream):
        yield Progress(warn if stream is sys.stderr else say, heartbeat)
        return
    console = Console(file=stream)
    write = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    shown = Progress(write, heartbeat, console=console)
    with shown.bars:
        yield shown


@contextmanager
def step_progress(
    stream: TextIO | None = None, heartbeat: float = 10.0
) -> Iterator[Callable[[str, int, int], None]]:
    """A callback for functions that report `(step, done, total)`, one step after another."""
    with progress(stream, heartbeat) as shown:
        current: Task | None = None

        def report(step: str, done: int, total: int) -> None:
            nonlocal current
            if current is None or current.description != visible(step):
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
    """Shows the events of runs: each under way, and all together, every run counting the same.

    The total grows where more runs come than were announced.
    """

    def __init__(self, shown: Progress, total: int) -> None:
        self._shown, self._total = shown, total
        self._runs: dict[str, tuple[Task, RunStarted]] = {}
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
                self._count()
            case RunDone():
                self._end(event)
            case _ if event.key in self._runs:
                self._move(event, *self._runs[event.key])

    def _count(self) -> None:
        under_way = sum(work.percentage for work, _ in self._runs.values()) / 100
        self._total = max(self._total, self._ended + len(self._runs))
        note = f"{self._ended} of {self._total} done"
        self._shown.update(self.overall, self._ended + under_way, note, self._total)

    def _move(self, event: TaskStarted | EpochDone | TaskDone, work: Task, run: RunStarted) -> None:
        epochs = max(run.epochs, 1)
        done = event.task * epochs
        note = f"task {event.task + 1}"
        match event:
            case TaskStarted():
                if not work.fields["note"]:  # an earlier process did the tasks before: no pace
                    work.completed = done
                    self.overall.completed += event.task / run.tasks
            case EpochDone():
                done += event.epoch + 1
                note += f", epoch {event.epoch + 1}, loss {event.loss:.3f}"
            case TaskDone():
                done += epochs
                note += f": {event.accuracy:.1f} %"
        self._shown.update(work, done, note)
        self._count()

    def _end(self, event: RunDone) -> None:
        work, _ = self._runs.pop(event.key, (None, None))
        self._ended += 1
        self._count()
        label = work.description if work else event.key
        final = "" if event.final is None else f", final accuracy {event.final:.2f} %"
        took = f" in {duration(event.seconds)}" if event.seconds else ""
        left = self._shown.left(self.overall)
        if work:
            self._shown.end(work)
        self._shown.line(
            f"[{self._ended}/{self._total}] {label}: {event.status}{final}{took}{left}"
        )


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
