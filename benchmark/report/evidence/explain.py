"""One number of the report explained: its runs, how they were made, and how to make them again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from benchmark.report.evidence.lookup import position_of
from benchmark.report.evidence.redo import Checkout, conditions, redo_command
from benchmark.report.formatting import pairs, seed_text
from benchmark.report.model import UNDEFINED, Cell, Column, Published, Table, TableRow, cell_text
from benchmark.report.rows import NUMBERS
from benchmark.report.statistics.rank_spread import MEANINGS
from benchmark.results.schema import TunedBlock
from benchmark.results.store import Result
from benchmark.words import plural


@dataclass(frozen=True)
class RunFact:
    """One run behind a number.

    value: its share of the number in the metric's own unit, None where it has none; command: the
    whole command line that redoes it; the rest as in `results.schema`. A run that is not done may
    lack any of it: empty, 0 or None then, and `error` and `traceback` say why. tuned: what chose
    its values; network: the backbone that was loaded, in words.
    """

    key: str
    seed: int
    order: str
    value: float | None
    status: str
    command: str
    error: str
    traceback: str = ""
    revision: str | None = None
    dirty: bool = False
    version: str = ""
    method_source_hash: str = ""
    data_manifest_hash: str = ""
    weight_hash: str = ""
    device: str = ""
    hardware: str = ""
    threads: int = 0
    tuned: str = ""
    network: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    started: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Explanation:
    """What stands behind one cell.

    table, row, column: titles; text: what the cell shows; meaning: the formula in words; runs: the
    finished ones in the order of the values, then the others; settings, recipe: what all
    of these share; published: what others reported; notes: what a reader or a redoer has to know;
    spec: the rest of the specification the runs share (data set, backbone, tasks and so on).
    """

    table: str
    row: str
    column: str
    text: str
    meaning: str
    runs: tuple[RunFact, ...]
    settings: Mapping[str, Any]
    recipe: Mapping[str, Any]
    published: Published | None
    notes: tuple[str, ...]
    spec: Mapping[str, Any] = field(default_factory=dict)


def explain_cell(
    table: Table,
    row: TableRow,
    column: Column,
    results: Mapping[str, Result],
    here: Checkout | None = None,
) -> Explanation:
    """Everything behind the cell in `row` and `column` of `table`.

    results: by run key, those behind the table; one that is missing is said to be. here: the code
    at hand, where notes are to say what has changed since.
    """
    cell = row.cells[position_of(table, column)]
    shown = () if column.theirs else (*cell.runs, *cell.broken)
    there = [results[key] for key in shown if key in results]
    # A rank is not the mean of numbers of its runs.
    own = column.kind != "runs" and column.key not in MEANINGS
    values = dict(zip(cell.runs, cell.values, strict=False)) if own else {}
    specs = [result["spec"] for result in there]
    notes = [
        *(table.notes[number - 1] for number in row.notes),
        *counts(cell, column),
        *(f"run {key} is not among the results" for key in shown if key not in results),
        *_conditions(there, here),
    ]
    return Explanation(
        table=table.title,
        row=row.label,
        column=f"{column.group}: {column.heading}" if column.group else column.heading,
        text=cell_text(cell, column),
        meaning=meaning(column),
        runs=tuple(_fact(result, values.get(result["key"])) for result in there),
        settings=_shared(spec["settings"] for spec in specs),
        recipe=_shared(spec["recipe"] for spec in specs),
        published=cell.published if column.source != "ours" else None,
        notes=tuple(dict.fromkeys(notes)),
        spec=_shared(
            {k: v for k, v in spec.items() if k not in ("settings", "recipe")} for spec in specs
        ),
    )


def _fact(result: Result, value: float | None) -> RunFact:
    spec, outcome = result["spec"], result["outcome"]
    ending: Mapping[str, Any] = outcome
    environment: Mapping[str, Any] = result["environment"]
    names = {field.name for field in fields(RunFact)} - {"tuned", "network"}
    return RunFact(
        key=result["key"],
        seed=spec["seed"],
        order=spec["order"],
        value=value,
        status=outcome["status"],
        command=redo_command(result),
        error=" ".join((outcome["error"] or "").split()),
        traceback=ending.get("traceback", ""),
        tuned=_tuned(environment.get("tuned")),
        network=pairs(environment.get("network", {})),
        **{name: fact for name, fact in environment.items() if name in names},
    )


def _tuned(tuned: TunedBlock | None) -> str:
    """What chose the values of a run; empty where nothing did, or it is not known."""
    if not tuned:
        return ""
    added = f", {tuned['widened']} of them beyond ends" if tuned["widened"] else ""
    trials = plural(tuned["trials"], "trial")
    return f"on {tuned['dataset']}, record {tuned['record']}: {trials}{added}"


def meaning(column: Column) -> str:
    """What a column's numbers are, in words."""
    if column.kind == "runs":
        return "finished runs behind the row, and how many there should be"
    if column.key in MEANINGS:
        return MEANINGS[column.key]
    number = NUMBERS.get(column.key)
    title = ": ".join(filter(None, (column.group, column.title)))
    words = f"{number.title}: {number.explanation}" if number else title
    if column.source == "reported":
        return f"{words}; as published by others, not measured here"
    if column.source == "logged":
        return f"{words}; from the logs of the official code, not measured here"
    over = "mean and sample standard deviation" if column.kind == "spread" else "mean"
    if column.source == "delta":
        return f"{words}; mean over our runs less the published number"
    return f"{words}; {over} over the runs"


def counts(cell: Cell, column: Column) -> Iterator[str]:
    """What there is to say about how many runs are behind a cell."""
    if column.source != "ours" and cell.published is None:
        logged = column.source == "logged"
        yield "no official log of this is known" if logged else "nothing was published for this"
    if column.theirs:
        return
    if cell.total > len(cell.runs):
        open_runs = cell.total - len(cell.runs) - len(cell.broken)
        broken = f", {len(cell.broken)} failed or interrupted" if cell.broken else ""
        waiting = f", {open_runs} missing or not finished" if open_runs > 0 else ""
        yield f"{len(cell.runs)} of {cell.total} runs are finished{broken}{waiting}"
    elif not cell.runs:
        yield "no run of this method belongs here"
    if cell.runs and column.source == "ours" and cell_text(cell, column) == UNDEFINED:
        yield "not defined or not recorded for these runs"


def _conditions(results: Sequence[Result], here: Checkout | None) -> Iterator[str]:
    """Conditions of redoing, with the seeds where they do not hold for all runs."""
    found: dict[str, list[int]] = {}
    for result in results:
        for text in conditions(result, here):
            found.setdefault(text, []).append(result["spec"]["seed"])
    for text, seeds in found.items():
        some = len(seeds) < len(results)
        yield f"{seed_text(seeds)}: {text}" if some else text


def _shared(blocks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What all blocks say alike."""
    first, *others = list(blocks) or [{}]
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }
