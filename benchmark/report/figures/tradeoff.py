"""Final accuracy over a cost, with the Pareto front: expanded parameters, training time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.report.figures.numbers import (
    NothingToDrawError,
    Options,
    pareto_front,
    round_sizes,
    size_text,
)
from benchmark.report.palette import styles
from benchmark.report.rows import Block, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PLOT, _TALL_PLOT = 2.0, 2.7  # inches
_MANY = 10  # points from which on the plot is taller
_TALLEST_LEGEND = 1.6  # inches, in one column of the paper
_FRONT = "#999999"
_TIME_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))
_SLOT = "#BBBBBB"


@dataclass(frozen=True)
class _Cost:
    """name: of the number; unit: what one tick of the axis is; of_bounds: upper bounds have it."""

    name: str
    axis: str
    unit: float
    words: str  # in a sentence
    of_bounds: bool


def accuracy_over_parameters(block: Block, options: Options) -> Figure:
    """Final accuracy over expanded parameters, bars of one standard deviation."""
    axis = "Parameters added to the backbone (thousands)"
    cost = _Cost("expanded_parameters", axis, 1e3, "parameters added", of_bounds=False)
    return _drawn(block, cost, "", options.methods)


def accuracy_over_time(block: Block, options: Options) -> Figure:
    """Final accuracy over the training time of all tasks, bars of one standard deviation."""
    longest = max(line.summary("train_seconds").mean for line in block.rows)
    unit, seconds = next((u for u in _TIME_UNITS if longest >= 2 * u[1]), _TIME_UNITS[-1])
    axis = f"Training time of all tasks ({unit})"
    machines = {
        (environment.get("device"), environment.get("hardware"), environment.get("threads"))
        for line in block.rows
        for environment in (run.result["environment"] for run in line.done)
    }
    note = f"; {len(machines)} kinds of machines: times not comparable" if len(machines) > 1 else ""
    cost = _Cost("train_seconds", axis, seconds, "training time", of_bounds=True)
    return _drawn(block, cost, note, options.methods)


def _drawn(block: Block, cost: _Cost, note: str, methods: Sequence[str]) -> Figure:
    from benchmark.report.figures import canvas, labels

    lines = [line for line in block.rows if not math.isnan(line.summary("final").mean)]
    if not lines:
        raise NothingToDrawError("no final accuracy is known")
    look = styles(((line.method, line.variant) for line in block.rows), methods)
    looks = [look[line.method, line.variant] for line in lines]
    counts = [len(line.done) for line in lines]
    title = f"{block.title}; {canvas.runs_text(counts)}"
    if max(counts) > 1:
        title += ", bars: ± one standard deviation"
    if len(_rivals(lines)) > 1:
        title += f"; grey steps: Pareto front of {cost.words} and accuracy"
        bounds = [line.label for line in lines if line.is_upper_bound]
        title += f", without {', '.join(bounds)}" if bounds else ""
    names = canvas.with_n([line.label for line in lines], counts)
    width = canvas.SINGLE
    legend = labels.Legend(names, width, joined=False)
    if legend.height > _TALLEST_LEGEND:
        width = canvas.DOUBLE
        legend = labels.Legend(names, width, joined=False)
    plot = _PLOT if len(lines) <= _MANY else _TALL_PLOT
    page = canvas.Page(width, plot + canvas.AXIS_BELOW + legend.height, title + note)
    axes = page.axes(canvas.AXIS_LEFT, page.top, page.width - canvas.AXIS_LEFT - 0.1, plot)
    axes.grid(axis="y")
    bars = []
    # What is not on the scale stands at zero.
    sizes = [
        line.summary(cost.name).mean / cost.unit if _on_scale(line, cost) else 0.0 for line in lines
    ]
    scale = _Scale(sizes)
    for line, style, size in zip(lines, looks, sizes, strict=True):
        final = line.summary("final")
        std = 0.0 if math.isnan(final.std) else final.std
        bars.append((scale.place(size), final.mean - std, final.mean + std))
        if not _on_scale(line, cost):  # a level to compare with
            axes.axhline(final.mean, color=style.colour, linestyle=":", linewidth=0.8, zorder=1.5)
        shown = labels.look(style) | {"linestyle": "none"}
        axes.plot(
            [scale.place(size)], [final.mean], zorder=3 + line.section / 10, clip_on=False, **shown
        )
    x, low, high = zip(*bars, strict=True)
    axes.vlines(x, low, high, colors=[style.colour for style in looks], linewidth=0.7, zorder=2)
    canvas.accuracy_scale(axes, [*low, *high])
    scale.apply(axes)
    _draw_front(axes, lines, sizes, scale)
    canvas.name_axes(axes, cost.axis, "Final accuracy (%)")
    legend.draw(page, page.top + plot + canvas.AXIS_BELOW, looks)
    return page.figure


def _on_scale(line: Row, cost: _Cost) -> bool:
    return cost.of_bounds or not line.is_upper_bound


def _rivals(lines: Sequence[Row]) -> list[int]:
    """Upper bounds see all data at once: they compete with nothing."""
    return [i for i, line in enumerate(lines) if not line.is_upper_bound]


def _draw_front(axes: Axes, lines: Sequence[Row], sizes: Sequence[float], scale: _Scale) -> None:
    rivals = _rivals(lines)
    if len(rivals) < 2:
        return
    points = [(sizes[i], lines[i].summary("final").mean) for i in rivals]
    front = [points[i] for i in pareto_front(points)]
    x = [*(scale.place(size) for size, _ in front), axes.get_xlim()[1]]
    y = [*(accuracy for _, accuracy in front), front[-1][1]]
    axes.plot(x, y, drawstyle="steps-post", color=_FRONT, linewidth=1.4, zorder=1.8)


class _Scale:
    """A logarithmic axis for sizes above zero, with a slot for zero at its left edge."""

    def __init__(self, sizes: Sequence[float]) -> None:
        self._sizes = [size for size in sizes if size > 0]
        self._needs_zero = len(self._sizes) < len(sizes)
        self._zero = 0.0
        if self._sizes:
            low, high = min(self._sizes), max(self._sizes)
            self._zero = low / max(3.0, math.sqrt(math.sqrt(high / low)))

    def place(self, size: float) -> float:
        """Where a size stands on the axis."""
        return size if size > 0 else self._zero

    def apply(self, axes: Axes) -> None:
        """Set scale, limits and ticks."""
        if not self._sizes:
            axes.set_xticks([0.0], ["0"])
            axes.set_xlim(-1, 1)
            return
        low, high = min(self._sizes), max(self._sizes)
        left = self._zero if self._needs_zero else low
        margin = max(high / left, 2.0) ** 0.06
        axes.set_xscale("log")
        axes.minorticks_off()
        axes.set_xlim(left / margin, high * margin)
        ticks = round_sizes(low, high)
        names = [size_text(tick) for tick in ticks]
        if self._needs_zero:
            gap = math.sqrt(self._zero * low)
            axes.axvline(gap, color=_SLOT, linewidth=0.6, linestyle=(0, (2, 2)))
            ticks, names = [self._zero, *ticks], ["0", *names]
        axes.set_xticks(ticks, names)
