"""Progress: what is shown of a run, and how the time left is worked out."""

from __future__ import annotations

import io
import pickle

import pytest
from rich.console import Console

from benchmark import progress
from benchmark.cli.console import LineProgress, Tracker, in_words
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


def epochs(key: str, task: int, count: int, of: int) -> list[Event]:
    return [EpochDone(key, task, e, of, 0.5) for e in range(count)]


def test_events_cross_a_process_boundary() -> None:
    for event in (RunStarted("k", "label", 2, 3), RunDone("k", "done", None, 1.0), Message("m")):
        assert pickle.loads(pickle.dumps(event)) == event


def test_time_left_follows_from_the_work_done() -> None:
    clock = Clock()
    tracker = Tracker(2, clock)
    assert tracker.seconds_left is None
    tracker.note(RunStarted("a", "a", tasks=2, epochs=5))
    tracker.note(TaskStarted("a", 0))
    for event in epochs("a", 0, 5, 5):
        tracker.note(event)
    clock.now += 10
    assert tracker.share == pytest.approx(0.25)
    assert tracker.seconds_left == pytest.approx(30)
    tracker.note(RunDone("a", "done", 50.0, 20.0))
    clock.now += 10
    assert tracker.seconds_left == pytest.approx(20)
    tracker.note(RunDone("b", "failed", None, 0.0))
    assert (tracker.share, tracker.seconds_left) == (1.0, 0.0)


def test_resumed_work_does_not_count_as_fast_work() -> None:
    clock = Clock()
    tracker = Tracker(1, clock)
    tracker.note(RunStarted("a", "a", tasks=10, epochs=1))
    tracker.note(TaskStarted("a", 8))  # eight tasks were finished before
    assert tracker.share == pytest.approx(0.8)
    tracker.note(EpochDone("a", 8, 0, 1, 0.1))
    clock.now += 7
    assert tracker.seconds_left == pytest.approx(7)


def test_a_method_without_training_has_progress_too() -> None:
    tracker = Tracker(1)
    tracker.note(RunStarted("a", "a", tasks=4, epochs=0))
    for task in range(4):
        tracker.note(TaskStarted("a", task))
        tracker.note(TaskDone("a", task, 10.0))
    assert 0.0 <= tracker.share <= 1.0


def test_plain_lines_have_no_control_characters() -> None:
    lines: list[str] = []
    clock = Clock()
    sink = LineProgress(2, lines.append, clock)
    sink.event(Message("note"))
    for key, label in (("a", "inflora on icons"), ("b", "ncm on icons")):
        sink.event(RunStarted(key, label, 1, 1))
        sink.event(TaskStarted(key, 0))
        clock.now += 5
        sink.event(TaskDone(key, 0, 60.0))
        sink.event(RunDone(key, "done", 61.25, 5.0))
    assert lines == [
        "note",
        "[1/2] inflora on icons: done, final accuracy 61.25 % in 5 s, 5 s left",
        "[2/2] ncm on icons: done, final accuracy 61.25 % in 5 s",
    ]


def test_a_long_run_shows_that_it_is_alive() -> None:
    lines: list[str] = []
    clock = Clock()
    sink = LineProgress(1, lines.append, clock)
    sink.event(RunStarted("a", "inflora", 2, 10))
    sink.event(TaskStarted("a", 0))
    for event in epochs("a", 0, 10, 10):
        clock.now += 30
        sink.event(event)
    assert 2 <= len(lines) <= 4
    assert lines[0].startswith("inflora: task 1, epoch 3, ")


def test_live_bars_take_every_event(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    terminal = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr("rich.progress.get_console", lambda: terminal)
    with progress.live_progress(2) as sink:
        sink.event(RunStarted("a", "[inflora] on icons", 1, 2))
        sink.event(TaskStarted("a", 0))
        for event in epochs("a", 0, 2, 2):
            sink.event(event)
        sink.event(TaskDone("a", 0, 61.0))
        sink.event(Message("careful"))
        sink.event(RunDone("a", "done", 61.25, 5.0))
        sink.event(RunDone("b", "failed", None, 0.0))  # a run that ended before it began
    shown = screen.getvalue()
    for text in ("[inflora] on icons: done, final accuracy 61.25 %", "careful", "b: failed"):
        assert text in shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations_in_words(seconds: float, text: str) -> None:
    assert in_words(seconds) == text
