"""What every row of a block costs, as a table of its own."""

from __future__ import annotations

import math
from dataclasses import replace

from benchmark.report.blocks import Block, Line
from benchmark.report.fairness.check import facts_that_differ
from benchmark.report.model import Column, Table
from benchmark.report.notes import Notes
from benchmark.report.tables import line_row, time_column
from benchmark.results.store import Result

_PARAMETERS, _KEPT = "Parameters", "Statistics kept between tasks"
_FLOPS, _USED = "FLOPs per image", "Memory and time"
_COLUMNS = (
    Column("trainable_parameters", "Trainable a task", "k", scale=1e3, decimals=1),
    Column("expanded_parameters", "Added", "k", scale=1e3, decimals=1, group=_PARAMETERS),
    Column("offline_parameters", "Offline copy", "k", scale=1e3, decimals=1, drop=7),
    Column("stored_parameters", "Stored", "M", scale=1e6, drop=3),
    Column("stored_statistics", "All", "k", scale=1e3, decimals=1, group=_KEPT),
    Column("class_means", "Class means", "k", scale=1e3, decimals=1, group=_KEPT, drop=8),
    Column("class_covariances", "Covariances", "k", scale=1e3, decimals=1, group=_KEPT, drop=6),
    Column("subspace_bases", "Bases", "k", scale=1e3, decimals=1, group=_KEPT, drop=6),
    Column("other_statistics", "Other", "k", scale=1e3, decimals=1, group=_KEPT, drop=8),
    Column("train_flops_per_image", "Training", scale=1e9, group=_FLOPS),
    Column("predict_flops_per_image", "Prediction", scale=1e9, group=_FLOPS),
    Column("query_flops_per_image", "Of these query", scale=1e9, group=_FLOPS, drop=5),
    Column("peak_memory_mb", "Peak memory", "GB", scale=1024, group=_USED, drop=2),
)
# Left out where no row has any of it.
_OPTIONAL = {
    "offline_parameters",
    "class_means",
    "class_covariances",
    "subspace_bases",
    "other_statistics",
    "query_flops_per_image",
}
_CAPTION = (
    "Means over the finished runs. "
    "Parameters: trained in a task, of the task with the most; added beside backbone and "
    "classifier, counted as the papers do, with the offline copy that LAE and its forms keep; "
    "stored at the end, backbone, classifier and what was added. "
    "Statistics: numbers kept between tasks that are no parameters, all of them and by kind "
    "(covariances as Cholesky factors, bases of gradient subspaces). k: thousands, M: millions. "
    "FLOPs: operations for one image, in millions or in 10^9 (G), a multiply-add counts two; "
    "training is one step, "
    "forward and backward, what a step does once shared out among its images; both contain the "
    "query pass through the frozen backbone, as in use, although the benchmark keeps the features "
    "of test images. Not in them: passes that gather statistics before and after a task, alignment "
    "of the classifier, the optimiser. "
    "Peak memory: of the GPU, or of the whole process on a CPU. Training holds all tasks with what "
    "a method does before and after each, evaluation all stages."
)


def cost_table(block: Block) -> Table:
    """Everything that the rows of a block cost, in the order of its other table."""
    times = (
        time_column(block.lines, "train_seconds", "Training"),
        time_column(block.lines, "eval_seconds", "Evaluation"),
    )
    found = [column for column in _COLUMNS if _is_needed(column, block.lines)]
    found += [replace(column, group=_USED) for column in times]
    giga = _most("train_flops_per_image", block.lines) >= 1e9
    columns = tuple(_in_its_unit(column, giga) for column in found)
    machines = facts_that_differ(
        [[run.result for run in line.done] for line in block.lines], _machine
    )
    notes = Notes()
    rows = tuple(
        line_row(line, columns, notes, (f"{text}: other memory and time" for text in other))
        for line, other in zip(block.lines, machines, strict=True)
    )
    title, name = f"{block.title}: costs", f"{block.name}-costs"
    return Table(name, title, _CAPTION, columns, rows, notes.texts)


def _in_its_unit(column: Column, giga: bool) -> Column:
    """The column as a mean; operations in 10^9, or in millions for small networks."""
    column = replace(column, kind="value", group=column.group or _PARAMETERS)
    if column.group != _FLOPS:
        return column
    return replace(column, unit="G") if giga else replace(column, unit="M", scale=1e6, decimals=1)


def _is_needed(column: Column, lines: tuple[Line, ...]) -> bool:
    if column.key not in _OPTIONAL:
        return True
    return _most(column.key, lines) > 0


def _most(name: str, lines: tuple[Line, ...]) -> float:
    """The largest of a number over all finished runs; 0 where none is known."""
    values = [value for line in lines for value in line.values(name)]
    return max((value for value in values if not math.isnan(value)), default=0.0)


def _machine(run: Result) -> dict[str, str]:
    """What memory and time depend on and accuracy does not."""
    environment = run["environment"]
    return {
        "device": environment["device"],
        "hardware": environment["hardware"],
        "threads": str(environment["threads"]),
    }
