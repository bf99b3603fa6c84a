"""Final accuracy over a cost, with the Pareto front: added parameters, training time."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar

from benchmark.metrics import Summary
from benchmark.report.figures.base import FIGURES, BlockFigure
from benchmark.report.figures.numbers import pareto_front, round_sizes, size_text, summary_text
from benchmark.report.figures.options import NothingToDrawError
from benchmark.report.figures.svg import Values
from benchmark.report.formatting import number
from benchmark.report.palette import PALE
from benchmark.report.rows import Block, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmark.report.figures.canvas import Canvas

_PLOT = 2.0  # inches
_FRONT = "#999999"
_TIME_UNITS = (("hours", 3600.0), ("minutes", 60.0), ("seconds", 1.0))


@dataclass(frozen=True)
class _Point:
    """A row of the block, its position there, and its cost in `unit`."""

    row: Row
    position: int
    size: float
    unit: str

    @cached_property
    def final(self) -> Summary:
        """Final accuracy."""
        return self.row.summary("final")

    @property
    def low(self) -> float:
        """Lower end of the bar."""
        return self.final.mean - (0.0 if math.isnan(self.final.std) else self.final.std)

    @property
    def high(self) -> float:
        """Upper end of the bar."""
        return 2 * self.final.mean - self.low

    @property
    def text(self) -> str:
        """What is said of the point."""
        return f"{number(self.size, 1)} {self.unit}: {summary_text(self.final)}"


class _Tradeoff(BlockFigure):
    """Final accuracy over one cost, bars of one standard deviation.

    Attributes:
        cost: Name of the number.
        words: The cost in a sentence.
        of_bounds: Whether upper bounds have this cost; else they are a level to compare with.
    """

    cost: ClassVar[str]
    words: ClassVar[str]
    of_bounds: ClassVar[bool]

    @abstractmethod
    def unit(self, block: Block) -> tuple[str, float]:
        """Name and size of what a tick of the axis counts."""

    def note(self, block: Block) -> str:
        """What the caption adds."""
        return ""

    def draw(self, block: Block, canvas: Canvas) -> None:
        """Draw one point per row and the front."""
        from benchmark.report.figures.canvas import accuracy_scale, labels_with_n, runs_text

        unit, scale = self.unit(block)
        points = [
            _Point(row, i, row.summary(self.cost).mean / scale if self._counts(row) else 0.0, unit)
            for i, row in enumerate(block.rows)
            if not math.isnan(row.summary("final").mean)
        ]
        if not points:
            raise NothingToDrawError("no final accuracy is known")
        counts = [len(point.row.done) for point in points]
        caption = f"{block.title}; {runs_text(counts)}"
        if max(counts) > 1:
            caption += ", bars: ± one standard deviation"
        rivals = [point for point in points if point.row.section != 2]
        if len(rivals) > 1:
            caption += f"; grey steps: Pareto front of {self.words} and accuracy"
            caption += " without upper bounds" * (len(rivals) < len(points))
        axes = canvas.figure.add_subplot()
        axes.grid(axis="y")
        self._draw_points(axes, canvas, block, points)
        accuracy_scale(axes, [end for point in points for end in (point.low, point.high)])
        _cost_scale(axes, [point.size for point in points])
        if len(rivals) > 1:
            _draw_front(axes, [(point.size, point.final.mean) for point in rivals])
        axes.set(xlabel=f"{self.words.capitalize()} ({unit})", ylabel="Final accuracy (%)")
        labels = labels_with_n([point.row for point in points], counts)
        high = canvas.legend([line for line in axes.lines if line.get_gid()], labels)
        canvas.caption(caption + self.note(block), _PLOT + 0.35 + high)

    def _counts(self, row: Row) -> bool:
        return self.of_bounds or row.section != 2

    def _draw_points(
        self, axes: Axes, canvas: Canvas, block: Block, points: Sequence[_Point]
    ) -> None:
        from benchmark.report.figures.canvas import line_look

        looks = canvas.looks(block)
        bars = []
        for point in points:
            style, coloured = looks[point.position]
            colour = style.colour if coloured else PALE
            order = 2 + coloured + point.row.section / 10
            if not self._counts(point.row):
                axes.axhline(
                    point.final.mean, color=colour, linestyle=":", linewidth=0.8, zorder=1.5
                )
            bars.append((point.size, point.low, point.high, colour))
            look = line_look(replace(style, colour=colour)) | {"linestyle": "none"}
            [artist] = axes.plot(
                [point.size], [point.final.mean], zorder=order, clip_on=False, **look
            )
            canvas.values(artist, Values(point.row.label, point.position, [point.text]))
        sizes, lows, highs, colours = zip(*bars, strict=True)
        axes.vlines(sizes, lows, highs, colors=colours, linewidth=0.7)


@FIGURES.register("parameters")
class AccuracyOverParameters(_Tradeoff):
    """Final accuracy over added parameters, bars of one standard deviation."""

    title = "Final accuracy over parameters added to the backbone, and Pareto front"
    place = 3
    cost = "expanded_parameters"
    words = "parameters added"
    of_bounds = False

    def unit(self, block: Block) -> tuple[str, float]:
        """Thousands."""
        return "thousands", 1e3


@FIGURES.register("time")
class AccuracyOverTime(_Tradeoff):
    """Final accuracy over the training time of all tasks, bars of one standard deviation."""

    title = "Final accuracy over the training time of all tasks, and Pareto front"
    place = 4
    cost = "train_seconds"
    words = "training time"
    of_bounds = True

    def unit(self, block: Block) -> tuple[str, float]:
        """Hours, minutes or seconds: the largest that the longest training has two of."""
        longest = max(row.summary("train_seconds").mean for row in block.rows)
        return next((u for u in _TIME_UNITS if longest >= 2 * u[1]), _TIME_UNITS[-1])

    def note(self, block: Block) -> str:
        """Whether the rows were timed on different machines."""
        machines = {
            (environment.get("device"), environment.get("hardware"), environment.get("threads"))
            for row in block.rows
            for environment in (run.result["environment"] for run in row.done)
        }
        several = len(machines) > 1
        return f"; {len(machines)} kinds of machines: times not comparable" if several else ""


def _draw_front(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    front = [points[i] for i in pareto_front(points)]
    x = [*(size for size, _ in front), axes.get_xlim()[1]]
    y = [*(accuracy for _, accuracy in front), front[-1][1]]
    axes.plot(x, y, drawstyle="steps-post", color=_FRONT, linewidth=1.2, zorder=1.8)


def _cost_scale(axes: Axes, sizes: Sequence[float]) -> None:
    """A logarithmic x axis; what costs nothing stands at its left end."""
    known = [size for size in sizes if size > 0]
    if not known:
        axes.set_xlim(-1, 1)
        axes.set_xticks([0.0], ["0"])
        return
    low, high = min(known), max(known)
    ticks = round_sizes(low, high)
    if len(known) < len(sizes):
        decades = max(math.log10(high / low), 0.5)
        axes.set_xscale("symlog", linthresh=low, linscale=decades / 4)
        axes.set_xlim(-low / 4, high * 10 ** (decades * 0.05))
        ticks = [0.0, *(tick for tick in ticks if tick >= low)]
    else:
        margin = max(high / low, 2.0) ** 0.06
        axes.set_xscale("log")
        axes.set_xlim(low / margin, high * margin)
    axes.minorticks_off()
    axes.set_xticks(ticks, ["0" if tick == 0 else size_text(tick) for tick in ticks])
