"""Blocks of results as tables: one in full per block, one overview per data set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from benchmark.config.reading import read_mapping
from benchmark.config.suite import suite_files
from benchmark.report.fairness.tuned import tuning_line
from benchmark.report.formatting import file_name, pairs
from benchmark.report.model import Cell, Column, Table, TableRow
from benchmark.report.notes import Notes, joined_notes
from benchmark.report.rows import NUMBERS, Block, Row, joined_rows, variant_text
from benchmark.report.statistics.best import with_best
from benchmark.words import time_unit

RUNS = Column("runs", "n", kind="runs", drop=1)

_ORDER = (
    "The lower bound and the references come first, then the methods by falling final accuracy, "
    "the upper bound last."
)
_ACCURACY = (
    "Accuracy in percent over all classes seen: final after the last task, average over the "
    "accuracies after each task, every task weighted equally; mean ± sample standard deviation "
    "over n runs."
)
_COSTS = (
    "Forgetting in percentage points. Expanded: parameters added to backbone and classifier, in "
    "thousands."
)


def column(name: str, **changes: Any) -> Column:
    """The column of one number of `NUMBERS`; changes: other fields of the column."""
    number = NUMBERS[name]
    shown = Column(name, number.label, number.unit, scale=number.scale, decimals=number.decimals)
    return replace(shown, **changes)


def block_table(block: Block) -> Table:
    """All columns of one block."""
    columns = (
        column("final"),
        column("average"),
        column("forgetting"),
        column("expanded_parameters", kind="value", drop=2),
        column("expanded_share", kind="value", drop=4),
        RUNS,
        time_column(block.rows, "train_seconds", drop=3),
    )
    caption = f"{_ACCURACY} {_COSTS} {_ORDER}"
    notes = Notes([*_tuning([block]), *_networks([block])])
    rows = tuple(table_row(row, columns, notes) for row in block.rows)
    table = Table(block.name, block.title, caption, columns, rows, notes.texts, _reading(block))
    return with_best(table, [block])


def _reading(block: Block) -> tuple[str, ...]:
    """What the suite of all the block's runs says on how to read its table."""
    results = [run.result for row in block.rows for run in row.done]
    suites = {result["environment"]["suite"] for result in results}
    file = suite_files().get(suites.pop() or "") if len(suites) == 1 else None
    if file is None:
        return ()
    suite = read_mapping(file)
    meant = suite.get("dataset", ())
    meant = [meant] if isinstance(meant, str) else meant
    return tuple(suite.get("reading", ())) if block.key.dataset in meant else ()


def table_row(
    row: Row, columns: Iterable[Column], notes: Notes, further: Iterable[str] = ()
) -> TableRow:
    """A row of a block in a table; its notes and the further ones go below the table."""
    cells = tuple(row_cell(row, column) for column in columns)
    numbers = notes.numbers((*row.notes, *further))
    return TableRow(row.label, row.method, row.section, cells, numbers)


def overviews(blocks: Iterable[Block]) -> list[Table]:
    """Final and average accuracy of a data set's blocks side by side, where it has several."""
    by_dataset = groupby(blocks, key=lambda block: block.key.dataset)
    found = [(dataset, list(group)) for dataset, group in by_dataset]
    return [_overview(dataset, group) for dataset, group in found if len(group) > 1]


def _overview(dataset: str, blocks: Sequence[Block]) -> Table:
    titles = _group_titles(blocks)
    shown = (column("final"), column("average", drop=3), RUNS)
    columns = tuple(replace(column, group=title) for title in titles for column in shown)
    notes = Notes([*_tuning(blocks), *_networks(blocks)])
    rows = []
    for label, parts in joined_rows(blocks):
        some = next(row for row in parts if row is not None)
        cells = [
            Cell() if row is None else row_cell(row, column) for row in parts for column in shown
        ]
        numbers = notes.numbers(_joined_notes(titles, parts))
        rows.append(TableRow(label, some.method, some.section, tuple(cells), numbers))
    table = Table(
        file_name(f"overview-{dataset}"),
        f"{dataset}: overview",
        f"{_ACCURACY} {_ORDER} Final accuracy is averaged over the columns for this.",
        columns,
        tuple(rows),
        notes.texts,
    )
    return with_best(table, blocks)


def _tuning(blocks: Iterable[Block]) -> list[str]:
    """A note on where the settings of the rows were tuned; none where that is not known."""
    rows = [[run.result for run in row.done] for block in blocks for row in block.rows]
    return [line for line in [tuning_line(rows)] if line]


def _networks(blocks: Iterable[Block]) -> list[str]:
    """A note on each network that was loaded for the blocks, where their results know it."""
    found = {
        (run.result["spec"]["backbone"], pairs(network))
        for block in blocks
        for row in block.rows
        for run in row.done
        if (network := run.result["environment"].get("network"))
    }
    return [f"Backbone {name}: {words}." for name, words in sorted(found)]


def _joined_notes(titles: Sequence[str], rows: Sequence[Row | None]) -> list[str]:
    """The notes of a row of several blocks; what is not true of all of them says where it is."""
    found = joined_notes(titles, [None if row is None else row.notes for row in rows])
    if len({variant_text(row.spec) for row in rows if row is not None}) > 1:
        found.append("settings or training differ between the columns")
    runs = [run.result for row in rows if row is not None for run in row.done]
    if len({run["environment"]["method_source_hash"] for run in runs}) > 1:
        found.append("the method's code differs between the columns")
    weights = {(run["spec"]["backbone"], run["environment"]["weight_hash"]) for run in runs}
    if len(weights) > len({backbone for backbone, _ in weights}):
        found.append("backbone weights of the same name differ between the columns")
    return found


def _group_titles(blocks: Sequence[Block]) -> list[str]:
    """Of each block's description the parts in which the blocks differ."""
    parts = [block.key.parts() for block in blocks]
    differing = [i for i in range(len(parts[0])) if len({part[i] for part in parts}) > 1]
    return [", ".join(part[i] or "test images" for i in differing) for part in parts]


def row_cell(row: Row, column: Column) -> Cell:
    """One number of every finished run of a row, or how its runs ended without one."""
    name = "final" if column.kind == "runs" else column.key
    statuses = [result["outcome"]["status"] for result in row.broken]
    return Cell(
        values=row.values(name),
        runs=tuple(run.result["key"] for run in row.done),
        total=row.total,
        failure="" if row.done or not statuses else min(statuses),  # failed before interrupted
        broken=tuple(result["key"] for result in row.broken),
    )


def time_column(rows: Sequence[Row], name: str, **changes: Any) -> Column:
    """Seconds of a run in the unit that suits the longest."""
    longest = max((t for row in rows for t in row.values(name)), default=0.0)
    unit, scale = time_unit(longest)
    return column(name, kind="value", unit=unit, scale=scale, **changes)
