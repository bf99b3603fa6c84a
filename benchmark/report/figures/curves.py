"""Curves over tasks: accuracy after each task, accuracy on each task relative to a chosen row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.metrics import Summary
from benchmark.report.figures.numbers import (
    NothingToDrawError,
    Options,
    reference_line,
    relative_summaries,
    stage_summaries,
)
from benchmark.report.palette import Style, styles
from benchmark.report.rows import Block, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEW = 8  # curves that a plot of one column can hold
_SMALL_PLOT, _LARGE_PLOT = 2.0, 2.9  # inches: least heights of the plot
_BAND = 0.14  # opacity of the band of one standard deviation
_BAND_NOTE = ", bands: ± one standard deviation"


@dataclass(frozen=True)
class _Curve:
    """One line: a summary per task, nan where there is none."""

    line: Row
    style: Style
    summaries: Sequence[Summary]

    @property
    def runs(self) -> int:
        """Runs, or for differences pairs of runs."""
        return self.summaries[0].n

    @property
    def known(self) -> list[int]:
        return [i for i, summary in enumerate(self.summaries) if not math.isnan(summary.mean)]

    def spread(self, i: int) -> float:
        std = self.summaries[i].std
        return 0.0 if math.isnan(std) else std


def accuracy_curves(block: Block, options: Options) -> Figure:
    """Accuracy after each task with a band of one standard deviation over the runs."""
    found = [(line, stage_summaries(line)) for line in block.rows]
    curves = _curves(found, options)
    if not curves:
        raise NothingToDrawError("no stage was evaluated")
    title = f"{block.title}; accuracy after each {_word(block)}"
    return _drawn(
        curves,
        title,
        f"{_word(block).capitalize()}s learned",
        "Accuracy over all classes seen (%)",
        None,
    )


def relative_accuracy(block: Block, options: Options) -> Figure:
    """Accuracy on each task after the last one, less that of a chosen row."""
    chosen = reference_line(block, options.relative_to)
    others = [line for line in block.rows if line is not chosen]
    if not others:
        raise NothingToDrawError(f"no other row to compare with {chosen.label}")
    found = [(line, relative_summaries(line, chosen)) for line in others]
    curves = _curves([(line, summaries) for line, summaries in found if summaries], options)
    if not curves:
        raise NothingToDrawError(f"no run shares seed and class order with one of {chosen.label}")
    word = _word(block)
    title = (
        f"{block.title}; accuracy on each {word} after the last, less {chosen.label}'s in the same "
        "seed and class order"
    )
    missing = [line.label for line, summaries in found if not summaries]
    if missing:
        title += f"; not shown, no common seed and class order: {', '.join(missing)}"
    return _drawn(
        curves, title, word.capitalize(), f"Difference to {chosen.label} (points)", chosen.label
    )


def _word(block: Block) -> str:
    return "domain" if block.key.scenario == "domain" else "task"


def _curves(found: Sequence[tuple[Row, Sequence[Summary]]], options: Options) -> list[_Curve]:
    look = styles(((line.method, line.variant) for line, _ in found), options.methods)
    curves = [_Curve(line, look[line.method, line.variant], s) for line, s in found]
    return [curve for curve in curves if curve.known]


def _drawn(
    curves: Sequence[_Curve], title: str, x_name: str, y_name: str, reference: str | None
) -> Figure:
    """reference: the row at zero, for differences."""
    from benchmark.report.figures import canvas, labels

    counts = [curve.runs for curve in curves]
    title += f"; mean of {canvas.runs_text(counts)}"
    if any(curve.spread(i) for curve in curves for i in curve.known):
        title += _BAND_NOTE
    names = canvas.with_n([curve.line.label for curve in curves], counts)
    looks = [curve.style for curve in curves]
    count = len(curves[0].summaries)
    below = canvas.AXIS_BELOW
    if len(curves) <= _FEW:
        legend = labels.Legend(names, canvas.SINGLE)
        page = canvas.Page(canvas.SINGLE, _SMALL_PLOT + below + legend.height, title)
        width = page.width - canvas.AXIS_LEFT - 0.1
        axes = page.axes(canvas.AXIS_LEFT, page.top, width, _SMALL_PLOT)
        legend.draw(page, page.top + _SMALL_PLOT + below, looks)
        _plot(axes, curves, count, reference)
    else:
        beside = labels.EndLabels(names)
        height = max(_LARGE_PLOT, beside.height - below)
        page = canvas.Page(canvas.DOUBLE, height + below, title)
        width = page.width - canvas.AXIS_LEFT - beside.width
        axes = page.axes(canvas.AXIS_LEFT, page.top, width, height)
        _plot(axes, curves, count, reference)
        low, high = axes.get_ylim()
        values = [curve.summaries[curve.known[-1]].mean for curve in curves]
        ends = [page.top + height * (high - value) / (high - low) for value in values]
        span = (page.top, page.height - canvas.MARGIN / 2)
        beside.draw(page, canvas.AXIS_LEFT + width, span, ends, looks)
    canvas.name_axes(axes, x_name, y_name)
    return page.figure


def _plot(axes: Axes, curves: Sequence[_Curve], count: int, reference: str | None) -> None:
    from benchmark.report.figures import canvas, labels

    axes.grid(axis="y")
    opacity = _BAND * min(1.0, _FEW / len(curves))
    ends = []
    for curve in curves:
        known = curve.known
        x = [i + 1 for i in known]
        mean = [curve.summaries[i].mean for i in known]
        low = [m - curve.spread(i) for i, m in zip(known, mean, strict=True)]
        high = [m + curve.spread(i) for i, m in zip(known, mean, strict=True)]
        ends += [*low, *high]
        if len(known) == 1 and count > 1:  # evaluated once, at the end: a level to compare with
            axes.axhline(mean[0], color=curve.style.colour, linestyle=":", linewidth=0.8, zorder=2)
        axes.plot(
            x,
            mean,
            markevery=max(1, math.ceil(len(known) / 10)),
            zorder=3 + curve.line.section / 10,
            clip_on=False,
            **labels.look(curve.style),
        )
        if len(known) == 1:
            axes.vlines(x, low, high, color=curve.style.colour, linewidth=0.7, zorder=2)
        elif low != high:
            axes.fill_between(x, low, high, color=curve.style.colour, alpha=opacity, linewidth=0)
    margin = max(0.03 * (count - 1), 0.02) if count > 1 else 0.5
    axes.set_xlim(1 - margin, count + (0 if len(curves) > _FEW and count > 1 else margin))
    axes.set_xticks(canvas.task_ticks(count))
    if reference is None:
        canvas.accuracy_scale(axes, ends)
    else:
        axes.axhline(0, color="black", linewidth=0.8, zorder=2.5)
        canvas.accuracy_scale(axes, [0.0, *ends], bounds=(-100.0, 100.0))
