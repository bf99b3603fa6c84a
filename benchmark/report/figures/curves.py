"""Curves over tasks: accuracy after each task, accuracy on each task relative to a chosen row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmark.metrics import Summary
from benchmark.report.figures.base import FIGURES, BlockFigure
from benchmark.report.figures.numbers import (
    reference_row,
    relative_summaries,
    stage_summaries,
    summary_text,
    task_word,
)
from benchmark.report.figures.options import NothingToDrawError
from benchmark.report.figures.svg import Values
from benchmark.report.palette import INK, MOST_COLOURED, PALE, Style
from benchmark.report.rows import Block, Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmark.report.figures.canvas import Canvas

_PLOT = 2.0  # inches: least height
_BAND = 0.14  # opacity of the band of one standard deviation
_MOST_MARKERS = 20  # on one curve


@FIGURES.register("accuracy")
class AccuracyCurves(BlockFigure):
    """Accuracy after each task with a band of one standard deviation over the runs."""

    title = "Accuracy after each task"
    place = 1

    def draw(self, block: Block, canvas: Canvas) -> None:
        """Draw one curve per row."""
        word = task_word(block)
        curves = _curves(block, canvas, [stage_summaries(row) for row in block.rows])
        if not curves:
            raise NothingToDrawError("no stage was evaluated")
        axes = canvas.figure.add_subplot()
        axes.set(xlabel=f"{word.capitalize()}s learned", ylabel="Accuracy on classes seen (%)")
        caption = f"{block.title}; accuracy after each {word}"
        _draw_curves(axes, canvas, curves, caption, word)


@FIGURES.register("relative")
class RelativeAccuracy(BlockFigure):
    """Accuracy on each task after the last one, less that of a chosen row."""

    title = "Accuracy on each task after the last, less that of a chosen row"
    place = 2

    def draw(self, block: Block, canvas: Canvas) -> None:
        """Draw one curve per row but the chosen."""
        chosen = reference_row(block, canvas.options.relative_to)
        if len(block.rows) == 1:
            raise NothingToDrawError(f"no other row to compare with {chosen.label}")
        found = [[] if row is chosen else relative_summaries(row, chosen) for row in block.rows]
        curves = _curves(block, canvas, found)
        if not curves:
            raise NothingToDrawError(
                f"no run shares seed and class order with one of {chosen.label}"
            )
        word = task_word(block)
        caption = (
            f"{block.title}; accuracy on each {word} after the last, less {chosen.label}'s in the "
            "same seed and class order"
        )
        missing = [
            row.label
            for row, summaries in zip(block.rows, found, strict=True)
            if row is not chosen and not summaries
        ]
        if missing:
            caption += f"; not shown, no common seed and class order: {', '.join(missing)}"
        axes = canvas.figure.add_subplot()
        axes.set(xlabel=word.capitalize(), ylabel=f"Difference to {chosen.label} (points)")
        _draw_curves(axes, canvas, curves, caption, word, relative=True)


@dataclass(frozen=True)
class _Curve:
    """A row's summary per task, nan where there is none; position: of the row in the block."""

    row: Row
    position: int
    style: Style
    coloured: bool
    summaries: Sequence[Summary]

    @property
    def runs(self) -> int:
        """Runs, or for differences pairs of runs."""
        return self.summaries[0].n

    @property
    def known(self) -> list[int]:
        """Positions of the tasks with a number."""
        return [i for i, summary in enumerate(self.summaries) if not math.isnan(summary.mean)]

    @property
    def band(self) -> tuple[list[float], list[float]]:
        """Ends of one standard deviation around the known means."""
        known = [self.summaries[i] for i in self.known]
        spread = [0.0 if math.isnan(summary.std) else summary.std for summary in known]
        low = [summary.mean - std for summary, std in zip(known, spread, strict=True)]
        return low, [summary.mean + std for summary, std in zip(known, spread, strict=True)]


def _curves(block: Block, canvas: Canvas, found: Sequence[Sequence[Summary]]) -> list[_Curve]:
    looks = canvas.looks(block)
    curves = [
        _Curve(row, i, *look, summaries)
        for i, (row, look, summaries) in enumerate(zip(block.rows, looks, found, strict=True))
        if summaries
    ]
    return [curve for curve in curves if curve.known]


def _draw_curves(
    axes: Axes,
    canvas: Canvas,
    curves: Sequence[_Curve],
    caption: str,
    word: str,
    *,
    relative: bool = False,
) -> None:
    """Draw the curves and their labels; relative: as differences to a row at zero.

    The axes have their names, which seaborn would else look for, and that takes long.
    """
    import seaborn as sns

    from benchmark.report.figures.canvas import (
        accuracy_scale,
        labels_with_n,
        line_look,
        lines_high,
        runs_text,
        task_ticks,
    )

    counts = [curve.runs for curve in curves]
    caption += f"; mean of {runs_text(counts)}"
    if any(low != high for low, high in (curve.band for curve in curves)):
        caption += ", bands: ± one standard deviation"
    labels = labels_with_n([curve.row for curve in curves], counts)
    canvas.caption(caption, max(_PLOT, lines_high(labels)) + 0.35)
    axes.grid(axis="y")
    points = [(str(n), i) for n, curve in enumerate(curves) for i in curve.known]
    sns.lineplot(
        x=[i + 1 for _, i in points],
        y=[curves[int(n)].summaries[i].mean for n, i in points],
        hue=[n for n, _ in points],
        palette=[curve.style.colour if curve.coloured else PALE for curve in curves],
        estimator=None,
        legend=False,
        ax=axes,
    )
    count = len(curves[0].summaries)
    for curve, label, artist in zip(curves, labels, list(axes.lines), strict=True):
        x, y = [i + 1 for i in curve.known], [curve.summaries[i].mean for i in curve.known]
        every = math.ceil(len(x) / _MOST_MARKERS)
        artist.set(markevery=every, clip_on=False, zorder=2, linewidth=0.6)
        artist.set(marker=".", markersize=1.5, markeredgecolor=PALE)
        low, high = curve.band
        if curve.coloured:
            artist.set(zorder=3 + curve.row.section / 10, **line_look(curve.style))
            if len(x) == 1:
                axes.vlines(x, low, high, color=curve.style.colour, linewidth=0.7)
            elif low != high and (curve.row.section == 1 or len(curves) <= MOST_COLOURED):
                axes.fill_between(x, low, high, color=curve.style.colour, alpha=_BAND, linewidth=0)
        if len(x) == 1 < count:  # evaluated once, at the end: a level to compare with
            colour = curve.style.colour if curve.coloured else PALE
            axes.axhline(y[0], color=colour, linestyle=":", linewidth=0.8, zorder=1.9)
        texts = [
            f"{word} {i + 1}: {summary_text(curve.summaries[i], sign=relative)}"
            for i in curve.known[::every]
        ]
        canvas.values(artist, Values(curve.row.label, curve.position, texts))
        canvas.end_label(axes, (x[-1], y[-1]), label, curve.style if curve.coloured else None)
    margin = max(0.03 * (count - 1), 0.02) if count > 1 else 0.5
    axes.set_xlim(1 - margin, count + (0.01 * (count - 1) or margin))
    axes.set_xticks(task_ticks(count))
    ends = [end for curve in curves for side in curve.band for end in side]
    if relative:
        axes.axhline(0, color=INK, linewidth=0.8, zorder=2.5)
    accuracy_scale(axes, [0.0, *ends] if relative else ends, bounds=(-100.0 * relative, 100.0))
