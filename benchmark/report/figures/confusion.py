"""Tasks confused with each other after the last one, and wrong task against wrong class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmark.report.figures.base import FIGURES, BlockFigure
from benchmark.report.figures.numbers import Confusion, confusion, reference_row
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
_MAP, _AXIS = 0.83, 0.4  # inches: height of a map, of an axis and its name
_TITLE = 14  # characters of a line above a map
_PARTS = (("wrong task", COLOURS[0]), ("wrong class", COLOURS[4]))


@dataclass(frozen=True)
class _Entry:
    """A row of the block, its position there, its label with n, and its errors."""

    row: Row
    position: int
    label: str
    found: Confusion


@FIGURES.register("confusion")
class ConfusionMap(BlockFigure):
    """For a few methods the images' tasks against those predicted, for all the error's two parts.

    The few: the best methods, the one others are compared with, a lower bound and the upper one.
    """

    title = "Tasks confused after the last one, and the two parts of the error"
    place = 6

    def draw(self, block: Block, canvas: Canvas) -> None:
        """Draw maps above bars; bars alone where there is no wrong task."""
        from benchmark.report.figures.canvas import lines_high, runs_text

        entries, missing = _entries(block, canvas.options)
        runs = runs_text([entry.found.runs for entry in entries])
        caption = f"{block.title}; errors after the last task, mean of {runs}"
        shown: list[_Entry] = []
        if block.key.scenario == "domain":
            caption += "; all domains have the same classes, so there is no wrong task"
        elif len(block.key.tasks) == 1:
            caption += "; with a single task there is no wrong task"
        else:
            shown = _chosen(block, entries, canvas.options)
        if 0 < len(shown) < len(entries):
            caption += f"; maps of {len(shown)} of {len(entries)} methods"
        if missing:
            caption += f"; without stored predictions: {', '.join(missing)}"
        bars = 1.1 * lines_high([entry.label for entry in entries]) + _AXIS + 0.15
        if not shown:
            canvas.caption(caption, bars)
            _draw_bars(canvas.figure.add_subplot(), canvas, entries)
            return
        deep = math.ceil(len(shown) / _ACROSS)
        title = max(lines_high([entry.label], _TITLE) for entry in shown)
        maps = deep * (_MAP + title) + _AXIS
        canvas.caption(caption, maps + bars)
        parts = canvas.figure.add_gridspec(2, 1, height_ratios=(maps, bars))
        grid = parts[0].subgridspec(deep, min(len(shown), _ACROSS)).subplots(squeeze=False)
        _draw_maps(grid.ravel().tolist(), grid.shape[1], canvas, shown)
        _draw_bars(canvas.figure.add_subplot(parts[1]), canvas, entries)


def _entries(block: Block, options: Options) -> tuple[list[_Entry], list[str]]:
    """Rows with predictions, and the labels of those without."""
    from benchmark.report.figures.canvas import labels_with_n

    if options.predictions is None:
        raise NothingToDrawError("no predictions are stored")
    found = [confusion(row, options.predictions) for row in block.rows]
    usable = [(i, known) for i, known in enumerate(found) if known]
    if not usable:
        raise NothingToDrawError(
            "no finished run has predictions of the last stage that are usable"
        )
    labels = labels_with_n([block.rows[i] for i, _ in usable], [known.runs for _, known in usable])
    entries = [
        _Entry(block.rows[i], i, label, known)
        for (i, known), label in zip(usable, labels, strict=True)
    ]
    missing = [row.label for row, known in zip(block.rows, found, strict=True) if known is None]
    return entries, missing


def _chosen(block: Block, entries: Sequence[_Entry], options: Options) -> list[_Entry]:
    """At most six rows in the order of the table."""
    if len(entries) <= _MAPS:
        return list(entries)
    try:
        compared = reference_row(block, options.relative_to)
    except NothingToDrawError:
        compared = None
    parts = [[entry for entry in entries if entry.row.section == section] for section in (0, 1, 2)]
    wanted = [entry for entry in entries if entry.row is compared]
    wanted += [*parts[2][-1:], *parts[0][:1], *parts[1][:_BEST], *parts[1], *parts[0]]
    kept: list[_Entry] = []
    for entry in wanted:
        if entry not in kept and len(kept) < _MAPS:
            kept.append(entry)
    return [entry for entry in entries if entry in kept]


def _draw_maps(
    grid: Sequence[Axes], across: int, canvas: Canvas, entries: Sequence[_Entry]
) -> None:
    """Draw maps; across: how many stand side by side."""
    from benchmark.report.figures.canvas import draw_map, task_ticks, wrapped

    numbers = task_ticks(len(entries[0].found.shares), most=5)
    places, ticks = [number - 0.5 for number in numbers], list(map(str, numbers))
    for axes in grid[len(entries) :]:
        axes.set_visible(False)
    for i, (axes, entry) in enumerate(zip(grid, entries, strict=False)):
        mesh = draw_map(axes, entry.found.shares, 100, power=0.5)
        axes.set_aspect("equal")
        axes.set_title(wrapped(entry.label, _TITLE))
        lowest, first = i + across >= len(entries), i % across == 0
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


def _draw_bars(axes: Axes, canvas: Canvas, entries: Sequence[_Entry]) -> None:
    from benchmark.report.figures.canvas import wrapped

    heights = np.arange(len(entries))
    left = np.zeros(len(entries))
    errors = [(entry.found.wrong_task, entry.found.wrong_class) for entry in entries]
    for (name, colour), values in zip(_PARTS, zip(*errors, strict=True), strict=True):
        bars = axes.barh(heights, values, 0.75, left=left, color=colour, label=name)
        left += np.array(values)
        for bar, entry, value in zip(bars, entries, values, strict=True):
            text = f"{name}: {number(value, 2)} %"
            canvas.values(bar, Values(entry.row.label, entry.position, [text]))
    for y, total in zip(heights, left, strict=True):
        axes.annotate(
            number(float(total), 1),
            (total, y),
            (2, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(heights, [wrapped(entry.label) for entry in entries])
    axes.tick_params(axis="y", left=False, length=0)
    axes.set_ylim(len(entries) - 0.4, -0.6)
    axes.set_xlim(0, max(1.0, 1.15 * float(left.max())))
    axes.set_xlabel("Error (%)")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2)
