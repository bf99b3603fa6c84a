"""Blocks of results as tables: one in full per block, one overview per data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from benchmark.report.blocks import (
    LOWER_BOUNDS,
    UPPER_BOUNDS,
    Block,
    Line,
    variant_labels,
    variant_text,
)
from benchmark.report.formatting import file_name, listing
from benchmark.report.model import Cell, Column, Row, Table
from benchmark.report.notes import Notes, joined_remarks
from benchmark.report.statistics.marks import with_best

_FINAL = Column("final", "Final", "%")
_AVERAGE = Column("average", "Average", "%")
_RUNS = Column("runs", "n", kind="runs", drop=1)
_COLUMNS = (
    _FINAL,
    _AVERAGE,
    Column("forgetting", "Forgetting", "%"),
    Column("expanded_parameters", "Expanded", "k", "value", scale=1e3, decimals=1, drop=2),
    Column("expanded_share", "Expanded", "% of backbone", "value", drop=4),
    _RUNS,
)
_TIME_UNITS = (("s", 1.0), ("min", 60.0), ("h", 3600.0))

_ORDER = (
    f"Reference rows ({listing(LOWER_BOUNDS)}) come first, then the other methods by falling final "
    f"accuracy, the upper bound ({listing(UPPER_BOUNDS)}) last."
)
_ACCURACY = (
    "Accuracy in percent over all classes seen: final after the last task, average over the "
    "accuracies after each task, tasks weighted alike; mean ± sample standard deviation "
    "over n runs."
)
_COSTS = (
    "Forgetting in percentage points. Expanded: parameters added to backbone and classifier, in "
    "thousands."
)


def block_table(block: Block) -> Table:
    """All columns of one block."""
    columns = (*_COLUMNS, time_column(block.lines, "train_seconds", "Training", drop=3))
    caption = f"{_ACCURACY} {_COSTS} {_ORDER}"
    notes = Notes()
    rows = tuple(line_row(line, columns, notes) for line in block.lines)
    table = Table(block.name, block.title, caption, columns, rows, notes.texts)
    return with_best(table, [block])


def line_row(
    line: Line, columns: Iterable[Column], notes: Notes, further: Iterable[str] = ()
) -> Row:
    """A line as a row of its block's table; its remarks and the further ones become notes."""
    cells = tuple(line_cell(line, column) for column in columns)
    numbers = notes.numbers((*line.remarks, *further))
    return Row(line.label, line.method, line.section, cells, numbers)


def overviews(blocks: Iterable[Block]) -> list[Table]:
    """Final and average accuracy of a data set's blocks side by side, where it has several."""
    by_dataset = groupby(blocks, key=lambda block: block.key.dataset)
    found = [(dataset, list(group)) for dataset, group in by_dataset]
    return [_overview(dataset, group) for dataset, group in found if len(group) > 1]


def _overview(dataset: str, blocks: Sequence[Block]) -> Table:
    titles = _group_titles(blocks)
    shown = (_FINAL, replace(_AVERAGE, drop=3), _RUNS)
    columns = tuple(replace(column, group=title) for title in titles for column in shown)
    notes = Notes()
    rows = []
    for label, lines in joined_lines(blocks):
        some = next(line for line in lines if line is not None)
        cells = [
            Cell() if line is None else line_cell(line, column)
            for line in lines
            for column in shown
        ]
        remarks = _joined_remarks(titles, lines)
        row = Row(label, some.method, some.section, tuple(cells), notes.numbers(remarks))
        rows.append(row)
    table = Table(
        file_name(f"overview-{dataset}"),
        f"{dataset}: overview",
        f"{_ACCURACY} {_ORDER} Final accuracy is averaged over the columns for this.",
        columns,
        tuple(rows),
        notes.texts,
    )
    return with_best(table, blocks)


def joined_lines(blocks: Sequence[Block]) -> list[tuple[str, list[Line | None]]]:
    """Rows across blocks: label and the line of each block, in the order of the table.

    A method with one line in each block makes one row, whatever its settings there; else every set
    of settings makes a row.
    """
    several = {
        line.method
        for block in blocks
        for line in block.lines
        if sum(other.method == line.method for other in block.lines) > 1
    }
    found: dict[str, list[Line | None]] = {}
    specs: dict[str, Mapping[str, Any]] = {}
    for i, block in enumerate(blocks):
        for line in block.lines:
            identity = variant_text(line.spec) if line.method in several else line.method
            found.setdefault(identity, [None] * len(blocks))[i] = line
            specs[identity] = line.spec
    labels = variant_labels(specs)

    def rank(identity: str) -> tuple[int, int, float, str]:
        lines = [line for line in found[identity] if line is not None]
        finals = [line.summary("final").mean for line in lines if line.done]
        mean = sum(finals) / len(finals) if finals else float("-inf")
        return (*lines[0].place, -mean, labels[identity])

    return [(labels[identity], found[identity]) for identity in sorted(found, key=rank)]


def _joined_remarks(titles: Sequence[str], lines: Sequence[Line | None]) -> list[str]:
    """The remarks of a row's lines; what is not true of all of them says where it is."""
    found = joined_remarks(titles, [None if line is None else line.remarks for line in lines])
    if len({variant_text(line.spec) for line in lines if line is not None}) > 1:
        found.append("settings or training differ between the columns")
    runs = [run.result for line in lines if line is not None for run in line.done]
    if len({run["environment"]["method_source_hash"] for run in runs}) > 1:
        found.append("the method's code differs between the columns")
    weights = {(run["spec"]["backbone"], run["environment"]["weight_hash"]) for run in runs}
    if len(weights) > len({backbone for backbone, _ in weights}):
        found.append("backbone weights of one name differ between the columns")
    return found


def _group_titles(blocks: Sequence[Block]) -> list[str]:
    """Of each block's description the parts in which the blocks differ."""
    parts = [block.key.parts() for block in blocks]
    differing = [i for i in range(len(parts[0])) if len({part[i] for part in parts}) > 1]
    return [", ".join(part[i] or "test images" for i in differing) for part in parts]


def line_cell(line: Line, column: Column) -> Cell:
    """One number of every finished run of a line, or how it broke off."""
    name = "final" if column.kind == "runs" else column.key
    statuses = [result["outcome"]["status"] for result in line.broken]
    return Cell(
        values=line.values(name),
        runs=tuple(run.result["key"] for run in line.done),
        total=line.total,
        failure="" if line.done or not statuses else max(statuses),  # failed before cancelled
        broken=tuple(result["key"] for result in line.broken),
    )


def time_column(lines: Sequence[Line], key: str, title: str, drop: int = 0) -> Column:
    """Seconds of a run in the unit that suits the longest."""
    longest = max((t for line in lines for t in line.values(key)), default=0.0)
    unit, scale = next(
        ((u, s) for u, s in reversed(_TIME_UNITS) if longest >= 2 * s), _TIME_UNITS[0]
    )
    return Column(key, title, unit, "value", scale=scale, decimals=1, drop=drop)
