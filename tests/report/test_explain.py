"""Every cell has an explanation, under every name that a format gives it."""

from __future__ import annotations

import csv
import io
import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
from synthetic_results import make_broken, make_result, make_spec

from benchmark.cli import main
from benchmark.registry import UnknownNameError
from benchmark.report.build import Report, collect_report
from benchmark.report.evidence import redo
from benchmark.report.evidence.explain import explain_cell
from benchmark.report.evidence.lookup import (
    AmbiguousCellError,
    column_names,
    find_cell,
    row_names,
)
from benchmark.report.evidence.redo import Checkout
from benchmark.report.formats import csv_table, latex, markdown, terminal
from benchmark.report.model import Cell, Column, Published, Table, TableRow
from benchmark.report.statistics.rank_spread import MEANINGS
from benchmark.results.store import Result, ResultStore

BLOCK = "icons-5tasks-tiny_sup-natural"


@pytest.fixture
def wide(campaign: ResultStore) -> ResultStore:
    """The campaign, a second number of tasks, and a method that failed throughout."""
    campaign.write(*make_result(make_spec(tasks=(5, 5))))
    campaign.write(*make_result(make_spec("coda_p", tasks=(5, 5))))
    campaign.write(make_broken(make_spec("slca")), {})
    return campaign


def stored(store: ResultStore) -> dict[str, Result]:
    return {result["key"]: result for result in store.results()}


# -- finding ------------------------------------------------------------------------------------


def test_every_cell_is_found_by_its_full_name(wide: ResultStore) -> None:
    tables = collect_report(wide.root).tables
    assert len(tables) >= 3
    for table in tables:
        assert len(set(row_names(table))) == len(table.rows)
        assert len(set(column_names(table))) == len(table.columns)
        for row, name in zip(table.rows, row_names(table), strict=True):
            for column, title in zip(table.columns, column_names(table), strict=True):
                assert find_cell(tables, name, title, table.name) == (table, row, column)


def test_every_cell_is_found_by_what_the_formats_show(wide: ResultStore) -> None:
    tables = collect_report(wide.root).tables
    for table in tables:
        lines = [line for line in markdown.render(table).splitlines() if line.startswith("|")]
        heads, _, *rows = ([part.strip() for part in re.split(r"(?<!\\)\|", line)[1:-1]]
                           for line in lines)  # fmt: skip
        labels = [cells[0] for cells in rows]
        reader = csv.reader(io.StringIO(csv_table.render(table)))
        head, *lines = reader
        shown = terminal.plain(table).splitlines()
        for i, row in enumerate(table.rows):
            marked = next(line for line in shown if line.startswith(terminal._label(row)))
            names = {labels[i], lines[i][1], marked[: len(terminal._label(row))]}
            for label in names:
                for j, column in enumerate(table.columns, 1):
                    found = find_cell(tables, label, heads[j], table.title)
                    assert found == (table, row, column), (label, heads[j])
                for name in head[2:-1]:
                    found = find_cell(tables, label, name, table.name)
                    assert found[:2] == (table, row)
                    assert name.rpartition(": ")[2].startswith(found[2].key)
        assert latex.render(table)  # its names are those of the terminal, escaped


def test_the_same_number_in_two_tables_is_no_question(wide: ResultStore) -> None:
    tables = collect_report(wide.root).tables
    table, row, column = find_cell(tables, "seq_lora", "final")
    assert (table.name, row.label, column.key) == (BLOCK, "seq_lora", "final")
    assert find_cell(tables, "SEQ_LORA", "FINAL (%)") == (table, row, column)


def test_several_numbers_are_listed_with_arguments_that_settle_it(wide: ResultStore) -> None:
    tables = collect_report(wide.root).tables
    with pytest.raises(AmbiguousCellError) as caught:
        find_cell(tables, "coda_p", "Final")
    assert len(caught.value.candidates) == 2
    assert caught.value.candidates[1] == f"--table {BLOCK} coda_p 'Final (%)'"
    with pytest.raises(AmbiguousCellError) as caught:
        find_cell(tables, "inflora", "Final", BLOCK)  # two sets of settings, neither called so
    assert {c.split("'")[1] for c in caught.value.candidates} == {
        "inflora (rank=5)",
        "inflora (rank=10)",
    }
    with pytest.raises(AmbiguousCellError) as caught:
        find_cell(tables, "ncm", "Expanded", BLOCK)  # two columns of one title
    assert [line.rpartition("'Expanded")[2] for line in caught.value.candidates] == [
        " (k)'",
        " (% of backbone)'",
    ]


@pytest.mark.parametrize(
    ("row", "column", "table", "message"),
    [
        ("inflroa (rank=5)", "Final", "", "unknown row .* did you mean 'inflora"),
        ("ncm", "Finall (%)", "", "unknown column .* did you mean 'Final"),
        ("ncm", "Final", "icons-5tasks-tiny_sup", f"unknown table .* did you mean '{BLOCK}'"),
        ("", "Final", "", "unknown row"),
        ("ncm", "", "", "unknown column"),
        ("ncm", "10 tasks of 10 classes: Final (%)", "", "unknown column"),
    ],
)
def test_what_is_not_there_gets_the_nearest_name(
    report: Report, row: str, column: str, table: str, message: str
) -> None:
    with pytest.raises(UnknownNameError, match=message):
        find_cell(report.tables, row, column, table)


def made_up(*columns: Column, rows: tuple[TableRow, ...] = ()) -> Table:
    cells = tuple(Cell((float(i),), (f"run{i}",), 1) for i in range(len(columns)))
    return Table("t", "T", "", columns, rows or (TableRow("a", "a", 1, cells),))


def test_columns_of_one_title_are_told_apart_by_group_and_source() -> None:
    final = Column("final", "Final", "%")
    table = made_up(
        replace(final, group="5 tasks"),
        replace(final, group="5 tasks", source="reported"),
        replace(final, group="10 tasks"),
    )
    assert column_names(table) == [
        "5 tasks: Final (%) [ours]",
        "5 tasks: Final (%) [reported]",
        "10 tasks: Final (%)",
    ]
    for name, column in zip(column_names(table), table.columns, strict=True):
        assert find_cell([table], "a", name)[2] is column
    assert find_cell([table], "a", "10 tasks: final")[2] is table.columns[2]
    with pytest.raises(AmbiguousCellError):
        find_cell([table], "a", "5 tasks: final")


def test_columns_and_rows_that_look_alike_are_numbered() -> None:
    twins = (Column("x", "X"), Column("x", "X"))
    rows = tuple(
        TableRow("a", "a", 1, tuple(Cell((v + w,), (f"run{v + w}",), 1) for w in (0, 10)))
        for v in (1, 2)
    )
    table = made_up(*twins, rows=rows)
    assert (row_names(table), column_names(table)[1]) == (["a #1", "a #2"], "X [ours] #2")
    found = find_cell([table], "a #2", "X [ours] #2")
    assert found[1] is rows[1]
    assert found[2] is twins[1]
    assert explain_cell(*found, {}).text == "12.00"
    with pytest.raises(AmbiguousCellError) as caught:
        find_cell([table], "a", "X")
    assert len(caught.value.candidates) == 4


# -- explaining ---------------------------------------------------------------------------------


def test_every_number_is_the_mean_of_its_runs(wide: ResultStore) -> None:
    results = stored(wide)
    met: set[str] = set()
    for table in collect_report(wide.root).tables:
        for row in table.rows:
            for column, cell in zip(table.columns, row.cells, strict=True):
                found = explain_cell(table, row, column, results)
                assert (found.row, found.meaning != "") == (row.label, True)
                done = [run for run in found.runs if run.status == "done"]
                met |= {run.key for run in found.runs}
                assert [run.key for run in done] == list(cell.runs)
                if column.kind != "runs" and cell.runs and column.key not in MEANINGS:
                    mean = sum(run.value for run in done if run.value is not None) / len(done)
                    assert mean == pytest.approx(cell.summary.mean, nan_ok=True)
                for run in found.runs:
                    spec = results[run.key]["spec"]
                    assert (run.seed, spec["method"]) == (spec["seed"], row.method)
    assert met == set(results)  # every run stands behind some cell


def test_what_the_runs_share_and_what_they_do_not(campaign: ResultStore) -> None:
    table = collect_report(campaign.root).tables[0]
    found = explain_cell(*find_cell([table], "inflora (rank=10)", "final"), stored(campaign))
    assert found.settings == {"rank": 10}
    assert found.recipe["lr"] == 5e-4
    assert found.spec["backbone"] == "tiny_sup"
    assert "seed" not in found.spec
    assert [run.seed for run in found.runs] == [0, 1]
    assert "ACC_T" in found.meaning
    assert found.runs[0].packages == {"torch": "2.6.0", "python": "3.11.0"}
    assert (found.runs[0].revision, found.runs[0].weight_hash) == ("0123456789abcdef", "weights")


def test_failed_and_missing_runs_are_explained(wide: ResultStore) -> None:
    tables, results = collect_report(wide.root).tables, stored(wide)
    found = explain_cell(*find_cell(tables, "slca", "Final", BLOCK), results)
    assert found.text == "failed"
    (run,) = found.runs
    assert (run.status, run.value, run.error, run.version) == ("failed", None, "out of memory", "")
    assert (
        "0 of 3 runs are finished, 1 failed or interrupted, 2 missing or not finished"
        in found.notes
    )
    assert run.command.startswith("clbench run --suite icons")
    found = explain_cell(*find_cell(tables, "l2p", "n", BLOCK), results)
    assert found.text == "2 of 3"
    assert [run.status for run in found.runs] == ["done", "done", "failed"]
    assert all(run.value is None for run in found.runs)
    found = explain_cell(*find_cell(tables, "joint", "Average", BLOCK), results)
    assert found.text == "-"
    assert any("not defined" in note for note in found.notes)
    assert all(run.value is not None and math.isnan(run.value) for run in found.runs)
    empty = find_cell(tables, "ncm", "2 tasks of 5 classes: Final (%)")
    assert "no run of this method belongs here" in explain_cell(*empty, results).notes


def test_run_that_is_not_among_the_results_is_named(campaign: ResultStore) -> None:
    report, results = collect_report(campaign.root), stored(campaign)
    table, row, column = find_cell(report.tables, "ncm", "Final")
    gone = row.cells[0].runs[1]
    del results[gone]
    found = explain_cell(table, row, column, results)
    assert f"run {gone} is not among the results" in found.notes
    assert [run.value for run in found.runs] == [row.cells[0].values[i] for i in (0, 2)]


def test_published_numbers_say_where_they_are_from() -> None:
    published = Published(75.65, 0.14, 5, "paper, table 1", "verified", True, "other weights")
    columns = [Column("final", "Final", "%", source=s) for s in ("ours", "reported", "delta")]
    result, _ = make_result(make_spec())
    cell = Cell((70.0,), (result["key"],), 1, published=published)
    table = made_up(*columns, rows=(TableRow("a", "a", 1, (cell, cell, cell)),))
    ours, reported, delta = (
        explain_cell(table, table.rows[0], column, {result["key"]: result}) for column in columns
    )
    assert ours.published is None
    assert reported.published == delta.published == published
    assert (reported.runs, len(delta.runs), len(ours.runs)) == ((), 1, 1)
    assert "published by others" in reported.meaning
    assert "less the published" in delta.meaning
    blank = replace(cell, published=None)
    table = made_up(*columns, rows=(TableRow("a", "a", 1, (blank, blank, blank)),))
    notes = explain_cell(table, table.rows[0], columns[1], {}).notes
    assert notes == ("nothing was published for this",)


# -- what redoing takes -------------------------------------------------------------------------


def conditions(result: Result, here: Checkout | None = None) -> str:
    return "\n".join(redo.conditions(result, here))


def changed(environment: dict[str, object] | None = None, **spec: object) -> Result:
    result = make_result(make_spec("ncm"))[0]
    result["spec"] |= spec
    result["environment"] |= environment or {}
    return result  # type: ignore[return-value]


def test_conditions_name_the_revision_only_where_the_method_has_changed() -> None:
    result = changed()
    assert "git checkout 0123456789abcdef" in conditions(result)
    assert conditions(result, Checkout("other", False, {"ncm": "source"})) == ""
    there = conditions(result, Checkout("other", False, {"ncm": "changed"}))
    assert "changed since: the source of ncm; as it was: git checkout 0123456789abcdef" in there


def test_conditions_name_the_files_that_changed_where_they_were_recorded() -> None:
    then = {f"{letter}.py": "1" for letter in "abcdef"}
    result = changed({"sources": then, "method_source_hash": "other"})
    assert conditions(result, Checkout("x", False, {"ncm": "source"}, {"ncm": then})) == ""
    now = {"ncm": then | {"b.py": "2"}}
    there = conditions(result, Checkout("x", False, {"ncm": "source"}, now))
    assert there == "changed since: b.py; as it was: git checkout 0123456789abcdef"
    there = conditions(result, Checkout("x", False, {}, {"ncm": {"new.py": "1"}}))
    assert "a.py, b.py, c.py, d.py and 3 more" in there


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (changed({"dirty": True}), "uncommitted changes to 0123456789abcdef"),
        (changed({"revision": None}), "not from a git checkout"),
        (changed({"device": "cuda"}), "on a GPU"),
        (changed(protocol=1), "needs the code of protocol 1"),
        (changed(method="mine"), "--plugin FILE"),
        (changed(order="/a/list.txt"), "/a/list.txt: if it lists the classes differently"),
        (changed(backbone_file="/a/w.safetensors"), "read from /a/w.safetensors"),
        (changed(dataset="folder:/a,b"), "takes no commas"),
        (changed(backbone="file:w.pt"), "a path on the machine"),
    ],
)
def test_conditions_name_what_a_command_cannot_bring(result: Result, words: str) -> None:
    assert words in conditions(result)
    assert redo.redo_command(result).startswith("clbench run --suite icons --dataset ")


# -- the command --------------------------------------------------------------------------------


def shown(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(["explain", *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_command_prints_runs_origin_and_commands(
    wide: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--results", str(wide.root), "--table", BLOCK]
    status, out, _ = shown(capsys, *options, "coda_p", "final")
    assert status == 0
    lines = out.splitlines()
    assert lines[0].startswith("coda_p, Final (%): ")
    assert sum(line.startswith("  clbench run ") for line in lines) == 3
    assert "revision 0123456789abcdef with uncommitted changes" in out
    assert "(seeds 1, 2)" in out
    assert "\x1b" not in out
    assert "method    source" in out
    (augment,) = (line for line in lines if line.startswith("augment   "))
    assert augment == (
        "augment   scale [0.08, 1], ratio [0.75, 1.33333], flip 0.5, colour 0, "
        "interpolation bilinear"
    )
    assert "evaluate  resize shorter, crop 0.875, interpolation bilinear" in lines
    assert shown(capsys, *options, "slca", "n")[0] == 0


def test_command_lists_candidates_and_near_names(
    wide: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    status, out, err = shown(capsys, "--results", str(wide.root), "coda_p", "final")
    assert (status, out) == (2, "")
    assert "in 2 places" in err
    assert f"clbench explain --results {wide.root} --table {BLOCK} coda_p 'Final (%)'" in err
    status, _, err = shown(capsys, "--results", str(wide.root), "coda_q", "final")
    assert status == 2
    assert "did you mean 'coda_p'" in err


def test_command_without_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = shown(capsys, "--results", str(tmp_path / "none"), "ncm", "final")
    assert (status, "no such results folder" in err) == (2, True)
    status, _, err = shown(capsys, "--results", str(tmp_path), "ncm", "final")
    assert (status, "no finished runs" in err) == (2, True)


def test_the_traceback_of_a_failed_run_is_printed(
    wide: ResultStore, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = make_broken(make_spec("slca", 1))
    lines = [
        "Traceback (most recent call last):",
        '  File "slca.py", line 3, in loss',
        "KeyError: 1",
    ]
    broken["outcome"]["traceback"] = "\n".join(lines)
    wide.write(broken, {})
    assert main(["explain", "slca", "Final", "--results", str(wide.root), "--table", BLOCK]) == 0
    shown = capsys.readouterr().out
    assert "\n".join([f"how run {broken['key']} failed", *(f"  {line}" for line in lines)]) in shown
    assert shown.count("how run") == 1
