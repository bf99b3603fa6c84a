"""Tasks confused with each other after the last one, and wrong task against wrong class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmark.report.figures.base import FIGURES, BlockFigure
from benchmark.report.figures.numbers import Confusion, confusion, reference_line
from benchmark.report.figures.options import NothingToDrawError, Options
from benchmark.report.figures.svg import Values
from benchmark.report.formatting import number
from benchmark.report.palette import COLOURS
from benchmark.report.rows import Block, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmark.report.figures.canvas import Canvas

_MAPS = 6  # methods whose confusion is drawn in full; the bars show all
_BEST = 4  # of them the best methods that are no bounds
_ACROSS = 3  # maps side by side
_MAP, _AXIS = 0.9, 0.4  # inches: height of a map with its title, of an axis and its name
_PARTS = (("wrong task", COLOURS[0]), ("wrong class", COLOURS[4]))


@dataclass(frozen=True)
class _Row:
    """A row of the block, its position there, its label with n, and its errors."""

    line: Row
    place: int
    label: str
    found: Confusion


@FIGURES.register("confusion")
class ConfusionMap(BlockFigure):
    """For a few methods the images' tasks against those predicted, for all the error's two parts.

    The few: the best methods, the one others are compared with, a lower bound and the upper one.
    """

    title = "Tasks confused after the last one, and the two parts of the error"

    def draw(self, block: Block, canvas: Canvas) -> None:
        """Draw maps above bars; bars alone where there is no wrong task."""
        from benchmark.report.figures.canvas import lines_high, runs_text

        rows, missing = _rows(block, canvas.options)
        runs = runs_text([row.found.runs for row in rows])
        caption = f"{block.title}; errors after the last task, mean of {runs}"
        shown: list[_Row] = []
        if block.key.scenario == "domain":
            caption += "; all domains have the same classes, so there is no wrong task"
        elif len(block.key.tasks) == 1:
            caption += "; with a single task there is no wrong task"
        else:
            shown = _chosen(block, rows, canvas.options)
        if 0 < len(shown) < len(rows):
            caption += f"; maps of {len(shown)} of {len(rows)} methods"
        if missing:
            caption += f"; without stored predictions: {', '.join(missing)}"
        bars = 1.1 * lines_high([row.label for row in rows]) + _AXIS + 0.15
        if not shown:
            canvas.caption(caption, bars)
            _draw_bars(canvas.figure.add_subplot(), canvas, rows)
            return
        deep = math.ceil(len(shown) / _ACROSS)
        maps = deep * _MAP + _AXIS
        canvas.caption(caption, maps + bars)
        parts = canvas.figure.add_gridspec(2, 1, height_ratios=(maps, bars))
        grid = parts[0].subgridspec(deep, min(len(shown), _ACROSS)).subplots(squeeze=False)
        _draw_maps(grid.ravel().tolist(), grid.shape[1], canvas, shown)
        _draw_bars(canvas.figure.add_subplot(parts[1]), canvas, rows)


def _rows(block: Block, options: Options) -> tuple[list[_Row], list[str]]:
    """Rows with predictions, and the labels of those without."""
    from benchmark.report.figures.canvas import labels_with_n

    if options.predictions is None:
        raise NothingToDrawError("no predictions are stored")
    found = [confusion(line, options.predictions) for line in block.rows]
    usable = [(i, known) for i, known in enumerate(found) if known]
    if not usable:
        raise NothingToDrawError(
            "no finished run has predictions of the last stage that are usable"
        )
    lines = [block.rows[i] for i, _ in usable]
    labels = labels_with_n(lines, [known.runs for _, known in usable])
    rows = [
        _Row(line, i, label, known)
        for line, (i, known), label in zip(lines, usable, labels, strict=True)
    ]
    missing = [line.label for line, known in zip(block.rows, found, strict=True) if known is None]
    return rows, missing


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


def _draw_maps(grid: Sequence[Axes], across: int, canvas: Canvas, rows: Sequence[_Row]) -> None:
    """Draw maps; across: how many stand side by side."""
    from benchmark.report.figures.canvas import draw_map, task_ticks, wrapped

    numbers = task_ticks(len(rows[0].found.shares), most=5)
    places, ticks = [number - 0.5 for number in numbers], list(map(str, numbers))
    for axes in grid[len(rows) :]:
        axes.set_visible(False)
    for i, (axes, row) in enumerate(zip(grid, rows, strict=False)):
        mesh = draw_map(axes, row.found.shares, 100, power=0.5)
        axes.set_aspect("equal")
        axes.set_title(wrapped(row.label, 18))
        lowest, first = i + across >= len(rows), i % across == 0
        axes.set_xticks(places, ticks if lowest else [])
        axes.set_yticks(places, ticks if first else [])
        if first:
            axes.set_ylabel("Task of image")
        if lowest:
            axes.set_xlabel("Task predicted")
    scale = canvas.figure.colorbar(
        mesh, ax=list(grid), aspect=25, pad=0.02, ticks=(0, 1, 5, 10, 25, 50, 100)
    )
    scale.set_label("% of the task's images")
    assert scale.solids is not None
    scale.solids.set_rasterized(True)


def _draw_bars(axes: Axes, canvas: Canvas, rows: Sequence[_Row]) -> None:
    from benchmark.report.figures.canvas import wrapped

    heights = np.arange(len(rows))
    left = np.zeros(len(rows))
    errors = [(row.found.wrong_task, row.found.wrong_class) for row in rows]
    for (name, colour), values in zip(_PARTS, zip(*errors, strict=True), strict=True):
        bars = axes.barh(heights, values, 0.75, left=left, color=colour, label=name)
        left += np.array(values)
        for bar, row, value in zip(bars, rows, values, strict=True):
            text = f"{name}: {number(value, 2)} %"
            canvas.values(bar, Values(row.line.label, row.place, [text]))
    for y, total in zip(heights, left, strict=True):
        axes.annotate(
            number(float(total), 1),
            (total, y),
            (2, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(heights, [wrapped(row.label) for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, max(1.0, 1.15 * float(left.max())))
    axes.set_xlabel("Error (%)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
