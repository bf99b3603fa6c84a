"""Figures of a block of results, as PDF and PNG for a two-column paper.

    numbers      what the figures show, without matplotlib
    canvas       sizes, fonts, title, files: the same for all figures
    labels       names of the lines and points: below, or beside the curves' ends
    curves       accuracy after each task; accuracy on each task relative to a chosen row
    tradeoff     accuracy over expanded parameters and over training time, with the Pareto front
    heat         forgetting of every task
    confusion    tasks confused with each other, wrong task against wrong class
    ranks        average ranks over blocks, and which are not told apart

Drawn with matplotlib's object interface: no window, no lasting state, the same bytes every time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from benchmark.report.figures.confusion import confusion_map
from benchmark.report.figures.curves import accuracy_curves, relative_accuracy
from benchmark.report.figures.heat import forgetting_map
from benchmark.report.figures.numbers import (
    NothingToDrawError,
    Options,
    check_relative_to,
    usable,
)
from benchmark.report.figures.tradeoff import accuracy_over_parameters, accuracy_over_time

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmark.report.rows import Block

__all__ = [
    "FIGURES",
    "FORMATS",
    "NothingToDrawError",
    "Options",
    "check_relative_to",
    "render",
]

FORMATS = ("png", "pdf")

Draw: TypeAlias = Callable[["Block", Options], "Figure"]

# Draws one kind of figure; raises NothingToDrawError with the reason when there is nothing to show.
# Outside `render`, with matplotlib's own style and not with this report's.
FIGURES: Mapping[str, Draw] = {
    "accuracy": accuracy_curves,
    "parameters": accuracy_over_parameters,
    "time": accuracy_over_time,
    "relative": relative_accuracy,
    "forgetting": forgetting_map,
    "confusion": confusion_map,
}


def render(
    kind: str, block: Block, options: Options | None = None, forms: Sequence[str] = FORMATS
) -> dict[str, bytes]:
    """Files of one figure by form, drawn once; raises NothingToDrawError with the reason."""
    # Importing matplotlib takes most of the time of a small report: only when a figure is wanted.
    from benchmark.report.figures import canvas

    block = usable(block)
    with canvas.style():
        figure = FIGURES[kind](block, options or Options())
        return {form: canvas.saved(figure, form) for form in forms}
