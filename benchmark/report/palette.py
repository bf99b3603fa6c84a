"""Colour, marker and line of every row: the same in all figures of a report.

Methods that some figure shows in colour get the first places, so that few rows of one figure share
a colour; markers and lines tell rows apart where colour does not, as in black and white prints.
Bounds are dark grey and dotted, so that colour belongs to the methods compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from typing import Literal

from benchmark.report.rows import Block, Row
from benchmark.report.statistics.best import best_rows

MOST_COLOURED = 8  # rows of one figure

INK, SOFT, PALE = "#262626", "#666666", "#a6a6a6"
MAP = "#084594"  # of the cells of maps, by opacity
# Okabe and Ito's set without yellow and black, and two dark tones of Tol's: apart for every common
# kind of colour blindness, and dark enough for thin lines on white.
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#332288",
    "#56b4e9",
    "#882255",
)
# The same hues for a dark page.
_COLOURS_ON_DARK = (
    "#4fa8e0",
    "#ff8a4c",
    "#3ccfa4",
    "#e3a1c6",
    "#f0b840",
    "#9a8cf0",
    "#8fd0f5",
    "#d2709c",
)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", "p", ">", "h", "d")
_LINES: tuple[str, ...] = ("-", "--", "-.")
_FILLS: tuple[Fill, ...] = ("full", "left", "bottom", "right", "top", "none")
# Of lower bounds and references, methods, and upper bounds.
_SECTION_MARKERS = (("x", "+", "1", "2", "3", "4", *_MARKERS), _MARKERS, ("*", *_MARKERS))

Fill = Literal["full", "left", "bottom", "right", "top", "none"]


@dataclass(frozen=True)
class Style:
    """How a row is drawn, in matplotlib's words; fill: which part of the marker is filled."""

    colour: str
    marker: str
    line: str
    fill: Fill = "full"


def coloured_rows(block: Block, wanted: Iterable[str]) -> frozenset[int]:
    """Positions of the rows that keep their colour, at most `MOST_COLOURED`.

    Args:
        block: All rows, if they are few enough; else, until the places are taken, the rows
            wanted, the bounds and the rows that no other is significantly better than; where single
            runs allow no test, those of the highest final accuracy.
        wanted: Methods, or labels of rows.
    """
    rows = block.rows
    if len(rows) <= MOST_COLOURED:
        return frozenset(range(len(rows)))
    names = set(wanted)
    first = [i for i, row in enumerate(rows) if names & {row.method, row.label}]
    first += [i for i, row in enumerate(rows) if row.section != 1]
    first += sorted(best_rows(rows, "final").best) or range(len(rows))  # by falling accuracy
    return frozenset(list(dict.fromkeys(first))[:MOST_COLOURED])


class Palette:
    """Styles of all rows of a report.

    Args:
        rows: Every row that is drawn anywhere.
        coloured: Methods that some figure shows in colour.
    """

    def __init__(self, rows: Iterable[Row], coloured: Set[str] = frozenset()) -> None:
        methods = {(row.section, row.method) for row in rows}
        ordered = sorted(methods, key=lambda pair: (pair[1] not in coloured, pair[1]))
        self._places = {
            name: place
            for section in range(len(_SECTION_MARKERS))
            for place, name in enumerate(name for own, name in ordered if own == section)
        }

    def style(self, row: Row) -> Style:
        """The row's style; variants of a method share its colour."""
        place, markers = self._places[row.method], _SECTION_MARKERS[row.section]
        turn = place + row.variant
        marker = markers[turn % len(markers)]
        fill = _FILLS[turn // len(markers) % len(_FILLS)]
        if row.section != 1:
            return Style(INK if row.section == 2 else SOFT, marker, ":", fill)
        line = _LINES[(place // len(COLOURS) + row.variant) % len(_LINES)]
        return Style(COLOURS[place % len(COLOURS)], marker, line, fill)


def report_palette(blocks: Sequence[Block], wanted: Iterable[str]) -> Palette:
    """The palette of all blocks; `wanted` as for `coloured_rows`."""
    names = tuple(wanted)
    finished = [
        replace(block, rows=tuple(row for row in block.rows if row.done)) for block in blocks
    ]
    coloured = {block.rows[i].method for block in finished for i in coloured_rows(block, names)}
    return Palette([row for block in finished for row in block.rows], coloured)


# -- the page ------------------------------------------------------------------------------------


def page_colours() -> dict[str, str]:
    """The page's variable for every colour that figures are drawn in."""
    names = {colour: f"var(--colour-{i})" for i, colour in enumerate(COLOURS)}
    shades = {
        INK: "--text",
        SOFT: "--soft",
        PALE: "--half",
        MAP: "--map",
        "#dddddd": "--rule",
        "#ffffff": "--paper",
    }
    return names | {colour: f"var({name})" for colour, name in shades.items()}


def page_variables(dark: bool) -> str:
    """Declarations of the colours' variables for a light or a dark page, as CSS."""
    found = _COLOURS_ON_DARK if dark else COLOURS
    return " ".join(f"--colour-{i}: {colour};" for i, colour in enumerate(found))
