"""`clbench explain`: what stands behind one number of the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.cli.console import say, say_table, warn
from benchmark.cli.options import argument, command, option, require_results, results_option
from benchmark.report.formatting import block_text, pairs, seed_text, task_text
from benchmark.words import plural

if TYPE_CHECKING:
    from benchmark.report.evidence.explain import Explanation, RunFact
    from benchmark.report.evidence.redo import Checkout
    from benchmark.report.model import Published

_RUN_COLUMNS = ("run", "seed", "order", "value", "status", "started", "seconds")


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """Options of `clbench explain`."""

    row: str = argument(str, "ROW", "the row's name in a table, or its method")
    column: str = argument(
        str, "COLUMN", "title or key of a column; 'GROUP: TITLE' where it has one"
    )
    table: str = option(
        str, "NAME", "name or title, where several tables have the cell", default=""
    )
    results: Path = results_option()


@command(
    "explain",
    ExplainOptions,
    "show the runs, settings, code, data and weights behind a number, and how to reproduce it",
    "clbench explain inflora Final\n"
    "  clbench explain --table overview-icons inflora '10 tasks of 10 classes: Final (%)'",
)
def explain(options: ExplainOptions) -> int:
    """Print the explanation; 2 when no single cell is meant."""
    from benchmark.report.build import collect_report
    from benchmark.report.evidence.explain import explain_cell
    from benchmark.report.evidence.lookup import AmbiguousCellError, find_cell

    require_results(options.results)
    report = collect_report(options.results)
    for problem in report.problems:
        warn(problem)
    if not report.tables:
        warn(f"clbench: error: {report.message}")
        return 2
    try:
        table, row, column = find_cell(report.tables, options.row, options.column, options.table)
    except AmbiguousCellError as error:
        warn(f"clbench: error: {error.asked} is in {len(error.candidates)} places; choose one:")
        for candidate in error.candidates:
            warn(f"  clbench explain --results {options.results} {candidate}")
        return 2
    found = explain_cell(table, row, column, report.results, _here(row.method))
    _show(found)
    return 0


def _here(method: str) -> Checkout:
    """The code of this installation, for what has changed since the runs."""
    from benchmark.engine.provenance import method_hash, revision, source_hashes
    from benchmark.registry import METHODS, PluginError, UnknownNameError
    from benchmark.report.evidence.redo import Checkout

    try:
        source = METHODS.source(method)
        return Checkout(*revision(), {method: method_hash(source)}, {method: source_hashes(source)})
    except (UnknownNameError, PluginError, SyntaxError):  # said where the command is explained
        return Checkout(*revision())


def _show(found: Explanation) -> None:
    say(f"{found.row}, {found.column}: {found.text or 'blank'}")
    say(f"table    {found.table}")
    say(f"meaning  {found.meaning}")
    if found.published is not None:
        for line in _published(found.published):
            say(line)
    if found.runs:
        say()
        say_table(map(_run, found.runs), _RUN_COLUMNS)
        say()
        say(f"stream    {_stream(found.spec)}")
        if "augmentation" in found.spec:  # else its runs differ
            say(f"augment   {block_text(found.spec['augmentation'])}")
        if "evaluation" in found.spec:
            say(f"evaluate  {block_text(found.spec['evaluation'])}")
        say(f"settings  {pairs(found.settings) or 'none'}")
        say(f"training  {pairs(found.recipe)}")
        for line in _origin(found.runs):
            say(line)
    for run in found.runs:
        _say_below(f"how run {run.key} failed", run.traceback.splitlines())
    _say_below("notes", found.notes)
    _say_below(
        "to reproduce (one command per run; bit for bit with the same code, data, weights,\n"
        "packages and processor)",
        [run.command for run in found.runs],
    )


def _say_below(title: str, lines: Sequence[str]) -> None:
    """A paragraph with a title; nothing where it has no lines."""
    if lines:
        say()
        say(title)
        for line in lines:
            say(f"  {line}")


def _published(published: Published) -> Iterator[str]:
    spread = "" if published.std is None else f" ± {published.std:g}"
    count = "number of runs not stated" if published.n is None else f"n = {published.n}"
    yield f"published  {published.mean:g}{spread} ({count})"
    yield f"source     {published.source}"
    verified = "stated by a first-hand source" if published.verified else "no first-hand source"
    yield f"confidence {published.confidence}; {verified}"
    if published.differs:
        yield f"differs    {published.differs}"


def _run(run: RunFact) -> tuple[str, ...]:
    """A run's cells under `_RUN_COLUMNS`."""
    return (
        run.key,
        str(run.seed),
        run.order,
        "-" if run.value is None else repr(run.value),
        run.status + (f": {run.error}" if run.error else ""),
        run.started or "-",
        f"{run.seconds:g}" if run.seconds else "-",
    )


def _origin(runs: tuple[RunFact, ...]) -> Iterator[str]:
    """Code, data, weights and machine, each once with the seeds it is true of."""
    words = {
        "code": [
            f"revision {run.revision or 'none: not a git checkout'}"
            f"{' with uncommitted changes' if run.dirty else ''}, clbench {run.version or '?'}"
            for run in runs
        ],
        "method": [run.method_source_hash for run in runs],
        "data": [run.data_manifest_hash for run in runs],
        "weights": [run.weight_hash for run in runs],
        "machine": [
            f"{run.device}, {run.hardware}, {plural(run.threads, 'thread')}" if run.device else ""
            for run in runs
        ],
        "packages": [pairs(run.packages) for run in runs],
    }
    if any(run.tuned for run in runs):
        words["tuned"] = [run.tuned for run in runs]
    if any(run.network for run in runs):
        words["network"] = [run.network for run in runs]
    for name, texts in words.items():
        distinct = list(dict.fromkeys(texts))
        for text in distinct:
            seeds = [run.seed for run, own in zip(runs, texts, strict=True) if own == text]
            some = f"  ({seed_text(seeds)})" if len(distinct) > 1 else ""
            yield f"{name:<9} {text or 'not recorded'}{some}"


def _stream(spec: Mapping[str, Any]) -> str:
    """The shared specification, the data set first, without what is empty."""
    first = ("dataset", "split", "scenario", "tasks", "order", "backbone")
    names = dict.fromkeys(name for name in (*first, *spec) if spec.get(name, "") != "")
    for name in ("augmentation", "evaluation"):  # have lines of their own
        names.pop(name, None)
    return ", ".join(
        task_text(spec[name]) if name == "tasks" else pairs({name: spec[name]}) for name in names
    )
