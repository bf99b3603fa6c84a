"""What the page's figures of a block show: the numbers of the report's figures, with texts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.metrics import Summary
from benchmark.report.figures.numbers import (
    NothingToDrawError,
    forgetting_by_task,
    pareto_front,
    reference_line,
    relative_summaries,
    stage_summaries,
)
from benchmark.report.formatting import number
from benchmark.report.model import PLUS_MINUS
from benchmark.report.page.axis import Axis, cost_axis, percent_axis, task_axis
from benchmark.report.rows import Block, Row

_TIME_UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))


@dataclass(frozen=True)
class Mark:
    """A point, the ends of its standard deviation, and what is said of it."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Series:
    """The points of one line of the block; level: they also stand for a level over the whole x."""

    line: Row
    marks: tuple[Mark, ...]
    level: bool = False


@dataclass(frozen=True)
class Chart:
    """joined: points are joined by lines, with bands; front: corners of the Pareto front."""

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    joined: bool
    front: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class HeatMap:
    """One value per line and task, nan where there is none."""

    title: str
    rows: tuple[tuple[Row, tuple[float, ...]], ...]


def charts_of(block: Block, relative_to: str = "") -> list[Chart | HeatMap]:
    """Figures of a block, those left out that have nothing to show.

    relative_to: as for the report's figures, see `benchmark.report.figures.Options`.
    """
    lines = [line for line in block.rows if line.done]
    if not lines:
        return []
    word = "domain" if block.key.scenario == "domain" else "task"
    found = (
        _accuracy(lines),
        _relative(block, relative_to, word),
        _cost(lines, "parameters added to the backbone", "expanded_parameters", "k", 1e3),
        _cost(lines, "training time of all tasks", "train_seconds", *_time_unit(lines)),
        _forgetting(lines),
    )
    return [chart for chart in found if chart is not None]


def _accuracy(lines: Sequence[Row]) -> Chart | None:
    series = [_over_tasks(line, stage_summaries(line), "after task {}") for line in lines]
    return _curves("Accuracy after each task", "Tasks learned", "Accuracy (%)", series, 0.0)


def _relative(block: Block, relative_to: str, word: str) -> Chart | None:
    try:
        chosen = reference_line(block, relative_to)
    except NothingToDrawError:
        return None
    series = [
        _over_tasks(line, relative_summaries(line, chosen), word + " {}", sign=True)
        for line in block.rows
        if line is not chosen and line.done
    ]
    title = f"Accuracy on each {word} after the last, less that of {chosen.label}"
    return _curves(title, word.capitalize(), "Difference (points)", series, -100.0)


def _over_tasks(
    line: Row, summaries: Sequence[Summary], words: str, *, sign: bool = False
) -> Series:
    marks = [
        _mark(i, summary, words.format(i), sign)
        for i, summary in enumerate(summaries, 1)
        if not math.isnan(summary.mean)
    ]
    return Series(line, tuple(marks), level=len(marks) == 1 < len(summaries))


def _mark(x: float, summary: Summary, words: str, sign: bool = False) -> Mark:
    mean, std = summary.mean, 0.0 if math.isnan(summary.std) else summary.std
    text = ("+" if sign and mean > 0 else "") + number(mean, 2)
    if not math.isnan(summary.std):
        text += f" {PLUS_MINUS} {number(std, 2)}"
    return Mark(x, mean, mean - std, mean + std, f"{words}: {text}, n = {summary.n}")


def _curves(
    title: str, x_name: str, y_name: str, found: Sequence[Series], least: float
) -> Chart | None:
    series = tuple(one for one in found if one.marks)
    if not series:
        return None
    count = max(len(one.line.spec["tasks"]) for one in series)
    y = percent_axis(y_name, _ends(series), least)
    return Chart(title, task_axis(x_name, count), y, series, True)


def _cost(lines: Sequence[Row], words: str, name: str, unit: str, scale: float) -> Chart | None:
    """Final accuracy over a cost, with the Pareto front of all but the upper bounds."""
    series = []
    for line in lines:
        final, cost = line.summary("final"), line.summary(name).mean / scale
        # What an upper bound adds is no price of learning task by task: a level to compare with.
        level = name == "expanded_parameters" and line.is_upper_bound
        if not math.isnan(final.mean + cost):
            said = f"{number(cost, 1)} {unit}"
            mark = _mark(0.0 if level else cost, final, said)
            series.append(Series(line, (mark,), level))
    if not series:
        return None
    rivals = [one.marks[0] for one in series if not one.line.is_upper_bound]
    points = [(mark.x, mark.y) for mark in rivals]
    front = [points[i] for i in pareto_front(points)] if len(points) > 1 else []
    x = cost_axis(
        f"{words.capitalize()} ({unit})", [one.marks[0].x for one in series if not one.level]
    )
    y = percent_axis("Final accuracy (%)", _ends(series))
    title = f"Final accuracy over {words}{', and Pareto front' * bool(front)}"
    return Chart(title, x, y, tuple(series), False, tuple(front))


def _forgetting(lines: Sequence[Row]) -> HeatMap | None:
    rows = [(line, tuple(forgetting_by_task(line))) for line in lines]
    known = [row for row in rows if not all(map(math.isnan, row[1]))]
    return HeatMap("Forgetting of each task (points)", tuple(known)) if known else None


def _time_unit(lines: Sequence[Row]) -> tuple[str, float]:
    longest = max((line.summary("train_seconds").mean for line in lines), default=0.0)
    return next((unit for unit in _TIME_UNITS if longest >= 2 * unit[1]), _TIME_UNITS[-1])


def _ends(series: Sequence[Series]) -> list[float]:
    return [end for one in series for mark in one.marks for end in (mark.low, mark.high)]
