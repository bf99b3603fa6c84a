"""What figures are told, and what they answer where they show nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmark.metrics import Predictions
from benchmark.report.palette import Palette

FORMATS = ("svg", "pdf", "png")


class NothingToDrawError(ValueError):
    """There is nothing for a figure to show; the message says why."""


@dataclass(frozen=True)
class Options:
    """What a reader may choose, and what all figures of a report share.

    Attributes:
        relative_to: Method, or label of a row, that relative accuracies compare with; empty:
            inflora or, where that is missing, the best method.
        highlight: Methods, or labels of rows, that keep their colour in a figure of many rows.
        predictions: Stored predictions by run key (`ResultStore.predictions`); None: there are
            none.
        palette: Colours and markers of the report; None: those of the figure's own rows.
    """

    relative_to: str = ""
    highlight: tuple[str, ...] = ()
    predictions: Callable[[str], Predictions] | None = None
    palette: Palette | None = None

    @property
    def in_colour(self) -> tuple[str, ...]:
        """Methods, or labels of rows, that keep their colour."""
        return tuple(filter(None, (*self.highlight, self.relative_to)))
