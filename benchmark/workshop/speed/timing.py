"""Paired timings of two pieces of work within a budget, and how much time a bench has left."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

FEWEST = 3  # pairs that are timed whatever the budget: a median of fewer says nothing
WARM = 1.0  # seconds of work after which nothing gets any warmer
QUIET = 10.0  # seconds between two lines of progress
Work = Callable[[], Any]


@dataclass(frozen=True)
class TimingBudget:
    """How long timing may take: at most `repeats` repetitions, and about `seconds` seconds."""

    repeats: int = 15
    seconds: float = 60.0

    def planned(self, done: int, elapsed: float) -> int:
        """How many repetitions there will be, after `done` of them took `elapsed` seconds."""
        if self.repeats * elapsed <= self.seconds * done:
            return self.repeats
        return min(self.repeats, max(int(self.seconds * done / elapsed), FEWEST))


@dataclass(frozen=True)
class Pairs:
    """Seconds of both works, pair by pair."""

    times: tuple[tuple[float, float], ...]

    @property
    def count(self) -> int:
        """Number of pairs."""
        return len(self.times)

    @property
    def first(self) -> float:
        """Median seconds of the first work."""
        return statistics.median(a for a, _ in self.times)

    @property
    def second(self) -> float:
        """Median seconds of the second work."""
        return statistics.median(b for _, b in self.times)

    @property
    def ratio(self) -> tuple[float, float, float]:
        """First over second within each pair: smallest, median, largest."""
        ratios = [a / b for a, b in self.times]
        return min(ratios), statistics.median(ratios), max(ratios)


def paired(
    first: Work,
    second: Work,
    budget: TimingBudget,
    device: torch.device,
    note: Callable[[int, float], None] = lambda done, left: None,
    warm: float = WARM,
) -> Pairs:
    """Times of both works, which take turns in being the first of a pair.

    Up to two turns within `warm` seconds come before and do not count. note: called between pairs
    with the number of pairs so far and the seconds left.
    """
    turn, started = 0, time.perf_counter()
    while turn < 2 and time.perf_counter() - started < warm:
        _in_turn(first, second, turn, device)
        turn += 1
    times: list[tuple[float, float]] = []
    started = time.perf_counter()
    while True:
        times.append(_in_turn(first, second, turn, device))
        turn += 1
        elapsed = time.perf_counter() - started
        left = budget.planned(len(times), elapsed) - len(times)
        if left <= 0:
            return Pairs(tuple(times))
        note(len(times), left * elapsed / len(times))


def repeated(work: Work, budget: TimingBudget, device: torch.device) -> list[float]:
    """Seconds of one work, again and again."""
    times: list[float] = []
    started = time.perf_counter()
    while not times or len(times) < budget.planned(len(times), time.perf_counter() - started):
        times.append(seconds(work, device))
    return times


def seconds(work: Work, device: torch.device) -> float:
    """How long a work takes, to the end of what it has started on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _in_turn(first: Work, second: Work, turn: int, device: torch.device) -> tuple[float, float]:
    if turn % 2:
        a = seconds(first, device)
        return a, seconds(second, device)
    b = seconds(second, device)
    return seconds(first, device), b


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
        elapsed = now - self._begun
        others = self._total - self._finished - 1
        if self._finished:
            each = (self._begun - self._started) / self._finished
            return max(each - elapsed, 0) + others * each if rest is None else rest + others * each
        return None if rest is None else rest + others * (elapsed + rest)
