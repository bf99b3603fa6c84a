"""The committed runs of the embedded benchmark: complete, comparable, and what is said of them."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import statistics
from collections.abc import Mapping
from pathlib import Path

import pytest
from html_page import Page

from benchmark.cli import main
from benchmark.config import Overrides, expand, load_suite
from benchmark.report.build import PAGE, WRITERS, Report, collect_report
from benchmark.report.evidence.explain import explain_cell
from benchmark.report.evidence.lookup import column_names, find_cell, position_of, row_names
from benchmark.report.fairness.check import unfair
from benchmark.report.formats.csv_table import headings
from benchmark.report.model import Column, Table
from benchmark.results.store import Result, ResultStore, spec_dict

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results" / "embedded"
TABLES = RESULTS / "report" / "tables"
BACKBONES = ("tiny_sup", "tiny_dino", "tiny_ibot")
OVERVIEW = "overview-icons"
METRICS = ("final", "average", "forgetting")
# The committed runs were made before icons had milder crops of its own.
CROPS = ("augmentation.scale=[0.5, 1]", "augmentation.ratio=[0.75, 1.3333333333333333]")
Setting = tuple[str, int, str]  # backbone, number of tasks, method
Spread = tuple[float, float]  # mean and sample standard deviation


@pytest.fixture(scope="module")
def results() -> list[Result]:
    return ResultStore(RESULTS).results()


@pytest.fixture(scope="module")
def report() -> Report:
    return collect_report(RESULTS)


@pytest.fixture(scope="module")
def expected(results: list[Result]) -> Mapping[tuple[Setting, str], Spread]:
    """Every metric of every row, from the matrices of accuracies alone."""
    values: dict[tuple[Setting, str], list[float]] = {}
    for result in results:
        spec = result["spec"]
        setting = (spec["backbone"], len(spec["tasks"]), spec["method"])
        for metric, value in recomputed(result).items():
            values.setdefault((setting, metric), []).append(value)
    assert {len(three) for three in values.values()} == {3}
    return {key: (statistics.mean(three), statistics.stdev(three)) for key, three in values.items()}


def recomputed(result: Result) -> dict[str, float]:
    """Final and average accuracy and forgetting of a run; joint has the last row alone."""
    matrix = [row for row in result["outcome"]["accuracy"] if row is not None]
    last = matrix[-1]
    found = {"final": sum(last) / len(last)}
    if len(matrix) == len(last):
        found["average"] = sum(sum(row) / len(row) for row in matrix) / len(matrix)
        best = [max(row[j] for row in matrix[:-1] if len(row) > j) for j in range(len(last) - 1)]
        found["forgetting"] = sum(a - b for a, b in zip(best, last, strict=False)) / len(best)
    return found


def settings_of(table: Table, group: str) -> tuple[str, int]:
    """Backbone and number of tasks of a table's column, from the words a reader has."""
    words = group or table.title
    tasks = re.search(r"(\d+) tasks of", words)
    [backbone] = [name for name in BACKBONES if name in words]
    assert tasks is not None
    return backbone, int(tasks[1])


# -- the runs -----------------------------------------------------------------------------------


def test_every_run_of_the_suite_is_there_and_no_other(results: list[Result]) -> None:
    specs = expand(load_suite("icons_full"), Overrides(sets=CROPS))
    wanted = [json.dumps(spec_dict(spec), sort_keys=True) for spec in specs]
    found = [json.dumps(result["spec"], sort_keys=True) for result in results]
    assert len(found) == 315
    assert sorted(found) == sorted(wanted)


def test_runs_are_finished_comparable_and_of_committed_code(
    results: list[Result], report: Report
) -> None:
    assert {result["outcome"]["status"] for result in results} == {"done"}
    assert not any(result["environment"]["dirty"] for result in results)
    assert unfair(report.blocks) == []
    assert not report.problems
    assert [(len(block.rows), block.title.count("shuffled")) for block in report.blocks] == [
        (21, 1)
    ] * 5


def test_the_bounds_lie_apart_on_every_backbone(
    expected: Mapping[tuple[Setting, str], Spread],
) -> None:
    for backbone in BACKBONES:
        upper, lower = (
            expected[(backbone, 10, method), "final"][0] for method in ("joint", "sequential")
        )
        assert upper - lower >= 15.0


# -- the tables ---------------------------------------------------------------------------------


def test_files_are_those_of_the_runs(report: Report) -> None:
    for table in report.tables:
        for ending, render in WRITERS.items():
            path = TABLES / f"{table.name}.{ending}"
            assert path.read_bytes() == render(table).encode(), path.name
    assert {path.stem for path in TABLES.iterdir()} == {table.name for table in report.tables}


@pytest.mark.parametrize("form", ["csv", "md", "tex", "html"])
def test_files_agree_with_the_matrices(
    report: Report, expected: Mapping[tuple[Setting, str], Spread], form: str
) -> None:
    checked = set()
    for number, table in enumerate(report.tables):
        if not {"final", "average"} <= {column.key for column in table.columns}:
            continue
        for row, (label, *texts) in zip(table.rows, written(table, number, form), strict=True):
            assert label.replace("\\_", "_").startswith(row.label)
            for column, text in zip(table.columns, texts, strict=True):
                key = (*settings_of(table, column.group), row.method), column.key
                if key in expected:
                    assert text == shown(expected[key], form)
                    checked.add(key)
                elif column.key in METRICS:
                    assert row.method == "joint" and text in ("", "-")
    assert checked == set(expected)


def shown(spread: Spread, form: str) -> str:
    mean, std = spread
    if form == "csv":
        return f"{mean:.9f} {std:.9f}"
    return f"{mean:.2f} ± {std:.2f}"


def written(table: Table, number: int, form: str) -> list[list[str]]:
    """The rows of a committed table: the name with its marks, and a text for every column."""
    if form == "html":
        page = (RESULTS / "report" / PAGE).read_text(encoding="utf-8")
        rows = Page(page.split(f'<table data-table="{number}"')[1].split("</table>")[0]).rows
    else:
        text = (TABLES / f"{table.name}.{form}").read_text(encoding="utf-8")
        if form == "csv":
            return [
                [row["row"], *(csv_text(row, column) for column in table.columns)]
                for row in csv.DictReader(io.StringIO(text))
            ]
        text = text.replace(r" $\pm$ ", " ± ")
        text = re.sub(r"\*\*(.*?)\*\*|\\textbf\{(.*?)\}", r"\1\2", text)
        lines = [line.removesuffix("\\\\").strip("|") for line in text.splitlines()]
        rows = [re.split(r"&|\|", line) for line in lines]
    rows = [[text.strip() for text in row] for row in rows if len(row) == 1 + len(table.columns)]
    return rows[-len(table.rows) :]  # the heads go before


def csv_text(row: Mapping[str, str], column: Column) -> str:
    texts = [row[name] for name in headings(column)]
    return " ".join(f"{float(text):.9f}" for text in texts if text)


def test_every_cell_leads_to_its_runs(report: Report) -> None:
    for table in report.tables:
        for row, name in zip(table.rows, row_names(table), strict=True):
            for column, title in zip(table.columns, column_names(table), strict=True):
                assert find_cell(report.tables, name, title, table.name) == (table, row, column)
                cell = row.cells[position_of(table, column)]
                found = explain_cell(table, row, column, report.results)
                assert [run.key for run in found.runs] == [*cell.runs]
                assert all(run.command.startswith("clbench run ") for run in found.runs)


@pytest.mark.parametrize("method", ["ncm", "linear_probe"])
def test_the_command_gives_the_number_again(
    report: Report, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same run by its specification: the committed keys are older than today's sources."""
    [overview] = [table for table in report.tables if table.name == OVERVIEW]
    table, row, column = find_cell([overview], method, "10 tasks of 10 classes, tiny_dino: final")
    fact = explain_cell(table, row, column, report.results).runs[0]
    recorded = report.results[fact.key]
    monkeypatch.chdir(tmp_path)
    assert main([*shlex.split(fact.command)[1:], "--no-report"]) == 0
    [again] = ResultStore("redo").results()
    assert again["spec"] == recorded["spec"]
    # Bits depend on the processor; a tenth of a percent is one of a thousand images.
    assert recomputed(again)["final"] == pytest.approx(recomputed(recorded)["final"], abs=0.5)


# -- what docs/embedded-benchmark.md says ---------------------------------------------------------


def test_the_page_shows_the_table(
    report: Report, expected: Mapping[tuple[Setting, str], Spread]
) -> None:
    page = (ROOT / "docs/embedded-benchmark.md").read_text(encoding="utf-8")
    columns = [("tiny_sup", 5), ("tiny_sup", 10), ("tiny_sup", 20)]
    columns += [("tiny_dino", 10), ("tiny_ibot", 10)]
    [overview] = [table for table in report.tables if table.name == OVERVIEW]
    assert len(overview.rows) == 21
    for row in overview.rows:
        spreads = [expected[(*column, row.method), "final"] for column in columns]
        shown = " | ".join(f"{mean:.2f} ± {std:.2f}" for mean, std in spreads)
        assert f"| {row.label} | {shown} |" in page


def test_the_page_says_how_far_rankings_agree(report: Report) -> None:
    page = " ".join((ROOT / "docs/embedded-benchmark.md").read_text(encoding="utf-8").split())
    [ranks] = [table for table in report.tables if table.name == "ranks-final"]
    found = [re.search(r"tau (-?[\d.]+) \(p = ([\d.]+)\)", note) for note in ranks.notes]
    taus, chances = zip(*[map(float, match.groups()) for match in found if match], strict=True)
    assert len(taus) == 5
    assert f"is {min(taus):.2f} to {max(taus):.2f} in the five columns, p {min(chances)}" in page
    found = [re.search(r"orders and seeds: mean ([\d.]+)", note) for note in ranks.notes]
    means = [float(match[1]) for match in found if match]
    assert f"tau {min(means):.2f} (`tiny_dino`) to {max(means):.2f} (`tiny_sup`" in page
    [between] = [note for note in ranks.notes if note.startswith("between blocks")]
    mean, least = re.findall(r"\d\.\d\d", between)
    assert f"with {mean} on average and {least} at least" in page
    apart = re.search(r"mean ranks up to ([\d.]+) are not significant", ranks.caption)
    assert apart is not None
    assert f"up to {apart[1]} are not significant" in page
