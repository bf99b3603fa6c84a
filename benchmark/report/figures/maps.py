"""Maps of coloured cells: a light to dark scale that stays one in black and white.

Without axes, which would take longer than all the rest of a figure of many small maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from matplotlib import colormaps
from matplotlib.collections import PolyCollection
from matplotlib.font_manager import FontProperties
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.textpath import TextPath
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from benchmark.report.figures.canvas import MARGIN, SMALL, Page
from benchmark.report.figures.font import FAMILY
from benchmark.report.figures.numbers import Array

Floats: TypeAlias = NDArray[np.floating[Any]]

_COLOURS = "Blues"  # from white; its lightness only falls
_UNKNOWN = (0.93, 0.93, 0.93, 1.0)
_DARK = 0.55  # share of the scale from which on numbers are white
_MOST_CELLS = 1600  # of vector graphics; more are an image
_LEVELS = 48  # steps of the drawn scale


class Map:
    """Cells of one scale from 0 to `high`; root: small values spread by their square root."""

    def __init__(self, page: Page, high: float, *, root: bool = False) -> None:
        self.high = high
        self._page, self._root = page, root

    def share(self, values: Array) -> Array:
        """Where on the scale: 0 light to 1 dark."""
        shares = np.clip(values / self.high, 0, 1)
        return np.asarray(np.sqrt(shares) if self._root else shares)

    def draw(self, left: float, top: float, width: float, height: float, values: Array) -> None:
        """Cells of `width` by `height` inches from the left upper corner; values: [rows, columns].

        Unknown values (nan) are grey.
        """
        colours = colormaps[_COLOURS](self.share(values))
        colours[np.isnan(values)] = _UNKNOWN
        if values.size > _MOST_CELLS:
            shape = values.shape
            axes = self._page.axes(left, top, width * shape[1], height * shape[0])
            axes.imshow(colours, aspect="auto", interpolation="nearest")
            axes.set_axis_off()
            return
        gap = min(0.012, 0.08 * width)
        rows, columns = np.indices(values.shape).reshape(2, -1)
        boxes = _boxes(left + columns * width, top + rows * height, width - gap, height - gap)
        self._add(boxes, colours.reshape(-1, 4))

    def write(
        self,
        left: float,
        top: float,
        width: float,
        height: float,
        values: Array,
        text: Callable[[float], str],
    ) -> None:
        """A number in every cell of `draw` whose value is known, as outlines: texts are slow."""
        inks: dict[str, list[Path]] = {"black": [], "white": []}
        dark = self.share(values) > _DARK
        for (i, j), value in np.ndenumerate(values):
            if np.isnan(value):
                continue
            middle = left + (j + 0.5) * width, top + (i + 0.5) * height
            inks["white" if dark[i, j] else "black"].append(_placed(text(float(value)), middle))
        for ink, paths in inks.items():
            if paths:
                outline = Path.make_compound_path(*paths)
                patch = PathPatch(outline, facecolor=ink, linewidth=0)
                patch.set_transform(self._page.inches)
                self._page.figure.add_artist(patch)

    def scale(
        self, left: float, top: float, height: float, ticks: Sequence[float], name: str
    ) -> None:
        """The scale, standing, dark at the top; name: of the numbers, above it."""
        width, step = 0.09, height / _LEVELS
        shares = (np.arange(_LEVELS) + 0.5)[::-1] / _LEVELS
        lefts = np.full(_LEVELS, left)
        boxes = _boxes(lefts, top + np.arange(_LEVELS) * step, width, 1.05 * step)
        self._add(boxes, colormaps[_COLOURS](shares))
        self._page.box(left, top, width, height)
        for tick in ticks:
            y = top + height * (1 - float(self.share(np.array(tick))))
            self._page.line([left + width, left + width + 0.03], [y, y])
            self._page.text(left + width + 0.05, y, f"{tick:g}", va="center_baseline")
        self._page.text(left, top - MARGIN, name)

    def _add(self, boxes: Floats, colours: Floats) -> None:
        cells = PolyCollection(list(boxes), facecolors=colours, linewidths=0, antialiaseds=True)
        cells.set_transform(self._page.inches)
        self._page.figure.add_artist(cells)


def _boxes(left: Floats, top: Floats, width: float, height: float) -> Floats:
    """Corners of rectangles: [n, 4, 2]."""
    x = left[:, None] + np.array([0, width, width, 0])
    y = top[:, None] + np.array([0, 0, height, height])
    return np.stack([x, y], axis=2)


@lru_cache(maxsize=2000)
def _outline(text: str) -> Path:
    """The text around its middle, in inches, y downwards."""
    points = TextPath((0, 0), text, size=SMALL, prop=FontProperties(family=FAMILY))
    digit = TextPath((0, 0), "0", size=SMALL, prop=FontProperties(family=FAMILY)).get_extents()
    box = points.get_extents()
    middle = Affine2D().translate(-(box.x0 + box.x1) / 2, -(digit.y0 + digit.y1) / 2)
    return middle.scale(1 / 72, -1 / 72).transform_path(points)


def _placed(text: str, middle: tuple[float, float]) -> Path:
    outline = _outline(text)
    return Path(outline.vertices + np.array(middle), outline.codes)
