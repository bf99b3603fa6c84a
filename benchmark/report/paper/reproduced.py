"""Tables 1 to 5 of the InfLoRA paper number by number: paper, official log, ours, difference."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias

from benchmark.metrics import METRICS
from benchmark.report.model import UNVERIFIED, Cell, Column, Table, TableRow
from benchmark.report.notes import Notes
from benchmark.report.paper.layouts import FORMS, LAYOUTS, LOGS, Layout
from benchmark.report.paper.published import Entry
from benchmark.report.paper.reported import Reported
from benchmark.report.paper.tables import (
    Numbers,
    Part,
    differences,
    notes_of,
    paper_tables,
    part_of,
    rows_of,
)
from benchmark.report.rows import Block, Row
from benchmark.report.tables import RUNS, row_cell

Form: TypeAlias = Literal["reproduced"] | Numbers

_METRICS = ("final", "average")
_FIRST = 3  # section of the first part: no row of the table steps back
_CAPTION = (
    "Accuracy in percent over all classes seen: final after the last task, average over the "
    "accuracies after each task, every task weighted equally. Paper: the published number; log: "
    "from the training logs of the official code; ours: mean ± sample standard deviation over n "
    "runs; difference: ours less the paper's, in percentage points. "
    f"{UNVERIFIED}: no available first-hand source states the published number; it was read by a "
    "machine. Blank: under paper, not in this table of the paper, or unknown; under log, no log of "
    "such a run is known."
)


def tables_in(form: Form, blocks: Iterable[Block], reported: Reported) -> list[Table]:
    """The paper's five tables in one of their forms, whatever is finished or published."""
    found = list(blocks)
    if form != "reproduced":
        return paper_tables(found, reported, form)
    return [_table(layout, found, reported) for layout in LAYOUTS]


def official_log(
    reported: Reported, part: Part, method: str, metric: str, order: str
) -> Entry | None:
    """What the official logs have for a number of the paper: of several the mean of most runs."""
    found = [
        entry
        for paper in LOGS
        for entry in reported.find(
            paper=paper,
            dataset=part.split.dataset,
            tasks=part.split.tasks,
            backbone=part.split.backbone,
            method=method,
            metric=metric,
        )
        if entry.usable and entry.setting.order in ("", order)
    ]
    return max(found, key=lambda entry: entry.n or 0, default=None)


def _table(layout: Layout, blocks: Sequence[Block], reported: Reported) -> Table:
    parts = [part_of(layout, split, blocks, reported) for split in layout.splits]
    columns = tuple(_columns())
    notes = Notes()
    rows = []
    listed = rows_of(layout, parts, reported, "both")
    variants = Counter(method for method, _, ours in listed if any(ours))
    for place, part in enumerate(parts):
        for method, label, ours in listed:
            row = ours[place]
            # Beside several settings of ours a published number stands only where a run does.
            if row is None and variants[method] > 1 and any(ours):
                continue
            logs = _logs(reported, part, method)
            said = notes_of(method, row, part, "both")
            if said is None and not any(logs.values()):
                continue
            form = [FORMS[method]] if method in FORMS else []
            further = _log_notes(logs, part, method, row)
            cells = tuple(_cell(column, method, row, part, logs) for column in columns)
            numbers = notes.numbers([*form, *(said or ()), *further])
            rows.append(
                TableRow(f"{label}, {part.split.title}", method, _FIRST + place, cells, numbers)
            )
    return Table(
        f"{layout.name}-reproduced",
        f"{layout.title}, reported and reproduced",
        " ".join([_CAPTION, *_left_out(parts)]),
        columns,
        tuple(rows),
        notes.texts,
    )


def _columns() -> Iterator[Column]:
    for drop, metric in zip((0, 4), _METRICS, strict=True):
        group = METRICS[metric].label
        yield Column(metric, "paper", "%", source="reported", group=group, drop=drop)
        yield Column(metric, "official log", "%", source="logged", group=group, drop=drop + 2)
        yield Column(metric, "ours", "%", group=group, drop=drop)
        yield Column(metric, "difference", "points", "value", "delta", group=group, drop=drop + 1)
    yield replace(RUNS, group="Runs", drop=3)


def _logs(reported: Reported, part: Part, method: str) -> dict[str, Entry | None]:
    """The logged entry of each metric, made in the class order of the paper's number."""
    found = {}
    for metric in _METRICS:
        entry = part.entries.get((method, metric))
        order = entry.setting.order if entry is not None and entry.setting.order else "natural"
        found[metric] = official_log(reported, part, method, metric, order)
    return found


def _cell(
    column: Column, method: str, row: Row | None, part: Part, logs: dict[str, Entry | None]
) -> Cell:
    if column.kind == "runs":
        return Cell() if row is None else row_cell(row, column)
    entry = part.entry(method, column.key)
    if column.source == "logged":
        entry = logs[column.key]
    differs = differences(entry.setting, row) if entry and row is not None and row.done else []
    published = entry.published("; ".join(differs)) if entry else None
    if column.theirs or row is None:
        return Cell(published=published)
    return replace(row_cell(row, column), published=published)


def _log_notes(
    logs: dict[str, Entry | None], part: Part, method: str, row: Row | None
) -> Iterator[str]:
    """What a reader has to know of the official log beside the paper's number and ours."""
    for metric, log in logs.items():
        if log is None:
            continue
        entry = part.entries.get((method, metric))
        paper = entry.setting if entry is not None else None
        split = log.setting.split
        if paper is not None and split and split != paper.split:
            named = "none" if paper.split in ("", "unknown") else f"another: {paper.split}"
            yield f"official log: fits split {split}; the paper's number names {named}"
        if log.n == 1:
            yield "official log: of a single run"
        if log.note:
            yield f"official log: {log.note}"
        if row is None or not row.done:
            continue
        known = differences(paper, row) if paper is not None else []
        for text in differences(log.setting, row):
            if text not in known:
                yield f"official log: {text}"


def _left_out(parts: Sequence[Part]) -> list[str]:
    titles = [block.title for part in parts for block in part.left_out]
    return [f"Further runs that are not in this table: {'; '.join(titles)}."] if titles else []
