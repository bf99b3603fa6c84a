"""What a figure is: an entry of the registry that draws a block of results, or a whole report."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from benchmark.registry import Registry
from benchmark.report.rows import Block

if TYPE_CHECKING:
    from benchmark.report.figures.canvas import Canvas


class BlockFigure(ABC):
    """A figure of one block of results.

    Attributes:
        title: What the page writes below the figure.
        on_page: Whether the page shows it.
        place: Where it stands among the figures of the page, the lowest first.
    """

    title: ClassVar[str]
    on_page: ClassVar[bool] = True
    place: ClassVar[int] = 100

    @abstractmethod
    def draw(self, block: Block, canvas: Canvas) -> None:
        """Draw onto the canvas; every row of the block has a finished run.

        Raises:
            NothingToDrawError: The block has nothing that this figure shows.
        """


class ReportFigure(ABC):
    """A figure over all blocks of a report; attributes as of `BlockFigure`."""

    title: ClassVar[str]
    on_page: ClassVar[bool] = True
    place: ClassVar[int] = 100

    @abstractmethod
    def draw(self, blocks: Sequence[Block], canvas: Canvas) -> None:
        """Draw onto the canvas.

        Raises:
            NothingToDrawError: The blocks have nothing that this figure shows.
        """


FIGURES: Registry[type[BlockFigure] | type[ReportFigure]] = Registry(
    "figure",
    variable="FIGURES",
    package="benchmark.report.figures",
    group="clbench.figures",
)
