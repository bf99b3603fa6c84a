"""Figures of a block: accuracy after each task, and final accuracy over expanded parameters.

Drawn with matplotlib's object interface: no window, no lasting state, the same bytes every time.
"""

from __future__ import annotations

import io
import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from benchmark.metrics import Summary, stage_accuracies, summarize
from benchmark.report.blocks import UPPER_BOUNDS, Block, Line
from benchmark.report.formatting import number
from benchmark.report.palette import Style, styles

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_Pairs: TypeAlias = Sequence[tuple[Line, Style]]

FORMATS = ("png", "pdf")
_WIDTH = 3.4  # inches: one column of a two-column paper
_PLOT_HEIGHT, _TALL_PLOT_HEIGHT = 2.1, 2.9
_MANY = 10  # lines from which on the plot is taller and the bands are paler
_LEFT, _RIGHT, _BOTTOM = 0.42, 0.08, 0.38  # inches around the plot
_MARGIN, _TITLE_LINE, _LEGEND_LINE = 0.1, 0.11, 0.13
_TITLE_WIDTH = 78  # characters
_FONT, _SMALL = 7.0, 6.0  # points
_CHARACTER = 0.05  # inches: mean width of a character at the small size
_LEGEND_LEFT = 0.08
_SAMPLE, _HANDLE = 0.27, 0.43  # inches: line before a name in the legend, with space around it
_DPI = 200
_BAND = 0.12  # opacity of the band of one standard deviation
_STYLE: dict[Any, Any] = {
    "font.size": _FONT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": _FONT,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "xtick.labelsize": _SMALL,
    "ytick.labelsize": _SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "errorbar.capsize": 1.5,
}


def accuracy_curves(block: Block, form: str) -> bytes:
    """Accuracy after each task with a band of one standard deviation over the runs."""
    return _drawn(block, form, _Kind("Accuracy over all classes seen (%)", "band", _draw_curves))


def accuracy_over_parameters(block: Block, form: str) -> bytes:
    """Final accuracy over expanded parameters, bars of one standard deviation."""
    return _drawn(block, form, _Kind("Final accuracy (%)", "bar", _draw_parameters, joined=False))


FIGURES = {"accuracy": accuracy_curves, "parameters": accuracy_over_parameters}


@dataclass(frozen=True)
class _Kind:
    """What is special about one kind of figure; joined: points are joined by lines."""

    y_label: str
    spread: str
    draw: Callable[[Axes, _Pairs], None]
    joined: bool = True


def _drawn(block: Block, form: str, kind: _Kind) -> bytes:
    # Importing matplotlib takes most of the time of a report: only when a figure is wanted.
    import matplotlib
    from matplotlib.figure import Figure

    lines = [line for line in block.lines if line.done]
    look = styles((line.method, line.variant) for line in lines)
    pairs = [(line, look[line.method, line.variant]) for line in lines]
    several = any(len(line.done) > 1 for line in lines)
    remark = f"; {kind.spread}: one standard deviation over runs" if several else ""
    title = textwrap.wrap(block.title + remark, _TITLE_WIDTH)
    legend = _legend_places([line.label for line in lines])
    plot = _PLOT_HEIGHT if len(lines) <= _MANY else _TALL_PLOT_HEIGHT
    below = _BOTTOM + max(row for _, row in legend) * _LEGEND_LINE + _LEGEND_LINE
    height = below + plot + _MARGIN + len(title) * _TITLE_LINE
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, height))
        inner = _WIDTH - _LEFT - _RIGHT
        axes = figure.add_axes((_LEFT / _WIDTH, below / height, inner / _WIDTH, plot / height))
        kind.draw(axes, pairs)
        axes.set_ylabel(kind.y_label)
        # A fixed place saves measuring all the texts around it.
        axes.xaxis.set_label_coords(0.5, -0.2 / plot)
        axes.yaxis.set_label_coords(-0.27 / inner, 0.5)
        figure.text(0.01, 1 - 0.03 / height, "\n".join(title), fontsize=_SMALL, va="top")
        _add_legend(figure, pairs, legend, kind.joined)
        return _saved(figure, form)


def _draw_curves(axes: Axes, pairs: _Pairs) -> None:
    opacity = _BAND * min(1.0, _MANY / len(pairs))
    for line, style in pairs:
        stages = _stage_summaries(line)
        last = len(stages)
        known = [i for i, stage in enumerate(stages) if not math.isnan(stage.mean)]
        x = [i + 1 for i in known]
        mean = [stages[i].mean for i in known]
        if len(known) == 1 and last > 1:  # evaluated once, at the end: a level to compare with
            axes.axhline(mean[0], color=style.colour, linestyle=":", linewidth=0.8, zorder=1.5)
        axes.plot(x, mean, markevery=max(1, last // 10), zorder=2 + line.section, **_look(style))
        std = [0.0 if math.isnan(stages[i].std) else stages[i].std for i in known]
        if any(std):
            low = [m - s for m, s in zip(mean, std, strict=True)]
            high = [m + s for m, s in zip(mean, std, strict=True)]
            axes.fill_between(x, low, high, color=style.colour, alpha=opacity, linewidth=0)
    axes.set_xlabel("Tasks learned")
    axes.set_xticks(
        _task_ticks(max(len(line.done[0].result["spec"]["tasks"]) for line, _ in pairs))
    )


def _task_ticks(count: int) -> list[int]:
    """1 and round numbers, ten of them or fewer."""
    step = next(s for s in (1, 5, 10, 20, 50, 100, count) if count <= 10 * s)
    return sorted({1, *range(step, count + 1, step)})


def _stage_summaries(line: Line) -> list[Summary]:
    """Mean and standard deviation over the runs of the accuracy after each task."""
    runs = [stage_accuracies(run.result["outcome"]["accuracy"]) for run in line.done]
    return [summarize(values) for values in zip(*runs, strict=True)]


def _draw_parameters(axes: Axes, pairs: _Pairs) -> None:
    points = [(line.summary("expanded_parameters").mean / 1e3, line) for line, _ in pairs]
    sizes = [size for size, line in points if size > 0 and line.method not in UPPER_BOUNDS]
    zero = _zero_position(sizes)
    for (size, line), (_, style) in zip(points, pairs, strict=True):
        final = line.summary("final")
        if line.method in UPPER_BOUNDS:  # not on the scale: a level to compare with
            axes.axhline(final.mean, color=style.colour, linestyle=":", linewidth=0.8, zorder=1.5)
            size = 0.0
        error = None if math.isnan(final.std) else final.std
        look = _look(style) | {"linestyle": "none"}
        x = size if size > 0 else zero
        axes.errorbar(
            [x], [final.mean], yerr=error, elinewidth=0.7, zorder=2 + line.section, **look
        )
    axes.set_xlabel("Parameters added to the backbone (thousands)")
    _scale(axes, sizes, zero)


def _zero_position(sizes: Sequence[float]) -> float:
    """Where methods that add nothing stand: left of the smallest size on the logarithmic scale."""
    if not sizes:
        return 0.0
    spread: float = max(sizes) / min(sizes)
    return min(sizes) / max(3.0, math.sqrt(math.sqrt(spread)))


def _scale(axes: Axes, sizes: Sequence[float], zero: float) -> None:
    """A logarithmic axis for sizes above zero, a slot for zero at its left edge."""
    axes.minorticks_off()
    if not sizes:
        axes.set_xticks([0.0], ["0"])
        axes.set_xlim(-1, 1)
        return
    low, high = min(sizes), max(sizes)
    margin = (high / zero) ** 0.06
    axes.set_xscale("log")
    axes.minorticks_off()
    axes.set_xlim(zero / margin, high * margin)
    axes.axvline(math.sqrt(zero * low), color="#BBBBBB", linewidth=0.6, linestyle=(0, (2, 2)))
    ticks = _round_values(low, high)
    axes.set_xticks([zero, *ticks], ["0", *(_tick_text(tick) for tick in ticks)])


def _round_values(low: float, high: float) -> list[float]:
    """Round numbers for a logarithmic axis: powers of ten, with 2 and 5 between when few."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1,), (1, 3), (1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        values = [step * 10.0**decade for decade in decades for step in steps]
        inside = [value for value in values if low * 0.85 <= value <= high * 1.15]
        if len(inside) >= 3:
            break
    return inside or [low]


def _tick_text(value: float) -> str:
    return number(value, 0) if value >= 10 else f"{value:g}"


def _look(style: Style) -> dict[str, Any]:
    return {
        "color": style.colour,
        "linestyle": style.line,
        "marker": style.marker,
        "markerfacecolor": style.face,
        "markeredgewidth": 0.8,
        "markersize": 6.0 if style.marker == "*" else 3.8,
    }


def _legend_places(labels: Sequence[str]) -> list[tuple[float, int]]:
    """For every name its left edge in inches and its row: as many columns as there is room for."""
    widths = [_HANDLE + len(label) * _CHARACTER for label in labels]
    for rows in range(1, len(labels) + 1):
        columns = [max(widths[i : i + rows]) for i in range(0, len(labels), rows)]
        if sum(columns) <= _WIDTH - _LEGEND_LEFT:
            break
    spare = (_WIDTH - _LEGEND_LEFT - sum(columns)) / len(columns)
    starts = [_LEGEND_LEFT + sum(columns[:i]) + i * max(spare, 0.0) for i in range(len(columns))]
    return [(starts[i // rows], i % rows) for i in range(len(labels))]


def _add_legend(
    figure: Figure, pairs: _Pairs, places: Sequence[tuple[float, int]], joined: bool
) -> None:
    """Names with their line and marker, column by column in the order of the table.

    By hand: matplotlib's own legend takes as long as the rest of the figure.
    """
    from matplotlib.lines import Line2D

    width, height = figure.get_size_inches()
    rows = 1 + max(row for _, row in places)
    for (line, style), (x, row) in zip(pairs, places, strict=True):
        y = (rows - row - 0.3) * _LEGEND_LINE / height
        ends = (x / width, (x + _SAMPLE / 2) / width, (x + _SAMPLE) / width)
        look = _look(style) if joined else _look(style) | {"linestyle": "none"}
        figure.add_artist(Line2D(ends, (y, y, y), markevery=[1], **look))
        figure.text(
            (x + _SAMPLE + 0.06) / width, y, line.label, fontsize=_SMALL, va="center_baseline"
        )


def _saved(figure: Figure, form: str) -> bytes:
    """The figure's file; nothing in it tells when or by which version it was drawn."""
    options: dict[str, dict[str, Any]] = {
        "png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}},
        "pdf": {"metadata": dict.fromkeys(("Creator", "Producer", "CreationDate"))},
    }
    out = io.BytesIO()
    figure.savefig(out, format=form, dpi=_DPI, **options[form])
    return out.getvalue()
