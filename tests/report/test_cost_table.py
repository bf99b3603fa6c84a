"""The table of costs: every number from the stored outcome, units, and machines that differ."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic_results import make_broken, make_result, make_spec

from benchmark.report.costs import cost_table
from benchmark.report.model import Table, cell_text
from benchmark.report.notes import annotated
from benchmark.report.rows import make_blocks

STATISTICS = {
    "slca": {"class means": 300, "covariances": 2000, "other": 40},
    "inflora": {"bases": 700},
    "lae": {},
    "ncm": {"class means": 300},
    "mine": {"Gram matrices": 123},
}


def result_of(method: str, seed: int = 0) -> Any:
    result: Any = make_result(make_spec(method, seed))[0]
    statistics = STATISTICS[method]
    added = {"lae": {"other": 500, "offline copy": 500}, "inflora": {"other": 800}}.get(method, {})
    result["outcome"] |= {
        "trainable_parameters": [0, 0] if method == "ncm" else [1500, 2500 + 200 * seed],
        "expanded_parameters": sum(added.values()),
        "stored_statistics": sum(statistics.values()),
        "stored": {
            "parameters": {"backbone": 5_000_000, "heads": 1000, **added},
            "statistics": statistics,
        },
        "flops_per_image": {"train": 3e9, "predict": 2e9, "query": 1e9 if method == "ncm" else 0},
        "peak_memory_mb": 512.0 * (1 + seed),
    }
    return result


def table_of(*results: Any) -> Table:
    [block] = annotated(make_blocks(results), ())
    return cost_table(block)


def shown(table: Table, label: str) -> dict[str, str]:
    row = table.row(label)
    return {
        f"{column.group}: {column.title}": cell_text(cell, column)
        for column, cell in zip(table.columns, row.cells, strict=True)
    }


@pytest.fixture
def table() -> Table:
    return table_of(*(result_of(method, seed) for method in STATISTICS for seed in (0, 1)))


def test_every_kind_has_its_column(table: Table) -> None:
    units = {column.key: column.unit for column in table.columns}
    assert (units["stored_parameters"], units["peak_memory_mb"]) == ("M", "GB")
    assert (units["train_seconds"], units["stored_statistics"]) == ("s", "k")
    assert shown(table, "slca") == {
        "Parameters: Trainable per task": "2.6",  # of the task with the most, mean of two runs
        "Parameters: Expanded": "0.0",
        "Parameters: Offline copy": "0.0",
        "Parameters: Stored": "5.00",
        "Statistics kept between tasks: All": "2.3",
        "Statistics kept between tasks: Class means": "0.3",
        "Statistics kept between tasks: Covariances": "2.0",
        "Statistics kept between tasks: Bases": "0.0",
        "Statistics kept between tasks: Gram matrices": "0.0",
        "Statistics kept between tasks: Other": "0.0",
        "FLOPs per image: Training": "3.00",
        "FLOPs per image: Prediction": "2.00",
        "FLOPs per image: of which frozen query": "0.00",
        "Memory and time: Peak memory": "0.75",
        "Memory and time: Training": "52.5",
        "Memory and time: Evaluation": "5.0",
    }
    assert shown(table, "inflora")["Statistics kept between tasks: Bases"] == "0.7"
    assert shown(table, "lae")["Parameters: Offline copy"] == "0.5"
    assert shown(table, "lae")["Parameters: Expanded"] == "1.0"
    assert shown(table, "mine")["Statistics kept between tasks: Gram matrices"] == "0.1"
    assert shown(table, "ncm")["FLOPs per image: of which frozen query"] == "1.00"
    assert shown(table, "ncm")["Parameters: Trainable per task"] == "0.0"


def test_operations_of_small_networks_are_in_millions() -> None:
    small = result_of("mine")
    small["outcome"]["flops_per_image"] = {"train": 83_272_192.0, "predict": 4e7, "query": 0.0}
    table = table_of(small)
    column = table.columns[table.column("train_flops_per_image")]
    assert (column.unit, shown(table, "mine")["FLOPs per image: Training"]) == ("M", "83.3")
    large = table_of(result_of("mine"))
    assert large.columns[large.column("train_flops_per_image")].unit == "G"


def test_kinds_that_no_row_has_are_left_out() -> None:
    keys = {column.key for column in table_of(result_of("mine")).columns}
    assert "Gram_matrices" in keys
    assert not {"class_means", "covariances", "bases", "offline_copy", "other_statistics"} & keys
    assert {"stored_statistics", "train_flops_per_image", "expanded_parameters"} <= keys


def test_broken_and_missing_runs_give_a_table() -> None:
    table = table_of(result_of("slca"), make_broken(make_spec("mine")))
    assert shown(table, "mine")["Memory and time: Training"] == "failed"
    assert "seed 0 failed: out of memory" in table.notes


def test_rows_of_another_machine_say_so_here_alone() -> None:
    results = [result_of(method) for method in STATISTICS]
    results[0]["environment"] |= {"hardware": "a faster processor", "threads": 8}
    [block] = annotated(make_blocks(results), ())
    assert [line.notes for line in block.rows if line.notes] == []
    table = cost_table(block)
    assert [table.notes[n - 1] for n in table.row("slca").notes] == [
        "memory and time: hardware a faster processor; the other rows have a processor",
        "memory and time: threads 8; the other rows have 1",
    ]
