"""`clbench report`: reads the results, makes every table, figure and the page, writes the files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from benchmark.report.costs import cost_table
from benchmark.report.drawing import DIGESTS, draw_figures
from benchmark.report.fairness.check import UnfairError, unfair
from benchmark.report.figures import Options, check_names
from benchmark.report.formats import csv_table, latex, markdown
from benchmark.report.formatting import left_out
from benchmark.report.model import Report
from benchmark.report.notes import annotated
from benchmark.report.page import PageFigure, render_page
from benchmark.report.palette import report_palette
from benchmark.report.paper.reported import Reported, load_reported, published_ranking
from benchmark.report.paper.reproduced import Form, tables_in
from benchmark.report.paper.tables import has_runs, other_splits
from benchmark.report.rows import make_blocks
from benchmark.report.statistics.agreement import ranking_notes
from benchmark.report.statistics.rank_spread import rank_table
from benchmark.report.statistics.ranks import ranking
from benchmark.report.tables import block_table, overviews
from benchmark.results.schema import Status
from benchmark.results.store import Result, ResultStore
from benchmark.storage import write_atomically

if TYPE_CHECKING:
    from benchmark.spec import RunSpec

WRITERS = {"md": markdown.render, "csv": csv_table.render, "tex": latex.render}
PAGE = "report.html"


def collect_report(
    results_root: str | Path,
    *,
    expected: Mapping[str, RunSpec] | None = None,
    paper: Form | None = None,
) -> Report:
    """Tables of whatever is finished under `results_root`; writes nothing.

    expected: specifications by run key. Only the blocks these belong to are shown, with all their
    rows, and each row says how many of its expected runs are finished. paper: which numbers the
    InfLoRA paper's tables show; by default every number as published, as logged by the official
    code and as reproduced, in the tables that we have runs for.
    """
    store = ResultStore(results_root)
    results = store.results(verified=True)
    blocks = annotated(make_blocks(results, expected))
    reported = load_reported(results_root)
    theirs = tables_in(paper or "reproduced", blocks, reported)
    theirs = [table for table in theirs if paper or has_runs(table)]
    compared = [*map(block_table, blocks), *overviews(blocks)]
    ranked = ranking(blocks)
    ranks = [rank_table(ranked, ranking_notes(blocks, _published(reported)))] if ranked else []
    problems = [
        *left_out(store.problems),
        *(f"left out: {problem}" for problem in reported.problems),
        *other_splits(theirs),
    ]
    return Report(
        tuple(blocks),
        (*compared, *theirs, *ranks, *map(cost_table, blocks)),
        tuple(problems),
        _message(store, results),
        (*compared, *theirs),
        {result["key"]: result for result in results},
    )


def _published(reported: Reported) -> dict[str, list[str]]:
    """The ranking that ours are compared with, by its name."""
    name = "Table 1 of the InfLoRA paper (ImageNet-R, 10 tasks)"
    return {name: published_ranking(reported, "Table 1", "imagenet_r", 10)}


def _message(store: ResultStore, results: Sequence[Result]) -> str:
    if results:
        statuses = Counter(result["outcome"]["status"] for result in results)
        counts = ", ".join(f"{statuses[s]} {s}" for s in get_args(Status) if statuses[s])
        message = f"runs in {store.runs}: {counts}"
    else:
        message = f"no finished runs in {store.runs}: start some with `clbench run`"
    if unfinished := len(store.unfinished()):
        message += f"; {unfinished} started and not finished"
    return message


def build_report(
    results_root: str | Path,
    out: str | Path,
    *,
    expected: Mapping[str, RunSpec] | None = None,
    paper: Form | None = None,
    strict: bool = False,
    relative_to: str = "",
    highlight: Sequence[str] = (),
) -> Report:
    """Write tables, figures and the page below `out` from whatever is finished.

    `tables/*.md|csv|tex`, `figures/*.svg|pdf|png`, `report.html`; figures that did not change are
    not drawn again. Raises StorageError when `out` cannot be written and, when `strict`,
    `UnfairError` where rows that stand together are not comparable: nothing is written then.
    relative_to: method or row that relative accuracies compare with;
    highlight: methods or rows that keep their colour where there are many (see `figures.Options`);
    UnknownNameError, before anything is written, when no block has one of them.
    expected: specifications by run key; only their blocks are printed, but files hold everything.
    `paper` as for `collect_report`.
    """
    report = collect_report(results_root, paper=paper)
    if expected is not None:
        report = replace(report, printed=collect_report(results_root, expected=expected).printed)
    store = ResultStore(results_root)
    options = figure_options(report, store, relative_to, highlight)
    if strict and (faults := unfair(report.blocks)):
        raise UnfairError(faults)
    files: dict[Path, bytes] = {}
    for table in report.tables:
        for ending, render in WRITERS.items():
            files[Path("tables") / f"{table.name}.{ending}"] = render(table).encode()
    folder = Path(out) / "figures"
    drawn, digests = draw_figures(report.blocks, options, store, folder)
    made = [one for one in drawn if one.files]
    for one in made:
        for form, content in one.files.items():
            files[Path("figures") / f"{one.job.stem}.{form}"] = content
    if report.tables:
        shown = [
            PageFigure(one.job.figure.title, one.files["svg"], one.job.block)
            for one in made
            if one.job.figure.on_page
        ]
        files[Path(PAGE)] = render_page(report, report.results, shown, options).encode()
    paths = {Path(out) / name: content for name, content in files.items()}
    for path, content in paths.items():
        write_atomically(path, content, durable=False)
    if made:
        write_atomically(folder / DIGESTS, digests, durable=False)
    return replace(report, files=tuple(paths))


def figure_options(
    report: Report, store: ResultStore, relative_to: str = "", highlight: Sequence[str] = ()
) -> Options:
    """What the reader chose for the figures, checked, with the report's palette and predictions."""
    options = Options(relative_to, tuple(highlight), store.predictions)
    check_names(options, report.blocks)
    return replace(options, palette=report_palette(report.blocks, options.in_colour))
