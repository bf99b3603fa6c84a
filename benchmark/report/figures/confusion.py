"""Tasks confused with each other after the last one, and wrong task against wrong class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.report.figures.numbers import (
    Confusion,
    NothingToDrawError,
    Options,
    confusion,
    reference_line,
)
from benchmark.report.formatting import number
from benchmark.report.rows import Block, Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmark.report.figures.canvas import Page

_MAPS = 6  # methods whose confusion is drawn in full; the bars show all
_BEST = 4  # of them the best methods that are no bounds
_WIDEST_MAP = 1.5  # inches
_BAR_AREA, _BAR, _BARS_TOP = 1.25, 0.14, 0.18  # inches: all bars' width, one's height, the key
_WIDEST = 1.5  # inches: longer names are wrapped
_WRONG_TASK, _WRONG_CLASS = "#08306B", "#FDBE85"  # dark and light
# Inches around the maps.
_MAP_LEFT, _MAP_TITLE, _MAP_BETWEEN, _MAP_UNDER, _MAP_BELOW = 0.34, 0.18, 0.12, 0.08, 0.3
_SCALE_WIDTH = 0.55
_TICKS = (0, 1, 5, 10, 25, 50, 100)


@dataclass(frozen=True)
class _Row:
    line: Row
    label: str
    found: Confusion


def confusion_map(block: Block, options: Options) -> Figure:
    """For a few methods the images' tasks against those predicted, for all the error's two parts.

    The few: the best methods, the one others are compared with, a lower bound and the upper one.
    """
    from benchmark.report.figures import canvas

    rows, missing = _rows(block, options)
    runs = canvas.runs_text([row.found.runs for row in rows])
    single = len(block.key.tasks) == 1 or block.key.scenario == "domain"
    shown = [] if single else _chosen(block, rows, options)
    title = f"{block.title}; errors after the last task, mean of {runs}"
    if block.key.scenario == "domain":
        title += "; all domains have the same classes, so there is no wrong task"
    elif single:
        title += "; with a single task there is no wrong task"
    elif len(shown) < len(rows):
        title += f"; maps of {len(shown)} of {len(rows)} methods"
    if missing:
        title += f"; without stored predictions: {', '.join(missing)}"
    labels = [canvas.wrapped(row.label, _WIDEST) for row in rows]
    names = max(map(canvas.text_width, labels)) + 0.1
    bars = names + _BAR_AREA + 0.35
    bars_height = sum(map(_height, labels))
    if not shown:
        page = canvas.Page(canvas.SINGLE, bars_height + _BARS_TOP + _MAP_BELOW, title)
        _draw_bars(page, rows, labels, names + canvas.MARGIN, page.top + _BARS_TOP)
        return page.figure
    columns = {1: 1, 2: 2, 4: 2}.get(len(shown), 3)
    deep = math.ceil(len(shown) / columns)
    room = canvas.DOUBLE - _MAP_LEFT - _SCALE_WIDTH - bars - (columns - 1) * _MAP_BETWEEN
    side = min(_WIDEST_MAP, room / columns)
    titles = [canvas.wrapped(row.label, side) for row in shown]
    above = _MAP_TITLE + canvas.LINE * max(text.count("\n") for text in titles)
    maps_height = deep * (side + above) + (deep - 1) * _MAP_UNDER + _MAP_BELOW
    height = max(maps_height, bars_height + _BARS_TOP + _MAP_BELOW)
    page = canvas.Page(canvas.DOUBLE, height, title)
    _draw_maps(page, shown, titles, columns, side, above)
    left = _MAP_LEFT + columns * (side + _MAP_BETWEEN) - _MAP_BETWEEN + _SCALE_WIDTH + names
    _draw_bars(page, rows, labels, left, page.top + _BARS_TOP)
    return page.figure


def _rows(block: Block, options: Options) -> tuple[list[_Row], list[str]]:
    """Lines with predictions, and the labels of those without."""
    if options.predictions is None:
        raise NothingToDrawError("no predictions are stored")
    from benchmark.report.figures import canvas

    found = [(line, confusion(line, options.predictions)) for line in block.rows]
    usable = [(line, known) for line, known in found if known]
    names = canvas.with_n([line.label for line, _ in usable], [known.runs for _, known in usable])
    rows = [_Row(line, name, known) for (line, known), name in zip(usable, names, strict=True)]
    if not rows:
        raise NothingToDrawError(
            "no finished run has predictions of the last stage that are usable"
        )
    return rows, [line.label for line, known in found if not known]


def _chosen(block: Block, rows: Sequence[_Row], options: Options) -> list[_Row]:
    """At most six rows in the order of the table."""
    if len(rows) <= _MAPS:
        return list(rows)
    try:
        compared = reference_line(block, options.relative_to)
    except NothingToDrawError:
        compared = None
    parts = [[row for row in rows if row.line.section == section] for section in (0, 1, 2)]
    wanted = [row for row in rows if row.line is compared]
    wanted += [*parts[2][-1:], *parts[0][:1], *parts[1][:_BEST], *parts[1], *parts[0]]
    kept: list[_Row] = []
    for row in wanted:
        if row not in kept and len(kept) < _MAPS:
            kept.append(row)
    return [row for row in rows if row in kept]


def _draw_maps(
    page: Page, rows: Sequence[_Row], titles: Sequence[str], columns: int, side: float, above: float
) -> None:
    from benchmark.report.figures import canvas
    from benchmark.report.figures.maps import Map

    colours = Map(page, 100, root=True)
    count = len(rows[0].found.shares)
    cell = side / count
    ticks = canvas.task_ticks(count, most=5)
    last = len(rows) - columns  # from here on nothing stands below
    for i, (row, title) in enumerate(zip(rows, titles, strict=True)):
        across, down = i % columns, i // columns
        left = _MAP_LEFT + across * (side + _MAP_BETWEEN)
        top = page.top + above + down * (side + above + _MAP_UNDER)
        colours.draw(left, top, cell, cell, row.found.shares)
        for tick in ticks:
            place = (tick - 0.5) * cell
            if i >= last:
                page.text(left + place, top + side + 0.11, str(tick), ha="center")
            if across == 0:
                page.text(left - 0.04, top + place, str(tick), ha="right", va="center_baseline")
        page.block(left, top - 0.03 - canvas.LINE * (title.count("\n") + 1), title)
        if across == 0:
            page.text(
                0.12, top + side / 2, "Task of the image", rotation=90, va="center", ha="center"
            )
        if i >= last:
            page.text(left + side / 2, top + side + 0.24, "Task predicted", ha="center")
    left = _MAP_LEFT + columns * (side + _MAP_BETWEEN) - _MAP_BETWEEN + 0.12
    colours.scale(left, page.top + above, side, _TICKS, "%")


def _draw_bars(
    page: Page, rows: Sequence[_Row], labels: Sequence[str], left: float, top: float
) -> None:
    from benchmark.report.figures import canvas

    base = top
    ticks, scale = _error_scale(max(row.found.wrong_task + row.found.wrong_class for row in rows))
    for row, label in zip(rows, labels, strict=True):
        middle = base + _height(label) / 2
        first = row.found.wrong_task / scale * _BAR_AREA
        second = row.found.wrong_class / scale * _BAR_AREA
        y = middle - 0.36 * _BAR
        page.box(left, y, first, 0.72 * _BAR, facecolor=_WRONG_TASK)
        page.box(left + first, y, second, 0.72 * _BAR, facecolor=_WRONG_CLASS)
        total = number(row.found.wrong_task + row.found.wrong_class, 1)
        page.text(left + first + second + 0.03, middle, total, va="center_baseline")
        lines = label.count("\n") + 1
        page.block(left - 0.05, middle - lines * canvas.LINE / 2, label, ha="right")
        base += _height(label)
    page.line([left, left], [top, base])
    page.line([left, left + _BAR_AREA], [base, base])
    for tick in ticks:
        x = left + tick / scale * _BAR_AREA
        page.line([x, x], [base, base + 0.03])
        page.text(x, base + 0.13, f"{tick:g}", ha="center")
    page.text(left + _BAR_AREA / 2, base + 0.26, "Error (%)", ha="center")
    x = left
    for colour, name in ((_WRONG_TASK, "wrong task"), (_WRONG_CLASS, "wrong class")):
        page.box(x, top - 0.14, 0.09, 0.09, facecolor=colour)
        page.text(x + 0.13, top - 0.095, name, va="center_baseline")
        x += 0.13 + canvas.text_width(name) + 0.12


def _height(label: str) -> float:
    return _BAR * (label.count("\n") + 1)


def _error_scale(largest: float) -> tuple[list[float], float]:
    """Ticks from 0 and the end of an axis that holds `largest` percent."""
    step = next(step for step in (1, 2, 5, 10, 20, 25) if largest <= 4 * step)
    count = max(1, math.ceil(largest / step - 1e-9))
    return [float(step * i) for i in range(count + 1)], float(step * count)
