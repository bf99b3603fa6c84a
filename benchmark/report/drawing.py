"""Draws the figures of a report, on all cores where processes may be forked."""

from __future__ import annotations

import gc
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from benchmark.report.rows import Block

if TYPE_CHECKING:
    from benchmark.metrics import Predictions
    from benchmark.report.figures import Options

RANKS = "ranks"  # the figure over all blocks
Drawn: TypeAlias = "dict[tuple[str, str], dict[str, bytes]]"


def draw_figures(
    blocks: Sequence[Block], relative_to: str, predictions: Callable[[str], Predictions]
) -> Drawn:
    """Files by form of every figure, by block name (empty: over all blocks) and kind.

    Figures with nothing to show are left out.
    """
    blocks = [block for block in blocks if block.finished]
    if not blocks:
        return {}
    from benchmark.report.figures import FIGURES, Options

    jobs: list[tuple[Block | None, str]] = [(block, kind) for block in blocks for kind in FIGURES]
    jobs.append((None, RANKS))
    methods = tuple({line.method: None for block in blocks for line in block.rows})
    drawing = _Drawing(blocks, jobs, Options(relative_to, predictions, methods))
    made = _in_processes(drawing) if _may_fork() else map(drawing, range(len(jobs)))
    return {
        (block.name if block else "", kind): files
        for (block, kind), files in zip(jobs, made, strict=True)
        if files
    }


@dataclass(frozen=True)
class _Drawing:
    """Draws one of the jobs, a figure in all its forms."""

    blocks: Sequence[Block]
    jobs: Sequence[tuple[Block | None, str]]
    options: Options

    def __call__(self, number: int) -> dict[str, bytes]:
        from benchmark.report.figures import NothingToDrawError, render
        from benchmark.report.figures.ranks import render_ranks

        block, kind = self.jobs[number]
        try:
            if block is None:
                return render_ranks(self.blocks)
            return render(kind, block, self.options)
        except NothingToDrawError:
            return {}


_drawing: _Drawing | None = None  # of a forked process


def _take(drawing: _Drawing) -> None:
    global _drawing
    gc.disable()  # figures are full of cycles, and the process ends soon
    _drawing = drawing


def _draw(number: int) -> dict[str, bytes]:
    assert _drawing is not None
    return _drawing(number)


def _in_processes(drawing: _Drawing) -> list[dict[str, bytes]]:
    """Draw on all cores: forks of this process, so that matplotlib is imported once."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_pdf  # noqa: F401 - what the forks need

    import benchmark.report.figures.maps  # noqa: F401 - likewise
    from benchmark.report.figures.font import lean_family

    lean_family()  # one file for all forks, removed when this process ends
    workers = min(os.cpu_count() or 1, len(drawing.jobs))
    fork = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        # Python warns of native threads, such as a numerical library's: nothing here calls it.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Forks inherit what they draw; only numbers go to them and files come back.
        with ProcessPoolExecutor(workers, fork, initializer=_take, initargs=(drawing,)) as pool:
            return list(pool.map(_draw, range(len(drawing.jobs))))


def _may_fork() -> bool:
    """Forking is safe on Linux with one thread and no library, such as torch, that has its own."""
    alone = threading.active_count() == 1 and "torch" not in sys.modules
    return sys.platform == "linux" and alone and (os.cpu_count() or 1) > 1
