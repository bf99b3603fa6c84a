"""What all figures share: sizes of a two-column paper, fonts, title, colours of maps, files."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from matplotlib.transforms import Affine2D

from benchmark.report.figures.font import FAMILY, lean_family

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Inches: one column and both columns of a two-column paper.
SINGLE, DOUBLE = 3.3, 6.9
FONT, SMALL = 7.0, 6.5  # points
LINE = 0.125  # inches from one line of text to the next
MARGIN = 0.06  # inches
AXIS_LEFT, AXIS_BELOW = 0.42, 0.38  # inches for tick labels and the axis' name
_DPI = 200
_STYLE: dict[Any, Any] = {
    "font.size": FONT,
    "text.parse_math": False,  # a name with dollar signs is a name
    "pdf.fonttype": 42,  # TrueType
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": FONT,
    "axes.grid": False,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "errorbar.capsize": 1.5,
}
# A ligature such as that of "fl" would be a font of its own in a PDF, and is no letter in searches.
_PLAIN: dict[str, Any] = {"fontfeatures": ("-liga",)} if hasattr(Text, "set_fontfeatures") else {}


def style() -> AbstractContextManager[None]:
    """The report's style while a figure is drawn and saved."""
    return rc_context({**_STYLE, "font.family": [lean_family(), FAMILY]})


def saved(figure: Figure, form: str) -> bytes:
    """The figure's file; nothing in it tells when or by which version it was drawn."""
    options: dict[str, dict[str, Any]] = {
        "png": {"metadata": {"Software": None}, "pil_kwargs": {"compress_level": 3}},
        "pdf": {"metadata": dict.fromkeys(("Creator", "Producer", "CreationDate"))},
    }
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")  # a box stands for it
        figure.savefig(out, format=form, dpi=_DPI, **options[form])
    return out.getvalue()


# -- text ---------------------------------------------------------------------------------------


_HINTING = 1.03  # letters on whole pixels are a little wider than designed


@lru_cache(maxsize=1)
def _font() -> FT2Font:
    font = FT2Font(findfont(FAMILY))
    font.set_size(SMALL, 72)
    return font


@lru_cache(maxsize=1000)
def _advance(character: str) -> float:
    if not _font().get_char_index(ord(character)):
        return SMALL  # of a script that the font lacks: a box
    return _font().load_char(ord(character)).linearHoriAdvance / 65536


def text_width(text: str, size: float = SMALL) -> float:
    """Inches of the widest line of `text`."""
    widths = [sum(map(_advance, line)) for line in text.split("\n")]
    return _HINTING * max(widths) / 72 * size / SMALL


def wrapped(text: str, width: float) -> str:
    """`text` in lines of at most `width` inches; words too long for a line are broken."""
    text = " ".join(text.split())
    whole = text_width(text)
    if whole <= width:
        return text
    characters = max(4, int(len(text) * width / whole))
    lines = textwrap.wrap(text, characters)
    while max(map(text_width, lines)) > width and characters > 4:
        characters -= 1
        lines = textwrap.wrap(text, characters)
    return "\n".join(lines)


def with_n(labels: Sequence[str], counts: Sequence[int]) -> list[str]:
    """The labels, with how many runs are behind each where that differs."""
    if len(set(counts)) <= 1:
        return list(labels)
    return [f"{label} [n={n}]" for label, n in zip(labels, counts, strict=True)]


def runs_text(counts: Sequence[int]) -> str:
    """`n = 3 runs`, `n = 1 to 3 runs`."""
    low, high = min(counts), max(counts)
    return f"n = {low if low == high else f'{low} to {high}'} run{'s' * (high > 1)}"


# -- places in inches ---------------------------------------------------------------------------


class Page:
    """A figure measured in inches from its top left corner; a title stands at the top.

    top: where the title ends.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        """height: without the title."""
        text = wrapped(title, width - 2 * MARGIN)
        self.top = (text.count("\n") + 1) * LINE + MARGIN
        self.width, self.height = width, height + self.top
        self.figure = Figure(figsize=(self.width, self.height))
        upright = Affine2D().scale(1, -1).translate(0, self.height)
        self.inches = upright + self.figure.dpi_scale_trans
        self.block(MARGIN, 0.02, text)

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        """Axes with their left edge at `left`, their upper edge at `top`."""
        bottom = self.height - top - height
        return self.figure.add_axes(
            (left / self.width, bottom / self.height, width / self.width, height / self.height)
        )

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Inches from the top left corner as matplotlib's shares of the figure."""
        return x / self.width, 1 - y / self.height

    def text(self, x: float, y: float, text: str, **look: Any) -> None:
        """One line of small text with its baseline at `y`."""
        self.figure.text(*self.at(x, y), text, **{"fontsize": SMALL, **_PLAIN, **look})

    def block(self, x: float, top: float, text: str, **look: Any) -> None:
        """Lines of small text, each in the middle of its own `LINE`."""
        for i, line in enumerate(text.split("\n")):
            self.text(x, top + (i + 0.5) * LINE, line, va="center_baseline", **look)

    def line(self, x: Sequence[float], y: Sequence[float], **look: Any) -> None:
        """A thin line through points."""
        shown = {"color": "black", "linewidth": 0.6, **look}
        self.figure.add_artist(Line2D(x, y, transform=self.inches, **shown))

    def box(self, left: float, top: float, width: float, height: float, **look: Any) -> None:
        """A rectangle, by default a thin frame."""
        shown = {"facecolor": "none", "edgecolor": "black", "linewidth": 0.4, **look}
        self.figure.add_artist(
            Rectangle((left, top), width, height, transform=self.inches, **shown)
        )


def name_axes(axes: Axes, x: str, y: str) -> None:
    """Axis names at fixed places, which saves measuring all the texts around them."""
    box = axes.get_position()
    figure_width, figure_height = axes.figure.get_size_inches()  # type: ignore[union-attr]
    axes.set_xlabel(x, **_PLAIN)
    axes.set_ylabel(y, **_PLAIN)
    axes.xaxis.set_label_coords(0.5, -0.2 / (box.height * figure_height))
    axes.yaxis.set_label_coords(-0.3 / (box.width * figure_width), 0.5)


# -- scales -------------------------------------------------------------------------------------

_LEAST_SPAN = 5.0  # percentage points: noise of less never fills a figure


def accuracy_scale(
    axes: Axes, values: Sequence[float], *, bounds: tuple[float, float] = (0.0, 100.0)
) -> None:
    """The y axis for `values` in percent: spans 5 points or more, without ticks beyond `bounds`."""
    from matplotlib.ticker import MaxNLocator

    low, high = min(values), max(values)
    lack = max(0.0, _LEAST_SPAN - (high - low)) / 2
    low, high = low - lack, high + lack
    room = 0.04 * (high - low)
    low, high = max(low, bounds[0]) - room, min(high, bounds[1]) + room
    ticks = MaxNLocator(6, steps=[1, 2, 5, 10], integer=True).tick_values(low, high)
    axes.set_ylim(low, high)
    axes.set_yticks(
        [t for t in ticks if max(low, bounds[0]) <= t + 1e-9 and t - 1e-9 <= min(high, bounds[1])]
    )


def task_ticks(count: int, most: int = 10) -> list[int]:
    """1 and round numbers, `most` of them or fewer."""
    steps = (s for s in (1, 5, 10, 20, 50, 100, 200, 500) if count <= most * s)
    step = next(steps, count)
    return sorted({1, *range(step, count + 1, step)})
