"""The figure of average ranks: methods in their order, and which of them do not differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence, Set
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.metrics import METRICS
from benchmark.report.figures.base import FIGURES, ReportFigure
from benchmark.report.figures.options import NothingToDrawError
from benchmark.report.formatting import listing
from benchmark.report.palette import INK, MOST_COLOURED, PALE, Palette, coloured_rows
from benchmark.report.rows import Block
from benchmark.report.statistics.rank_spread import bootstrap
from benchmark.report.statistics.ranks import Ranking, ranking, tests_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benchmark.report.figures.canvas import Canvas


@FIGURES.register("ranks")
class AverageRanks(ReportFigure):
    """Mean ranks over blocks with the critical difference, where any two methods differ by it."""

    title = "Average ranks"

    def draw(self, blocks: Sequence[Block], canvas: Canvas) -> None:
        """Draw a row per method, and bars beside methods that do not differ significantly."""
        found = ranking(blocks)
        if found is None or len(found.blocks) < 2:
            raise NothingToDrawError("average ranks take two methods that finished in two blocks")
        if not separates(found):
            raise NothingToDrawError("no two methods differ significantly in their average ranks")
        from benchmark.report.figures.canvas import lines_high, task_ticks, wrapped

        count = len(found.methods)
        uneven = [any(row.unfair for row in method.rows) for method in found.methods]
        names = [
            method.label + " *" * marked
            for method, marked in zip(found.methods, uneven, strict=True)
        ]
        spread = bootstrap(found)
        datasets = listing(list(dict.fromkeys(block.key.dataset for block in found.blocks)))
        caption = (
            f"{count} methods by {METRICS[found.metric].title.lower()}, ranks over "
            f"{len(found.blocks)} blocks of {datasets} (ticks) and their mean. "
            f"{tests_text(found)}"
        )
        if spread.resampled:
            caption += " Lines: 95 % of a bootstrap of class orders and seeds."
        caption += " Bars at the right: no significant difference."
        if any(uneven):
            caption += " *: measured differently from the other rows; see the notes of the table."
        canvas.caption(caption, 1.2 * lines_high(names) + 0.5)
        axes = canvas.figure.add_subplot()
        palette = canvas.options.palette or Palette(
            [row for method in found.methods for row in method.rows]
        )
        _draw_rows(axes, found, palette, _coloured(blocks, canvas.options.in_colour))
        if spread.resampled:
            axes.hlines(range(count), spread.low, spread.high, color=INK, linewidth=0.9, zorder=2)
        for lane, (first, last) in _lanes(found.groups()):
            x = [1.02 + 0.025 * lane] * 2
            axes.plot(
                x,
                [first - 0.25, last + 0.25],
                transform=axes.get_yaxis_transform(),
                color=INK,
                linewidth=1.4,
                clip_on=False,
            )
        axes.set(xlim=(0.5, count + 0.5), ylim=(count - 0.5, -0.7), xlabel="Mean rank (1 is best)")
        axes.set_xticks(task_ticks(count, 12))
        axes.set_yticks(range(count), [wrapped(name) for name in names])
        axes.tick_params(axis="y", left=False, length=0)
        axes.spines["left"].set_visible(False)


def separates(found: Ranking) -> bool:
    """Whether at least one pair of methods differs significantly."""
    return float(found.mean.max() - found.mean.min()) > found.critical_difference


def _coloured(blocks: Sequence[Block], wanted: Iterable[str]) -> set[str]:
    """Methods that the figures of the blocks show in colour, at most `MOST_COLOURED`."""
    shown = [block.rows[i].method for block in blocks for i in sorted(coloured_rows(block, wanted))]
    return {method for method, _ in Counter(shown).most_common(MOST_COLOURED)}


def _draw_rows(axes: Axes, found: Ranking, palette: Palette, coloured: Set[str]) -> None:
    import seaborn as sns

    from benchmark.report.figures.canvas import line_look

    count = len(found.methods)
    axes.hlines(range(count), 0.5, count + 0.5, color="#dddddd", linewidth=0.5, zorder=0)
    sns.scatterplot(
        x=found.ranks.ravel(),
        y=[y for _ in found.blocks for y in range(count)],
        marker="|",
        color=PALE,
        linewidth=0.6,
        ax=axes,
    )
    for y, (mean, method) in enumerate(zip(found.mean, found.methods, strict=True)):
        style = palette.style(method.rows[0])
        if method.rows[0].method not in coloured:
            style = replace(style, colour=PALE)
        look = line_look(style) | {"linestyle": "none"}
        axes.plot([mean], [y], zorder=3, clip_on=False, **look)


def _lanes(groups: Sequence[tuple[int, int]]) -> list[tuple[int, tuple[int, int]]]:
    """Every bar with a lane in which it touches no other."""
    ends: list[int] = []
    placed = []
    for first, last in groups:
        lane = next((i for i, end in enumerate(ends) if end < first), len(ends))
        ends[lane : lane + 1] = [last]
        placed.append((lane, (first, last)))
    return placed
