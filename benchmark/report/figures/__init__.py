"""Figures of a report, one column of a two-column paper wide, as SVG, PDF and PNG.

    base         what a figure is; FIGURES, the registry
    options      what a reader may choose
    numbers      what the figures show, without matplotlib
    canvas       one drawing: caption, labels at the ends of curves, files
    clbench.mplstyle  the look
    clbench-sans.ttf  the letters, with their origin and licence in clbench-sans.md
    svg          matplotlib's SVG made fit for a page
    curves       accuracy after each task; accuracy on each task relative to a chosen row
    tradeoff     accuracy over added parameters and over training time, with the Pareto front
    heat         forgetting of every task
    confusion    tasks confused with each other, wrong task against wrong class
    ranks        average ranks over blocks, where they separate something

A figure is a class in one file of this folder, or of a plug-in:

    @FIGURES.register("accuracy")
    class AccuracyCurves(BlockFigure): ...

Drawn with seaborn and matplotlib's object interface: no window, no lasting state, the same bytes
every time. Both are imported when something is drawn, not before.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.report.figures.base import FIGURES, BlockFigure, ReportFigure
from benchmark.report.figures.numbers import check_names, usable
from benchmark.report.figures.options import FORMATS, NothingToDrawError, Options
from benchmark.report.rows import Block

if TYPE_CHECKING:
    from benchmark.report.figures.canvas import Canvas

__all__ = [
    "FIGURES",
    "FORMATS",
    "BlockFigure",
    "NothingToDrawError",
    "Options",
    "ReportFigure",
    "check_names",
    "draw",
    "render",
    "usable",
]


def render(
    kind: str,
    data: Block | Sequence[Block],
    options: Options | None = None,
    forms: Sequence[str] = FORMATS,
) -> dict[str, bytes]:
    """Files of one figure by form.

    Args:
        kind: Name of the figure.
        data: A block, or for figures of a whole report all of them.
        options: What the reader chose.
        forms: Of `FORMATS`.

    Raises:
        NothingToDrawError: There is nothing to show.
        UnknownNameError: No figure has this name.
    """
    # Importing matplotlib takes most of the time of a small report: only when a figure is wanted.
    from benchmark.report.figures import canvas

    with canvas.style():
        name = f"{data.name}-{kind}" if isinstance(data, Block) else kind
        return draw(kind, data, options).saved(name, forms)


def draw(kind: str, data: Block | Sequence[Block], options: Options | None = None) -> Canvas:
    """One figure on its canvas, as `render` saves it; wants `canvas.style` around it."""
    from benchmark.report.figures.canvas import Canvas

    drawn = Canvas(options)
    figure = FIGURES.get(kind)()
    if isinstance(figure, BlockFigure):
        assert isinstance(data, Block)
        figure.draw(usable(data), drawn)
    else:
        assert not isinstance(data, Block)
        figure.draw(data, drawn)
    return drawn
