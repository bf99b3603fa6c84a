"""One drawing: a figure of one column's width, its caption, labels, values to point at, files."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib import RcParams, rc_context, rc_params_from_file
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import QuadMesh
from matplotlib.colors import ListedColormap, PowerNorm, to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.lines import Line2D
from matplotlib.text import Annotation, Text
from matplotlib.ticker import MaxNLocator

from benchmark.report.figures.numbers import Array
from benchmark.report.figures.options import FORMATS, Options
from benchmark.report.figures.svg import Values, finished_svg
from benchmark.report.formatting import number
from benchmark.report.palette import INK, MAP, PALE, SOFT, Palette, Style, coloured_rows
from benchmark.report.rows import Block, Row

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.backends.backend_agg import RendererAgg

WIDTH = 3.3  # inches: one column of a two-column paper
LINE = 0.115  # inches from one line of text to the next
_CAPTION, _LABEL = 64, 24  # characters of a line
_LEADER = 0.2  # inches from the end of a curve to the marker before its label
_LABEL_SPACE = 21.0  # points from the end of a curve to its label
_WHITE = "#f8f8f8"  # on dark cells, whatever the page's colour
_MOST_CELLS = 300  # of vector graphics; more are an image
_LATIN = "\u017f"  # the last letter that every text may have; others are looked for elsewhere
_LEAST_SPAN = 5.0  # percentage points: noise of less never fills a figure


def style() -> AbstractContextManager[None]:
    """The report's style, while a figure is drawn and saved."""
    return rc_context(_look())


@cache
def _look() -> RcParams:
    folder = files(__package__)
    fontManager.addfont(str(folder.joinpath("clbench-sans.ttf")))
    source = str(folder.joinpath("clbench.mplstyle"))
    return rc_params_from_file(source, use_default_template=True)


class Canvas:
    """A figure that is being drawn.

    Attributes:
        options: What the reader chose.
        figure: Matplotlib's figure with constrained layout.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or Options()
        self.figure = Figure(figsize=(WIDTH, 2.4), layout="constrained")
        self._caption = ""
        self._below = 0.0  # inches of the legend
        self._values: dict[str, list[Values]] = {}
        self._ends: list[tuple[Annotation, Style | None]] = []

    # -- rows ----------------------------------------------------------------------------------

    def looks(self, block: Block) -> list[tuple[Style, bool]]:
        """Style of every row of the block, and whether the row keeps its colour."""
        palette = self.options.palette or Palette(block.rows)
        coloured = coloured_rows(block, self.options.in_colour)
        return [(palette.style(row), i in coloured) for i, row in enumerate(block.rows)]

    # -- parts ---------------------------------------------------------------------------------

    def caption(self, text: str, height: float) -> None:
        """Write the caption above everything; height: of all below it, in inches."""
        self._caption = text
        # What belongs together stays on one line.
        joined = text.replace(" = ", "\xa0=\xa0").replace("± one", "±\xa0one")
        lines = [line.replace("\xa0", " ") for line in textwrap.wrap(joined, _CAPTION)]
        whole = height + (len(lines) + 0.5) * LINE
        self.figure.set_size_inches(WIDTH, whole)
        rect = (0, self._below / whole, 0.99, (height - self._below) / whole)
        self.figure.set_layout_engine("constrained", rect=rect)
        for i, line in enumerate(lines):  # not one text: versions differ in the space between
            self.figure.text(0.01, 1 - (i + 0.7) * LINE / whole, line, va="center")

    def values(self, artist: Artist, *rows: Values) -> None:
        """Say what stands behind the points or cells of an artist, row by row."""
        name = f"values-{len(self._values)}"
        artist.set_gid(name)
        self._values[name] = list(rows)

    def end_label(
        self, axes: Axes, end: tuple[float, float], text: str, style: Style | None
    ) -> None:
        """Write a label right of a curve's end, moved up or down where others need the room.

        Args:
            axes: Of the curve.
            end: Where the curve ends.
            text: The label.
            style: Of the curve; None for a row without colour.
        """
        label = axes.annotate(
            wrapped(text),
            end,
            (_LABEL_SPACE, 0),
            textcoords="offset points",
            color=SOFT if style is None else INK,
            va="center",
            annotation_clip=False,
        )
        self._ends.append((label, style))

    def legend(self, artists: Sequence[Line2D], labels: Sequence[str]) -> float:
        """Name markers below everything, before the caption; returns the height in inches."""
        texts = [wrapped(label, _CAPTION - 6) for label in labels]
        longest = max(len(line) for text in texts for line in text.split("\n"))
        columns = min(len(texts), max(1, _CAPTION // (longest + 5)))
        rows = math.ceil(len(texts) / columns)
        heights = [LINE * max(map(_lines, texts[row::rows])) for row in range(rows)]
        self._below = sum(heights) + LINE / 2
        inches = self.figure.dpi_scale_trans
        for i, (artist, text) in enumerate(zip(artists, texts, strict=True)):
            x = 0.15 + i // rows * WIDTH / columns
            y = sum(heights[i % rows :]) - heights[i % rows] / 2 + 0.02
            sample = Line2D([], [])
            sample.update_from(artist)
            sample.set(data=([x], [y]), transform=inches, clip_path=None)
            self.figure.add_artist(sample)
            self.figure.text(x + 0.1, y, text, va="center", transform=inches)
        return self._below

    # -- files ---------------------------------------------------------------------------------

    def arrange(self) -> None:
        """Lay out everything once, before the first file is written."""
        engine = self.figure.get_layout_engine()
        if engine is None:
            return
        for text in self.figure.findobj(Text):
            if max(text.get_text(), default="") > _LATIN:
                text.set_fontfamily([*text.get_fontfamily(), "DejaVu Sans"])
        canvas = FigureCanvasAgg(self.figure)  # has one renderer, which measures a text once
        renderer = canvas.get_renderer()  # type: ignore[no-untyped-call]  # not in its stubs
        engine.execute(self.figure)
        self.figure.set_layout_engine(None)
        for axes in self.figure.axes:  # the solver's last bits depend on where objects lie
            axes.set_position(np.round(axes.get_position(original=True).bounds, 5).tolist())
        self._freeze(renderer)
        if self._ends:
            self._spread_labels()

    def _freeze(self, renderer: RendererAgg) -> None:
        """Leave the names of axes where they are: else every file measures all ticks again."""
        for axes in self.figure.axes:
            locator = axes.get_axes_locator()
            axes.apply_aspect(locator(axes, renderer) if callable(locator) else None)
        axis: Axis
        for axis in self.figure.findobj(Axis):
            if axis.label.get_text():
                axis.get_tightbbox(renderer)  # puts the name beside the ticks
                place = axis.label.get_transform().transform(axis.label.get_position())
                axis.set_label_coords(*axis.axes.transAxes.inverted().transform(place))
            for label in axis.get_ticklabels():
                label.set_in_layout(False)

    def _spread_labels(self) -> None:
        axes = self._ends[0][0].axes
        assert axes is not None
        inches = self.figure.dpi_scale_trans
        to_inches = axes.transData - inches
        ends = [to_inches.transform(label.xy) for label, _ in self._ends]
        order = sorted(range(len(ends)), key=lambda i: float(ends[i][1]))
        heights = [LINE * _lines(self._ends[i][0].get_text()) for i in order]
        top = axes.get_window_extent().y1 / self.figure.dpi + LINE / 2
        places = spread([float(ends[i][1]) for i in order], heights, (0.0, top))
        for i, place in zip(order, places, strict=True):
            label, style = self._ends[i]
            x, y = ends[i]
            label.set_position((_LABEL_SPACE, (place - y) * 72))
            line = [x + 0.03, x + _LEADER]
            look: dict[str, Any] = {
                "color": PALE if style is None else style.colour,
                "linewidth": 0.4,
            }
            self.figure.add_artist(Line2D(line, [y, place], transform=inches, **look))
            if style is not None:
                sample = line_look(style) | {"linestyle": "none"}
                x_sample = [x + _LEADER + 0.03]
                self.figure.add_artist(Line2D(x_sample, [place], transform=inches, **sample))

    def saved(self, name: str, forms: Sequence[str] = FORMATS) -> dict[str, bytes]:
        """The files by form; nothing in them tells when or by which version they were made.

        Args:
            name: The figure's own, for the names inside the SVG.
            forms: Of `FORMATS`.
        """
        self.arrange()
        return {form: self._saved(name, form) for form in forms}

    def _saved(self, name: str, form: str) -> bytes:
        options: dict[str, dict[str, Any]] = {
            "svg": {"metadata": dict.fromkeys(("Creator", "Date", "Format", "Type"))},
            "pdf": {"metadata": dict.fromkeys(("Creator", "Producer", "CreationDate"))},
            "png": {
                "metadata": {"Software": None},
                "pil_kwargs": {"compress_level": 3},
                "facecolor": "white",
            },
        }
        out = io.BytesIO()
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # a box stands
            self.figure.savefig(out, format=form, **options[form])
        if form != "svg":
            return out.getvalue()
        return finished_svg(out.getvalue(), name, self._caption, self._values)


def line_look(style: Style) -> dict[str, Any]:
    """A row's line and markers as properties of matplotlib's lines."""
    sizes = {"*": 5.6, "1": 5.0, "2": 5.0, "+": 4.6, "x": 3.8}
    return {
        "color": style.colour,
        "linestyle": style.line,
        "linewidth": 1.1,
        "marker": style.marker,
        "markersize": sizes.get(style.marker, 3.4),
        "markerfacecolor": style.colour,
        "markeredgecolor": style.colour,
        "markerfacecoloralt": "white",
        "fillstyle": style.fill,
    }


# -- text ---------------------------------------------------------------------------------------


def wrapped(text: str, width: int = _LABEL) -> str:
    """A label in lines of at most `width` characters, broken at spaces and underscores."""
    if "-" in text:
        return "\n".join(textwrap.wrap(text, width))
    return "\n".join(textwrap.wrap(text.replace("_", "-"), width)).replace("-", "_")


def labels_with_n(rows: Sequence[Row], counts: Sequence[int]) -> list[str]:
    """The rows' labels, with how many runs are behind each where that differs."""
    if len(set(counts)) <= 1:
        return [row.label for row in rows]
    return [f"{row.label} [n={n}]" for row, n in zip(rows, counts, strict=True)]


def runs_text(counts: Sequence[int]) -> str:
    """`n = 3 runs`, `n = 1 to 3 runs`."""
    low, high = min(counts), max(counts)
    return f"n = {low if low == high else f'{low} to {high}'} run{'s' * (high > 1)}"


def lines_high(labels: Sequence[str], width: int = _LABEL) -> float:
    """Inches that labels take below each other."""
    return LINE * sum(_lines(wrapped(label, width)) for label in labels)


def _lines(text: str) -> int:
    return text.count("\n") + 1


# -- scales -------------------------------------------------------------------------------------


def accuracy_scale(
    axes: Axes, values: Sequence[float], *, bounds: tuple[float, float] = (0.0, 100.0)
) -> None:
    """The y axis for `values` in percent: spans 5 points or more, without ticks beyond `bounds`."""
    low, high = min(values), max(values)
    lack = max(0.0, _LEAST_SPAN - (high - low)) / 2
    low, high = max(low - lack, bounds[0]), min(high + lack, bounds[1])
    room = 0.04 * (high - low)
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10], integer=True).tick_values(low - room, high + room)
    axes.set_ylim(low - room, high + room)
    axes.set_yticks([tick for tick in ticks if low - room <= tick <= high + room])
    axes.set_ylim(low - room, high + room)


def task_ticks(count: int, most: int = 10) -> list[int]:
    """1 and round numbers, `most` of them or fewer."""
    steps = (step for step in (1, 5, 10, 20, 50, 100) if count <= most * step)
    step = next(steps, count)
    return sorted({1, *range(step, count + 1, step)})


def spread(
    wanted: Sequence[float], heights: Sequence[float], span: tuple[float, float]
) -> list[float]:
    """Centres as near to `wanted` (rising) as they can be without overlap, within `span`.

    Least squares: neighbours that would overlap stand together around their mean.
    """
    before = [sum(heights[:i]) + heights[i] / 2 for i in range(len(heights))]
    groups: list[tuple[float, int]] = []  # mean of the free part of the place, and how many
    for place, taken in zip(wanted, before, strict=True):
        mean, count = place - taken, 1
        while groups and groups[-1][0] > mean:
            other, many = groups.pop()
            mean = (mean * count + other * many) / (count + many)
            count += many
        groups.append((mean, count))
    highest = max(span[0], span[1] - sum(heights))
    free = [min(max(mean, span[0]), highest) for mean, count in groups for _ in range(count)]
    return [place + taken for place, taken in zip(free, before, strict=True)]


# -- maps ---------------------------------------------------------------------------------------

_DARK = 0.5  # share of the scale from which on numbers are white
# From nothing to dark blue, by opacity: on a dark page small values are as dark as the page.
_MAP_COLOURS = ListedColormap([(*to_rgb(MAP), share) for share in np.linspace(0, 1, 256)])


def draw_map(axes: Axes, values: Array, high: float, *, power: float = 1.0) -> QuadMesh:
    """Draw cells from 0 (nothing) to `high` (dark); unknown values stay blank.

    Args:
        axes: Where.
        values: Numbers, float64 [rows, columns].
        high: The dark end.
        power: Less than 1 spreads small values.
    """
    import seaborn as sns

    sns.heatmap(
        np.clip(values, 0, high),
        norm=PowerNorm(power, 0, high),
        cmap=_MAP_COLOURS,
        cbar=False,
        xticklabels=False,
        yticklabels=False,
        ax=axes,
    )
    for spine in axes.spines.values():
        spine.set_visible(True)
    [mesh] = axes.collections
    assert isinstance(mesh, QuadMesh)
    mesh.set_rasterized(values.size > _MOST_CELLS)
    axes.tick_params(bottom=False, left=False, length=0, rotation=0)
    return mesh


def write_cells(axes: Axes, values: Array, high: float) -> None:
    """Write the numbers of a map into its cells."""
    decimals = 1 if values.shape[1] <= 8 else 0
    for (i, j), value in np.ndenumerate(values):
        if not math.isnan(value):
            axes.text(
                j + 0.5,
                i + 0.5,
                number(round(float(value), decimals), decimals),
                color=_WHITE if value > _DARK * high else INK,
                ha="center",
                va="center",
                in_layout=False,
            )
