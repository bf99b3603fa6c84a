"""Draws the figures of a report: only what has changed, on all cores where processes may be forked.

Beside the figures lies a list of digests, one per figure, over all that it shows and all that draws
it. A figure whose digest has not changed is not drawn again.
"""

from __future__ import annotations

import gc
import hashlib
import importlib
import inspect
import json
import os
import sys
import threading
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from importlib.metadata import version
from pathlib import Path

import benchmark
from benchmark.report.figures import (
    FIGURES,
    FORMATS,
    BlockFigure,
    NothingToDrawError,
    Options,
    ReportFigure,
    render,
)
from benchmark.report.palette import coloured_rows
from benchmark.report.rows import Block
from benchmark.results.store import ResultStore

DIGESTS = ".digests.json"
_BACKENDS = tuple(f"matplotlib.backends.backend_{name}" for name in ("agg", "pdf", "svg"))
_LIBRARIES = ("matplotlib", "numpy", "seaborn")
# Whatever decides what a figure looks like beside its own module, below the package.
_SOURCES = (
    "metrics.py",
    "report/formatting.py",
    "report/palette.py",
    "report/figures/base.py",
    "report/figures/canvas.py",
    "report/figures/clbench.mplstyle",
    "report/figures/clbench-sans.ttf",
    "report/figures/numbers.py",
    "report/figures/options.py",
    "report/figures/svg.py",
)


@dataclass(frozen=True)
class Job:
    """One figure and what it is drawn from: one block, or all of them."""

    kind: str
    blocks: tuple[Block, ...]

    @cached_property
    def figure(self) -> type[BlockFigure] | type[ReportFigure]:
        """What draws it."""
        return FIGURES.get(self.kind)

    @property
    def block(self) -> str:
        """Name of the block; empty for a figure over all blocks."""
        return self.blocks[0].name if issubclass(self.figure, BlockFigure) else ""

    @property
    def data(self) -> Block | tuple[Block, ...]:
        """What it is drawn from."""
        return self.blocks[0] if self.block else self.blocks

    @property
    def stem(self) -> str:
        """Name of its files."""
        return "-".join(filter(None, (self.block, self.kind)))


@dataclass(frozen=True)
class Drawn:
    """A figure's files by form, none where it has nothing to show; new: drawn just now."""

    job: Job
    files: Mapping[str, bytes]
    new: bool


def draw_figures(
    blocks: Sequence[Block], options: Options, store: ResultStore, folder: Path
) -> tuple[list[Drawn], bytes]:
    """Figures of all blocks with finished runs, and the list of digests to store with them.

    Args:
        blocks: Those of the report.
        options: What the reader chose, with a palette for the whole report.
        store: Of the runs.
        folder: Where the figures of the last report lie.
    """
    blocks = [block for block in blocks if block.finished]
    if not blocks:
        return [], b""
    jobs = all_jobs(blocks)
    digests = _Digests(blocks, options, store)
    now = {job.stem: digests.of(job) for job in jobs}
    kept = _kept(folder, now)
    new = _draw([job for job in jobs if job.stem not in kept], options)
    drawn = [Drawn(job, (kept | new)[job.stem], job.stem in new) for job in jobs]
    content = {
        one.job.stem: {"digest": now[one.job.stem], "forms": sorted(one.files)} for one in drawn
    }
    return drawn, json.dumps(content, indent=1).encode()


def all_jobs(blocks: Sequence[Block]) -> list[Job]:
    """Every figure of these blocks, which all have finished runs."""
    found = {kind: FIGURES.get(kind) for kind in FIGURES.names()}
    kinds = sorted(found, key=lambda kind: found[kind].place)
    of_blocks = [kind for kind in kinds if issubclass(found[kind], BlockFigure)]
    jobs = [Job(kind, (block,)) for block in blocks for kind in of_blocks]
    return jobs + [Job(kind, tuple(blocks)) for kind in kinds if kind not in of_blocks]


# -- what has changed ---------------------------------------------------------------------------


class _Digests:
    """Digests of jobs; every run is read once."""

    def __init__(self, blocks: Sequence[Block], options: Options, store: ResultStore) -> None:
        self._options, self._store = options, store
        self._blocks = {block.name: self._block(block) for block in blocks}

    def of(self, job: Job) -> str:
        """Digest over everything that decides what the figure looks like."""
        return _digest(
            job.kind,
            _sources(job.figure),
            self._options.relative_to,
            *self._options.highlight,
            *(self._blocks[block.name] for block in job.blocks),
        )

    def _block(self, block: Block) -> str:
        palette = self._options.palette
        assert palette is not None
        shown = [row for row in block.rows if row.done]
        coloured = coloured_rows(
            replace(block, rows=tuple(shown)),
            self._options.in_colour,
        )
        rows = [
            (row.label, row.section, row.unfair, str(palette.style(row)), i in coloured)
            for i, row in enumerate(shown)
        ]
        runs = [self._run(run.result["key"]) for row in shown for run in row.done]
        return _digest(block.name, block.title, json.dumps(rows), *runs)

    def _run(self, key: str) -> str:
        folder = self._store.folder(key)
        files = (folder / name for name in ("result.json", "predictions.npz"))
        return _digest(key, *(file.read_bytes() if file.is_file() else b"" for file in files))


@cache
def _sources(figure: type) -> str:
    root = Path(benchmark.__file__).parent
    files = [root / name for name in _SOURCES]
    own = inspect.getsourcefile(figure)
    if own is not None:
        files.append(Path(own))
    if issubclass(figure, ReportFigure):
        files += sorted((root / "report" / "statistics").glob("*.py"))
    versions = (version(library) for library in _LIBRARIES)
    return _digest(*(file.read_bytes() for file in files), *versions)


def _digest(*parts: str | bytes) -> str:
    found = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        found.update(len(content).to_bytes(8, "big") + content)
    return found.hexdigest()[:32]


def _kept(folder: Path, now: dict[str, str]) -> dict[str, dict[str, bytes]]:
    """Files of the figures that have not changed; those with nothing to show have none."""
    try:
        last = json.loads((folder / DIGESTS).read_bytes())
        same = {
            stem: last[stem]["forms"]
            for stem in now
            if stem in last and last[stem]["digest"] == now[stem]
        }
    except (OSError, ValueError, TypeError, KeyError):  # none yet, or damaged
        return {}
    kept = {}
    for stem, forms in same.items():
        paths = {form: folder / f"{stem}.{form}" for form in forms if form in FORMATS}
        if all(path.is_file() for path in paths.values()):
            kept[stem] = {form: path.read_bytes() for form, path in paths.items()}
    return kept


# -- drawing ------------------------------------------------------------------------------------


def _draw(jobs: Sequence[Job], options: Options) -> dict[str, dict[str, bytes]]:
    """Files by form of every job, by its stem."""
    if not jobs:
        return {}
    drawing = _Drawing(jobs, options)
    made = _in_processes(drawing) if _may_fork() else map(drawing, range(len(jobs)))
    return {job.stem: files for job, files in zip(jobs, made, strict=True)}


@dataclass(frozen=True)
class _Drawing:
    """Draws one of the jobs, a figure in all its forms."""

    jobs: Sequence[Job]
    options: Options

    def __call__(self, number: int) -> dict[str, bytes]:
        job = self.jobs[number]
        try:
            return render(job.kind, job.data, self.options)
        except NothingToDrawError:
            return {}


_drawing: _Drawing | None = None  # of a forked process


def _take(drawing: _Drawing) -> None:
    global _drawing
    gc.disable()  # figures are full of cycles, and the process ends soon
    _drawing = drawing


def _draw_one(number: int) -> dict[str, bytes]:
    assert _drawing is not None
    return _drawing(number)


def _in_processes(drawing: _Drawing) -> list[dict[str, bytes]]:
    """Draw on all cores: forks of this process, so that libraries are imported once."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    # What the forks need: imported once, here.
    for module in (*_BACKENDS, "seaborn", "benchmark.report.figures.canvas"):
        importlib.import_module(module)

    workers = min(os.cpu_count() or 1, len(drawing.jobs))
    fork = multiprocessing.get_context("fork")
    with warnings.catch_warnings():
        # Python warns of native threads, such as a numerical library's: nothing here calls it.
        warnings.simplefilter("ignore", DeprecationWarning)
        # Forks inherit what they draw; only numbers go to them and files come back.
        with ProcessPoolExecutor(workers, fork, initializer=_take, initargs=(drawing,)) as pool:
            return list(pool.map(_draw_one, range(len(drawing.jobs))))


def _may_fork() -> bool:
    """Forking is safe on Linux with one thread and no library, such as torch, that has its own."""
    alone = threading.active_count() == 1 and "torch" not in sys.modules
    return sys.platform == "linux" and alone and (os.cpu_count() or 1) > 1
