"""How much of every task each method forgot: rows of methods, columns of tasks, and the mean."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from benchmark.report.figures.base import FIGURES, BlockFigure
from benchmark.report.figures.numbers import forgetting_by_task, task_word
from benchmark.report.figures.options import NothingToDrawError
from benchmark.report.figures.svg import Values
from benchmark.report.formatting import number
from benchmark.report.rows import Block

if TYPE_CHECKING:
    from benchmark.report.figures.canvas import Canvas

_LEAST = 10.0  # percentage points at the dark end: small forgetting never looks large
_MOST_NUMBERS = 12  # columns that have room for numbers
_MARGINS = 0.45  # inches for the axis and its name


@FIGURES.register("forgetting")
class ForgettingMap(BlockFigure):
    """Forgetting of every task but the last, after the last, mean over the runs."""

    title = "Forgetting of each task (points)"
    place = 5

    def draw(self, block: Block, canvas: Canvas) -> None:
        """Draw a cell per row and task, and one for the mean."""
        tasks = len(block.key.tasks)
        if tasks < 2:
            raise NothingToDrawError("with a single task nothing is forgotten")
        found = [(i, forgetting_by_task(row)) for i, row in enumerate(block.rows)]
        known = [(i, values) for i, values in found if not math.isnan(values[0])]
        if not known:
            raise NothingToDrawError("no method was evaluated after every task")
        from benchmark.report.figures.canvas import (
            draw_map,
            labels_with_n,
            lines_high,
            runs_text,
            task_ticks,
            wrapped,
            write_cells,
        )

        word = task_word(block)
        rows = [block.rows[i] for i, _ in known]
        counts = [len(row.done) for row in rows]
        caption = (
            f"{block.title}; forgetting of each {word} after the last (best accuracy before it "
            f"less accuracy after it, points), mean of {runs_text(counts)}"
        )
        left_out = [block.rows[i].label for i, values in found if math.isnan(values[0])]
        if left_out:
            caption += f"; not evaluated after every {word}: {', '.join(left_out)}"
        labels = labels_with_n(rows, counts)
        canvas.caption(caption, lines_high(labels) * 1.15 + _MARGINS)
        cells = np.array([values for _, values in known])
        high = max(_LEAST, 5 * math.ceil(float(cells.max()) / 5))
        axes = canvas.figure.add_subplot()
        mesh = draw_map(axes, cells, high)
        axes.set_yticks(np.arange(len(rows)) + 0.5, [wrapped(label) for label in labels])
        ticks = task_ticks(tasks - 1, most=_MOST_NUMBERS)
        axes.set_xticks([tick - 0.5 for tick in ticks], list(map(str, ticks)))
        axes.set_xlabel(word.capitalize())
        right = axes.secondary_yaxis("right")
        right.set_yticks(axes.get_yticks(), [number(mean, 1) for mean in cells.mean(axis=1)])
        right.tick_params(right=False, length=0)
        right.spines["right"].set_visible(False)
        axes.set_title("mean", loc="right", x=1.09)
        if tasks <= _MOST_NUMBERS:
            write_cells(axes, cells, high)
        else:
            canvas.figure.colorbar(mesh, ax=axes, location="bottom", shrink=0.6, aspect=40)
        texts = [
            Values(row.label, i, [f"{word} {j}: {number(v, 2)}" for j, v in enumerate(values, 1)])
            for row, (i, values) in zip(rows, known, strict=True)
        ]
        canvas.values(mesh, *texts)
