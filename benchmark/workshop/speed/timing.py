"""Paired timings of two pieces of work within a budget."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

FEWEST = 3  # pairs that are timed whatever the budget: a median of fewer says nothing
WARM = 1.0  # seconds of work after which nothing gets any warmer
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
    note: Callable[[int, int], None] = lambda done, planned: None,
    warm: float = WARM,
) -> Pairs:
    """Times of both works, which take turns in being the first of a pair.

    Up to two turns within `warm` seconds come before and do not count. note: called between pairs
    with the number of pairs so far and that of all.
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
        planned = budget.planned(len(times), time.perf_counter() - started)
        if len(times) >= planned:
            return Pairs(tuple(times))
        note(len(times), planned)


def in_ms(times: Iterable[Sequence[float]]) -> list[tuple[float, ...]]:
    """Seconds as they are stored: milliseconds with four digits after the point."""
    return [tuple(round(1000 * t, 4) for t in pair) for pair in times]


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
