"""The figure of average ranks: methods in their order, and which of them are not told apart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from benchmark.metrics import METRICS
from benchmark.report.figures import FORMATS, NothingToDrawError
from benchmark.report.formatting import listing
from benchmark.report.palette import styles
from benchmark.report.rows import Block
from benchmark.report.statistics.rank_spread import RankSpread, bootstrap
from benchmark.report.statistics.ranks import Ranking, ranking, tests_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from benchmark.report.figures.canvas import Page

_ROW = 0.15  # inches
_LABELS = 1.9  # inches at most
_BAR = 0.07  # inches from one bar of methods not told apart to the next
_RULER = 0.2  # inches above the rows for the critical difference
_PALE = "#999999"


def render_ranks(
    blocks: Sequence[Block], metric: str = "final", forms: Sequence[str] = FORMATS
) -> dict[str, bytes]:
    """Files of the figure by form; NothingToDrawError where ranks over blocks mean nothing."""
    from benchmark.report.figures import canvas

    found = ranking(blocks, metric)
    if found is None or len(found.blocks) < 2:
        raise NothingToDrawError("average ranks take two methods that finished in two blocks")
    with canvas.style():
        methods = {line.method for block in blocks for line in block.rows}
        figure = _drawn(found, bootstrap(found), methods)
        return {form: canvas.saved(figure, form) for form in forms}


def _drawn(found: Ranking, spread: RankSpread, methods: Iterable[str]) -> Figure:
    from benchmark.report.figures import canvas, labels

    rows = len(found.methods)
    uneven = [any(line.unfair for line in method.rows) for method in found.methods]
    names = [
        canvas.wrapped(method.label + " *" * marked, _LABELS)
        for method, marked in zip(found.methods, uneven, strict=True)
    ]
    left = canvas.MARGIN * 2 + max(map(canvas.text_width, names))
    lines = [name.count("\n") + 1 for name in names]
    heights = [max(_ROW, n * canvas.LINE) for n in lines]
    groups = found.groups()
    lanes = _lanes(groups)
    right = 2 * canvas.MARGIN + _BAR * (max(lanes, default=-1) + 1)
    height = sum(heights)
    datasets = listing(list(dict.fromkeys(block.key.dataset for block in found.blocks)))
    words = (
        f"{rows} methods by {METRICS[found.metric].title.lower()}, ranks over "
        f"{len(found.blocks)} blocks of {datasets} (ticks) and their mean. {tests_text(found)}"
    )
    if spread.resampled:
        words += " Lines: 95 % of a bootstrap of class orders and seeds."
    words += " Bars at the right: not told apart."
    if any(uneven):
        words += " *: not measured like the rest, see the notes of the table."
    page = canvas.Page(canvas.SINGLE, _RULER + height + canvas.AXIS_BELOW, words)
    width = canvas.SINGLE - left - right
    axes = page.axes(left, page.top + _RULER, width, height)
    centres = [sum(heights[:i]) + heights[i] / 2 for i in range(rows)]
    look = styles(((m.rows[0].method, m.rows[0].variant) for m in found.methods), methods)
    looks = [look[m.rows[0].method, m.rows[0].variant] for m in found.methods]
    axes.hlines(centres, 0.5, rows + 0.5, colors="#EEEEEE", linewidth=0.5, zorder=0)
    places = [y for _ in found.blocks for y in centres]
    axes.plot(found.ranks.ravel(), places, "|", color=_PALE, markersize=4, markeredgewidth=0.6)
    if spread.resampled:
        colours = [style.colour for style in looks]
        axes.hlines(centres, spread.low, spread.high, colors=colours, linewidth=1.2, zorder=2)
    for mean, y, n, name, style in zip(found.mean, centres, lines, names, looks, strict=True):
        shown = labels.look(style) | {"linestyle": "none"}
        axes.plot([mean], [y], zorder=3, clip_on=False, **shown)
        top = page.top + _RULER + y - n * canvas.LINE / 2
        page.block(left - canvas.MARGIN, top, name, ha="right")
    axes.set_xlim(0.5, rows + 0.5)
    axes.set_ylim(height, 0)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xticks(canvas.task_ticks(rows, 12))
    canvas.name_axes(axes, "Mean rank (1 is best)", "")
    edge = canvas.SINGLE - right + canvas.MARGIN
    for (first, last), lane in zip(groups, lanes, strict=True):
        ends = [page.top + _RULER + centres[i] + d for i, d in ((first, -0.04), (last, 0.04))]
        page.line([edge + lane * _BAR] * 2, ends, linewidth=1.4)
    _ruler(page, found, left, width, rows)
    return page.figure


def _ruler(page: Page, found: Ranking, left: float, width: float, rows: int) -> None:
    """The critical difference as a length of the rank axis, cut where it is longer than that."""
    inch = width / rows
    length = min(found.critical_difference * inch, width)
    y = page.top + _RULER - 0.06
    page.line([left, left + length], [y, y], linewidth=1.0)
    for x in (left, left + length):
        page.line([x, x], [y - 0.025, y + 0.025], linewidth=1.0)
    text = f"critical difference {found.critical_difference:.1f}"
    page.text(left, y - 0.05, text, va="bottom")


def _lanes(groups: Sequence[tuple[int, int]]) -> list[int]:
    """For every bar a lane in which it touches no other."""
    ends: list[int] = []
    lanes = []
    for first, last in groups:
        lane = next((i for i, end in enumerate(ends) if end < first), len(ends))
        ends[lane : lane + 1] = [last]
        lanes.append(lane)
    return lanes
