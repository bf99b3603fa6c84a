"""`clbench report`: reads the results, makes every table and figure, writes the files."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.report import csv_table, latex, markdown
from benchmark.report.blocks import Block, make_blocks
from benchmark.report.model import Table
from benchmark.report.tables import block_table, overviews
from benchmark.results import ResultStore
from benchmark.storage import write_atomically

if TYPE_CHECKING:
    from benchmark.config import RunSpec

WRITERS = {"md": markdown.render, "csv": csv_table.render, "tex": latex.render}


@dataclass(frozen=True)
class Report:
    """tables: one per block, then overviews; problems: result files that could not be used."""

    blocks: tuple[Block, ...]
    tables: tuple[Table, ...]
    problems: tuple[str, ...]
    message: str  # how much there was, in one sentence
    files: tuple[Path, ...] = ()


def collect_report(
    results_root: str | Path, *, expected: Mapping[str, RunSpec] | None = None
) -> Report:
    """Tables of whatever is finished under `results_root`; writes nothing.

    expected: specifications by run key. Only the blocks these belong to are shown, with all their
    rows, and each row says how many of its expected runs are finished.
    """
    store = ResultStore(results_root)
    results = store.results()
    blocks = make_blocks(results, expected)
    tables = (*map(block_table, blocks), *overviews(blocks))
    problems = tuple(f"left out: {problem}" for problem in store.problems)
    counts = {"done": 0, "failed": 0, "cancelled": 0}
    for result in results:
        counts[result["outcome"]["status"]] += 1
    unfinished = len(store.unfinished())
    if not results:
        message = f"no finished runs in {store.runs}: start some with `clbench run`"
    else:
        words = [f"{count} {status}" for status, count in counts.items() if count]
        message = f"runs in {store.runs}: {', '.join(words)}"
    if unfinished:
        message += f"; {unfinished} begun and not finished"
    return Report(tuple(blocks), tables, problems, message)


def build_report(
    results_root: str | Path, out: str | Path, *, expected: Mapping[str, RunSpec] | None = None
) -> Report:
    """Write `tables/*.md|csv|tex` and `figures/*.png|pdf` below `out` from whatever is finished.

    Raises StorageError when `out` cannot be written. `expected` as for `collect_report`.
    """
    report = collect_report(results_root, expected=expected)
    files: dict[Path, bytes] = {}
    for table in report.tables:
        for ending, render in WRITERS.items():
            files[Path("tables") / f"{table.name}.{ending}"] = render(table).encode()
    files |= _figures([block for block in report.blocks if block.finished])
    paths = {Path(out) / name: content for name, content in files.items()}
    for path, content in paths.items():
        write_atomically(path, content, durable=False)
    return Report(report.blocks, report.tables, report.problems, report.message, tuple(paths))


def _figures(blocks: Sequence[Block]) -> dict[Path, bytes]:
    """All figures of the blocks by file name."""
    if not blocks:
        return {}
    from benchmark.report.figures import FIGURES, FORMATS

    jobs = [(block, kind, form) for block in blocks for kind in FIGURES for form in FORMATS]
    names = [Path("figures") / f"{block.name}-{kind}.{form}" for block, kind, form in jobs]
    contents = _in_processes(jobs) if _may_fork() else [_draw(job) for job in jobs]
    return dict(zip(names, contents, strict=True))


def _draw(job: tuple[Block, str, str]) -> bytes:
    from benchmark.report.figures import FIGURES

    block, kind, form = job
    return FIGURES[kind](block, form)


def _in_processes(jobs: Sequence[tuple[Block, str, str]]) -> list[bytes]:
    """Draw on all cores: forks of this process, so that matplotlib is imported once."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    import matplotlib.backends.backend_agg
    import matplotlib.backends.backend_pdf  # noqa: F401 - what the forks need

    workers = min(os.cpu_count() or 1, len(jobs))
    with warnings.catch_warnings():
        # Python warns of native threads, such as a numerical library's: nothing here calls it.
        warnings.simplefilter("ignore", DeprecationWarning)
        with ProcessPoolExecutor(workers, multiprocessing.get_context("fork")) as pool:
            return list(pool.map(_draw, jobs))


def _may_fork() -> bool:
    """Forking is safe on Linux with one thread and no library, such as torch, that has its own."""
    alone = threading.active_count() == 1 and "torch" not in sys.modules
    return sys.platform == "linux" and alone and (os.cpu_count() or 1) > 1
