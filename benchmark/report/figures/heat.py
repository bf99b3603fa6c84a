"""How much of every task each method forgot: rows of methods, columns of tasks, and the mean."""

from __future__ import annotations

import math
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from benchmark.report.figures.numbers import (
    NothingToDrawError,
    Options,
    forgetting_by_task,
)
from benchmark.report.formatting import number
from benchmark.report.rows import Block

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 0.15  # inches
_CELL = 0.36  # inches: the widest
_NUMBER, _SHORT_NUMBER = 0.29, 0.19  # inches: the least width for `12.3` and `12`
_GAP = 0.3  # cells between the tasks and their mean
_LEAST = 10.0  # percentage points at the dark end: small forgetting never looks large
_WIDEST = 2.0  # inches: longer names are wrapped
_TOP, _BELOW = 0.04, 0.32  # inches above and below the cells
_SCALE_WIDTH = 0.5


def forgetting_map(block: Block, options: Options) -> Figure:
    """Forgetting of every task but the last, after the last, mean over the runs."""
    tasks = len(block.key.tasks)
    if tasks < 2:
        raise NothingToDrawError("with a single task nothing is forgotten")
    found = [(line, forgetting_by_task(line)) for line in block.rows]
    known = [(line, values) for line, values in found if not math.isnan(values[0])]
    if not known:
        raise NothingToDrawError("no method was evaluated after every task")
    from benchmark.report.figures import canvas
    from benchmark.report.figures.maps import Map

    domain = block.key.scenario == "domain"
    word = "domain" if domain else "task"
    counts = [len(line.done) for line, _ in known]
    title = (
        f"{block.title}; forgetting of each {word} after the last (best accuracy before it less "
        f"accuracy after it, points), mean of {canvas.runs_text(counts)}"
    )
    left_out = [line.label for line, values in found if math.isnan(values[0])]
    if left_out:
        title += f"; not evaluated after every {word}: {', '.join(left_out)}"
    names = canvas.with_n([line.label for line, _ in known], counts)
    labels = [canvas.wrapped(name, _WIDEST) for name in names]
    left = max(map(canvas.text_width, labels)) + canvas.MARGIN + 0.06
    columns = tasks - 1 + _GAP  # without the mean
    fits = left + columns * _SHORT_NUMBER + _NUMBER <= canvas.SINGLE - canvas.MARGIN
    width = canvas.SINGLE if fits else canvas.DOUBLE
    cell = min(_CELL, (width - left - _NUMBER - canvas.MARGIN) / columns)
    numbers = cell >= _SHORT_NUMBER
    if not numbers:  # the colours alone: a scale in place of the numbers
        cell = (width - left - _NUMBER - canvas.MARGIN - _SCALE_WIDTH) / columns
    tall = max(_ROW, canvas.LINE * max(label.count("\n") + 1 for label in labels))
    height = tall * len(known)
    page = canvas.Page(width, height + _TOP + _BELOW, title)
    top = page.top + _TOP
    cells = np.array([values for _, values in known])
    means = np.array([[fmean(values)] for _, values in known])
    colours = Map(page, max(_LEAST, 5 * math.ceil(float(cells.max()) / 5)))
    middle = left + cell * columns
    colours.draw(left, top, cell, tall, cells)
    colours.draw(middle, top, _NUMBER, tall, means)
    colours.write(middle, top, _NUMBER, tall, means, partial(_text, decimals=1))
    if numbers:
        decimals = int(cell >= _NUMBER)
        colours.write(left, top, cell, tall, cells, partial(_text, decimals=decimals))
    else:
        colours.scale(middle + _NUMBER + 0.15, top, min(height, 1.5), (0, colours.high), "")
    for i, label in enumerate(labels):
        lines = label.count("\n") + 1
        page.block(left - 0.06, top + (i + 0.5) * tall - lines * canvas.LINE / 2, label, ha="right")
    ticks = canvas.task_ticks(tasks - 1, most=10 if cell < _SHORT_NUMBER else 40)
    for tick in ticks:
        page.text(left + (tick - 0.5) * cell, top + height + 0.11, str(tick), ha="center")
    page.text(middle + _NUMBER / 2, top + height + 0.11, "mean", ha="center")
    page.text(left + cell * (tasks - 1) / 2, top + height + 0.24, word.capitalize(), ha="center")
    return page.figure


def _text(value: float, decimals: int) -> str:
    text = number(round(value, decimals), decimals)
    return text.replace("-", "\N{MINUS SIGN}")
