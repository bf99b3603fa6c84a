"""Names of lines and points, by hand: matplotlib's own legend takes as long as the figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmark.report.figures.canvas import LINE, MARGIN, Page, text_width, wrapped
from benchmark.report.palette import Style

_SAMPLE = 0.27  # inches: line with a marker before a name
_MARKER = 0.1  # inches: a marker alone
_SPACE = 0.06  # inches between the line and the name
_BETWEEN = 0.14  # inches between columns of names
LEADER = 0.22  # inches between the end of a curve and its name
_WIDEST = 2.4  # inches: longer names are wrapped


def look(style: Style) -> dict[str, Any]:
    """Arguments of `plot` for a method's line and markers."""
    sizes = {"*": 6.0, "1": 5.5, "2": 5.5, "+": 5.0, "x": 4.2}
    return {
        "color": style.colour,
        "linestyle": style.line,
        "marker": style.marker,
        "markerfacecolor": style.face,
        "markerfacecoloralt": "white",
        "fillstyle": style.fill,
        "markeredgewidth": 0.8,
        "markersize": sizes.get(style.marker, 3.8),
    }


# -- below a plot -------------------------------------------------------------------------------


class Legend:
    """Names in as many columns as there is room for, column by column in the order of the table."""

    def __init__(self, labels: Sequence[str], width: float, *, joined: bool = True) -> None:
        """width: of the figure, in inches; joined: with a line, not with the marker alone."""
        room = width - 2 * MARGIN
        self._joined = joined
        sample = _SAMPLE if joined else _MARKER
        self.labels = [wrapped(label, room - sample - _SPACE) for label in labels]
        widths = [sample + _SPACE + text_width(label) for label in self.labels]
        lines = [label.count("\n") + 1 for label in self.labels]
        count = len(labels)
        for rows in range(1, count + 1):
            starts = range(0, count, rows)
            columns = [max(widths[i : i + rows]) for i in starts]
            if sum(columns) + _BETWEEN * (len(columns) - 1) <= room:
                break
        spare = (room - sum(columns)) / len(columns)
        self._places = []
        tallest = 0
        for number, first in enumerate(starts):
            x = MARGIN + sum(columns[:number]) + number * max(0.0, spare)
            line = 0
            for i in range(first, min(first + rows, count)):
                self._places.append((x, line * LINE))
                line += lines[i]
            tallest = max(tallest, line)
        self.rows = tallest
        self.height = tallest * LINE + MARGIN

    def draw(self, page: Page, top: float, styles: Sequence[Style]) -> None:
        """Draw it below `top`."""
        for label, style, (x, y) in zip(self.labels, styles, self._places, strict=True):
            middle = top + y + LINE / 2
            if self._joined:
                _sample(page, x, middle, style)
                page.block(x + _SAMPLE + _SPACE, top + y, label)
            else:
                _sample(page, x + _MARKER / 2, middle, style, 0.0)
                page.block(x + _MARKER + _SPACE, top + y, label)


# -- beside the ends of curves ------------------------------------------------------------------


class EndLabels:
    """Names at the right edge, at the height of their curves' ends or as near as there is room."""

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = [wrapped(label, _WIDEST) for label in labels]
        texts = max(map(text_width, self.labels))
        self.width = LEADER + _SAMPLE + _SPACE + texts + MARGIN
        self._heights = [(label.count("\n") + 1) * LINE for label in self.labels]
        self.height = sum(self._heights)

    def draw(
        self, page: Page, left: float, span: tuple[float, float], ends: Sequence[float],
        styles: Sequence[Style],
    ) -> None:  # fmt: skip
        """Draw them right of `left`.

        span: upper and lower limit of the names, ends: of the curves, all in inches from the top.
        """
        order = sorted(range(len(ends)), key=lambda i: ends[i])
        centres = spread([ends[i] for i in order], [self._heights[i] for i in order], span)
        for i, y in zip(order, centres, strict=True):
            page.line([left, left + LEADER], [ends[i], y], color="#999999", linewidth=0.4)
            _sample(page, left + LEADER, y, styles[i])
            x = left + LEADER + _SAMPLE + _SPACE
            page.block(x, y - self._heights[i] / 2, self.labels[i])


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


def _sample(page: Page, x: float, y: float, style: Style, width: float = _SAMPLE) -> None:
    """The line of `width` inches with a marker in its middle; without width the marker alone."""
    page.line([x, x + width / 2, x + width], [y] * 3, markevery=[1], **look(style))
