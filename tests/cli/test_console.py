"""What commands show: tables, progress of work and of runs, and the time left."""

from __future__ import annotations

import io
import re
import sys

import pytest

from benchmark.cli import console
from benchmark.cli.console import Progress, RunProgress, say, say_table, step_progress
from benchmark.events import (
    EpochDone,
    Event,
    Message,
    RunDone,
    RunStarted,
    TaskDone,
    TaskStarted,
)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Shown:
    """Runs whose progress is plain lines."""

    def __init__(self, total: int) -> None:
        self.lines: list[str] = []
        self.clock = Clock()
        self.sink = RunProgress(Progress(self.lines.append, clock=self.clock), total)
        self.overall = self.sink.overall

    def events(self, *events: Event) -> None:
        for event in events:
            self.sink.event(event)


class Screen(io.StringIO):
    """A terminal that keeps what is drawn on it."""

    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Screen:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    return screen


def epochs(key: str, task: int, count: int, of: int) -> list[Event]:
    return [EpochDone(key, task, e, of, 0.5) for e in range(count)]


def test_time_left_follows_from_the_work_done() -> None:
    shown = Shown(2)
    assert shown.overall.time_remaining is None
    shown.events(RunStarted("a", "a", tasks=2, epochs=5), TaskStarted("a", 0))
    for event in epochs("a", 0, 5, 5):
        shown.clock.now += 2
        shown.events(event)
    assert shown.overall.completed == pytest.approx(0.5)
    assert shown.overall.time_remaining == 30
    shown.clock.now += 10
    shown.events(RunDone("a", "done", 50.0, 20.0))
    assert shown.overall.time_remaining == 20
    shown.events(RunDone("b", "failed", None, 0.0))
    assert (shown.overall.completed, shown.overall.time_remaining) == (2, 0)


def test_resumed_work_does_not_count_as_fast_work() -> None:
    shown = Shown(1)
    shown.events(RunStarted("a", "a", tasks=10, epochs=1), TaskStarted("a", 7))
    assert shown.overall.completed == pytest.approx(0.7)
    for task in (7, 8):
        shown.clock.now += 7
        shown.events(EpochDone("a", task, 0, 1, 0.1), TaskStarted("a", task + 1))
    assert shown.overall.time_remaining == pytest.approx(7, abs=1)


def test_a_method_without_training_has_progress_too() -> None:
    shown = Shown(1)
    shown.events(RunStarted("a", "a", tasks=4, epochs=0))
    for task in range(4):
        shown.events(TaskStarted("a", task), TaskDone("a", task, 10.0))
        assert shown.overall.completed == pytest.approx((task + 1) / 4)


def test_plain_lines_are_what_stays_and_signs_of_life() -> None:
    shown = Shown(2)
    shown.events(Message("note"))
    for key, label in (("a", "inflora on icons"), ("b", "ncm on icons")):
        shown.events(RunStarted(key, label, 1, 4), TaskStarted(key, 0))
        for event in epochs(key, 0, 4, 4):
            shown.clock.now += 25
            shown.events(event)
        shown.events(TaskDone(key, 0, 60.0), RunDone(key, "done", 61.25, 100.0))
    assert shown.lines == [
        "note",
        "inflora on icons: task 1, epoch 3, loss 0.500, 2 min 30 s left",
        "[1/2] inflora on icons: done, final accuracy 61.25 % in 1 min 40 s, 1 min 40 s left",
        "ncm on icons: task 1, epoch 3, loss 0.500, 50 s left",
        "[2/2] ncm on icons: done, final accuracy 61.25 % in 1 min 40 s",
    ]


def test_live_bars_take_every_event(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    with console.run_progress(2) as sink:
        sink.event(RunStarted("a", "[inflora] on icons", 1, 2))
        sink.event(TaskStarted("a", 0))
        for event in epochs("a", 0, 2, 2):
            sink.event(event)
        sink.event(TaskDone("a", 0, 61.0))
        sink.event(Message("careful"))
        sink.event(RunDone("a", "done", 61.25, 5.0))
        sink.event(RunDone("b", "failed", None, 0.0))  # a run that ended before it began
    for text in ("[inflora] on icons: done, final accuracy 61.25 %", "careful", "b: failed"):
        assert text in screen.getvalue()


def test_steps_follow_one_another(capsys: pytest.CaptureFixture[str]) -> None:
    with step_progress(heartbeat=0) as report:
        report("read", 1, 2)
        report("write", 1000, 2000)
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(",")[0] for line in lines] == ["read: 1 of 2", "write: 1"]


def test_a_table_is_never_cut_in_a_file_and_folded_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [("[a]", "words " * 40, "1.5"), ("bcd", "", "12.5")]
    screen = terminal(monkeypatch)
    say_table(rows, ("name", "text", "value"), right=("value",))
    assert max(map(len, screen.getvalue().splitlines()[1:])) <= 80
    plain = io.StringIO()
    monkeypatch.setattr(sys, "stdout", plain)
    say_table(rows, ("name", "text", "value"), right=("value",))
    head, first, second = plain.getvalue().splitlines()
    assert head.split() == ["name", "text", "value"]
    assert first.startswith("[a]   words words")
    assert len(head) == len(first) == len(second)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_every_output_takes_every_text(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding=encoding))
    say("1 ± 2 → 3")
    shown = written.getvalue().decode(encoding)
    assert shown == ("1 ± 2 → 3\n" if encoding == "utf-8" else "1 +- 2 ? 3\n")


def test_a_closed_output_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    say("nobody reads this")
    say_table([("a", "b")])
    with console.progress() as shown:
        shown.end(shown.start("work"), "done")


def test_no_name_commands_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = "folder:\x1b[2J\x9b31m\u202ered\rx"
    say(evil)
    say_table([(evil, evil)], ("a", "b"))
    with step_progress(heartbeat=0) as report:
        report(evil, 1, 2)
    shown = "".join(capsys.readouterr())
    assert not any(mark in shown for mark in "\x1b\x9b\u202e\r") and "\\x1b[2J" in shown
    screen = terminal(monkeypatch)
    say(evil)
    say_table([(evil,)])
    assert "\x1b[2J" not in screen.getvalue() and "\x9b" not in screen.getvalue()


def test_bar_time_and_loss_stay_readable_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal(monkeypatch)
    name = "inflora_b5 on folder:/home/someone/pictures of birds and bees/10, vit_b16_in21k, seed 0"
    clock = Clock()
    with console.progress() as shown:
        shown.bars.get_time = clock
        for work in shown.bars.tasks:
            work._get_time = clock
        sink = RunProgress(shown, 100)
        sink.event(RunStarted("a", name, 100, 200))
        sink.event(TaskStarted("a", 0))
        for event in epochs("a", 0, 150, 200):
            clock.now += 60
            sink.event(event)
        shown.bars.refresh()
        drawn = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue()).replace("\r", "\n")
    last = [line.rstrip() for line in drawn.splitlines() if line.strip()][-2:]
    assert all(len(line) <= 80 for line in last)
    assert last[0].startswith("all runs") and last[0].endswith(" left")
    assert last[1].startswith("inflora_b5 on folder:/home")
    assert last[1].endswith("task 1, epoch 150, loss 0.500") and "%" in last[1]
