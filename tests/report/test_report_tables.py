"""The numbers of every table are those of a direct recomputation, in every form."""

from __future__ import annotations

import csv
import io
import math
import re
import statistics
from collections.abc import Mapping
from dataclasses import replace
from html import unescape
from typing import Any

import pytest
from synthetic_results import make_broken, make_result, make_spec

from benchmark.config import DEFAULT_SUITE, load_suite
from benchmark.report.build import WRITERS, Report
from benchmark.report.formats import csv_table, latex, markdown, terminal
from benchmark.report.formatting import file_name
from benchmark.report.model import Cell, Column, Table, TableRow, cell_text
from benchmark.report.notes import annotated
from benchmark.report.page import render_page
from benchmark.report.rows import make_blocks
from benchmark.report.tables import block_table, overviews
from benchmark.results.store import Result, ResultStore

ROWS = {  # label: (method, rank)
    "sequential": ("sequential", None),
    "seq_lora": ("seq_lora", 5),
    "coda_p": ("coda_p", None),
    "l2p": ("l2p", None),
    "inflora (rank=5)": ("inflora", 5),
    "inflora (rank=10)": ("inflora", 10),
    "joint": ("joint", None),
}


def runs_of(store: ResultStore, label: str) -> list[Result]:
    method, rank = ROWS[label]
    return [
        result
        for result in store.results()
        if result["spec"]["method"] == method
        and result["spec"]["settings"].get("rank") == rank
        and result["outcome"]["status"] == "done"
    ]


def recomputed(store: ResultStore, label: str) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation of final and average accuracy and forgetting, from scratch."""
    finals, averages, losses = [], [], []
    for result in runs_of(store, label):
        matrix = result["outcome"]["accuracy"]
        last = matrix[-1]
        assert last is not None
        finals.append(sum(last) / len(last))
        if None in matrix:
            continue
        averages.append(sum(sum(row) / len(row) for row in matrix if row) / len(matrix))
        gaps = [
            max(row[j] for row in matrix[:-1] if row and len(row) > j) - last[j]
            for j in range(len(last) - 1)
        ]
        losses.append(sum(gaps) / len(gaps))
    pairs = {"final": finals, "average": averages, "forgetting": losses}
    return {
        name: (statistics.mean(values), statistics.stdev(values))
        for name, values in pairs.items()
        if values
    }


def parsed_csv(text: str) -> Mapping[str, Mapping[str, str]]:
    return {row["row"]: row for row in csv.DictReader(io.StringIO(text))}


def numbers(text: str) -> list[str]:
    return re.findall(r"\d+\.\d\d (?:±|\+-|\\pm\$?|\$\\pm\$) \d+\.\d\d", text)


@pytest.mark.parametrize("label", ROWS)
def test_model_and_csv_hold_the_exact_numbers(
    campaign: ResultStore, report: Report, label: str
) -> None:
    [table] = report.printed
    row = table.row(label)
    line = parsed_csv(csv_table.render(table))[label]
    expected = recomputed(campaign, label)
    for name, (mean, std) in expected.items():
        cell = row.cells[table.column(name)]
        assert (cell.summary.mean, cell.summary.std) == pytest.approx((mean, std))
        assert float(line[f"{name}_mean"]) == pytest.approx(mean)
        assert float(line[f"{name}_std"]) == pytest.approx(std)
        assert set(cell.runs) == {result["key"] for result in runs_of(campaign, label)}
    if label == "joint":
        assert line["average_mean"] == line["average_std"] == line["forgetting_mean"] == ""


@pytest.mark.parametrize("label", ROWS)
@pytest.mark.parametrize("form", ["plain", "ascii", "drawn", "md", "tex"])
def test_written_tables_hold_the_rounded_numbers(
    campaign: ResultStore, report: Report, label: str, form: str
) -> None:
    [table] = report.printed
    text = {
        "plain": lambda: terminal.plain(table),
        "ascii": lambda: terminal.plain(table, ascii_only=True),
        "drawn": lambda: re.sub(r"\x1b\[[0-9;]*m", "", terminal.drawn(table, 200)),
        "md": lambda: markdown.render(table),
        "tex": lambda: latex.render(table).replace(r"\_", "_"),
    }[form]()
    [line] = [one for one in text.splitlines() if re.match(rf"\W*{re.escape(label)}\W", one)]
    sign = {"ascii": "+-", "tex": r"$\pm$"}.get(form, "±")
    written = numbers(line)
    values = [float(value) for text in written for value in text.split(f" {sign} ")]
    expected = [value for pair in recomputed(campaign, label).values() for value in pair]
    assert values == pytest.approx(expected, abs=0.005001)  # a tie may be rounded either way


def test_costs_counts_and_notes(report: Report) -> None:
    [table] = report.printed
    text = {
        column.key: cell_text(cell, column)
        for column, cell in zip(table.columns, table.row("l2p").cells, strict=True)
    }
    assert text["expanded_parameters"] == "46.1"
    assert text["expanded_share"] == "0.92"
    assert text["runs"] == "2 of 3"
    assert text["train_seconds"] == "52.5"
    notes = [table.notes[number - 1] for number in table.row("l2p").notes]
    assert notes == ["seed 2 failed: out of memory"]
    dirty = [table.notes[number - 1] for number in table.row("coda_p").notes]
    assert dirty == ["ran on uncommitted code (1 of 3 runs)"]


def test_notes_are_said_once_and_numbered_in_order() -> None:
    results = [
        make_result(make_spec(method), dirty=True, marks=marks)[0]
        for method, marks in [("seq_lora", ("a",)), ("linear_probe", ()), ("ncm", ("b", "a"))]
    ]
    [block] = annotated(make_blocks(results))
    table = block_table(block)
    assert table.notes == ("a", "ran on uncommitted code", "b")
    assert table.row("ncm").notes == (1, 2, 3)
    for render in (*WRITERS.values(), terminal.plain):
        assert "ran on uncommitted code" in render(table)


def test_failed_cells_are_marked() -> None:
    results = [
        make_broken(make_spec("inflora")),
        make_broken(make_spec("inflora", 1), status="interrupted"),
        make_broken(make_spec("l2p"), status="interrupted"),
    ]
    [block] = annotated(make_blocks(results))
    table = block_table(block)
    final, runs = table.column("final"), table.column("runs")
    assert cell_text(table.row("inflora").cells[final], table.columns[final]) == "failed"
    assert cell_text(table.row("l2p").cells[final], table.columns[final]) == "interrupted"
    assert cell_text(table.row("inflora").cells[runs], table.columns[runs]) == "0 of 2"
    line = parsed_csv(csv_table.render(table))["inflora"]
    assert (line["final_mean"], line["runs_finished"]) == ("", "0")
    assert "failed: out of memory" in line["notes"]


def test_training_time_has_a_fitting_unit() -> None:
    units = []
    for seconds in (10.0, 1000.0, 100_000.0):
        result = make_result(make_spec())[0]
        result["outcome"]["train_seconds"] = [seconds / 5] * 5
        [block] = annotated(make_blocks([result]))
        column = block_table(block).columns[-1]
        cell = block_table(block).rows[0].cells[-1]
        units.append(f"{cell_text(cell, column)} {column.unit}")
    assert units == ["10.0 s", "16.7 min", "27.8 h"]


@pytest.mark.parametrize(
    ("cell", "kind", "text"),
    [
        (Cell((1.0, 2.0), total=2), "spread", "1.50 ± 0.71"),
        (Cell((1.0,), total=1), "spread", "1.00"),
        (Cell((1234.5,), total=1), "value", "1,234.50"),
        (Cell((-0.0,), total=1), "value", "0.00"),
        (Cell((-3.0,), total=1), "value", "-3.00"),
        (Cell((math.nan,), total=1), "spread", "-"),
        (Cell((), total=2), "spread", "-"),
        (Cell((), total=2), "runs", "0 of 2"),
        (Cell((1.0,), total=1), "runs", "1"),
        (Cell(), "runs", "-"),
    ],
)
def test_cell_text(cell: Cell, kind: str, text: str) -> None:
    assert cell_text(cell, Column("x", "X", kind=kind)) == text  # type: ignore[arg-type]


# -- overview -----------------------------------------------------------------------------------


def splits() -> list[Result]:
    results = []
    for tasks in ((2,) * 5, (5,) * 2):
        results += [make_result(make_spec("inflora", s, tasks=tasks))[0] for s in (0, 1)]
        results += [make_result(make_spec("joint", s, tasks=tasks))[0] for s in (0, 1)]
    results.append(make_result(make_spec("l2p", tasks=(5,) * 2), dirty=True)[0])
    return results


DIFFERENT: list[tuple[dict[str, Any], list[str]]] = [
    (
        {"spec": {"settings": {"rank": 9}}},
        ["settings or training differ between the columns"],
    ),
    (
        {"environment": {"method_source_hash": "new", "weight_hash": "new"}},
        [
            "the method's code differs between the columns",
            "backbone weights of the same name differ between the columns",
        ],
    ),
]


@pytest.mark.parametrize(("changes", "notes"), DIFFERENT)
def test_overview_says_in_what_its_columns_differ(
    changes: dict[str, Any], notes: list[str]
) -> None:
    results: list[Any] = splits()
    for result in results:
        if len(result["spec"]["tasks"]) == 5:
            for block, values in changes.items():
                result[block] |= values
    [table] = overviews(annotated(make_blocks(results)))
    assert [table.notes[n - 1] for n in table.row("inflora").notes] == notes


def test_overview_puts_splits_side_by_side() -> None:
    blocks = annotated(make_blocks(splits()))
    [table] = overviews(blocks)
    assert table.groups == [("2 tasks of 5 classes", 3), ("5 tasks of 2 classes", 3)]
    assert [row.label for row in table.rows] == ["inflora", "l2p", "joint"]
    for position, block in enumerate(blocks):
        own = block_table(block)
        for line in block.rows:
            cell = table.row(line.label).cells[3 * position]
            assert cell == own.row(line.label).cells[own.column("final")]
    lonely = [cell_text(c, k) for c, k in zip(table.row("l2p").cells, table.columns, strict=True)]
    assert lonely[3:] == ["-", "-", "-"]
    assert "2 tasks of 5 classes: ran on uncommitted code" in table.notes


# -- forms --------------------------------------------------------------------------------------

NASTY = Table(
    "nasty",
    "50% of a_b & $x$ #1 {y} ~^ \\end|<b>",
    "*Caption* with [link] and `code` ± 1",
    (Column("final", "Final_1", "%", group="A&B"), Column("runs", "n", kind="runs", group="A&B")),
    (
        TableRow(
            "m_1 (a=b|c, d={e})", "m_1", 0, (Cell((1.0, 3.0), ("k",), 2), Cell((1.0, 3.0), (), 2))
        ),
        TableRow("_under_", "x", 1, (Cell((), (), 1, "failed"), Cell((), (), 1)), (1,)),
    ),
    ("100% wrong_reason #7 & more",),
)


def test_latex_is_escaped() -> None:
    text = latex.render(NASTY)
    assert r"50\% of a\_b \& \$x\$ \#1 \{y\} \textasciitilde{}\textasciicircum{}" in text
    assert r"\textbackslash{}end\textbar{}\textless{}b\textgreater{}" in text
    assert r"m\_1 (a=b\textbar{}c, d=\{e\}) & 2.00 $\pm$ 1.41 & 2 \\" in text
    assert r"100\% wrong\_reason \#7 \& more" in text
    assert r"\_under\_\textsuperscript{1}" in text
    assert r"\multicolumn{2}{c}{A\&B}" in text
    assert "±" not in text


def test_markdown_is_escaped_and_every_line_has_all_cells(report: Report) -> None:
    for table in (NASTY, *report.tables):
        lines = [line for line in markdown.render(table).splitlines() if line.startswith("|")]
        bars = {len(re.findall(r"(?<!\\)\|", line)) for line in lines}
        assert bars == {len(table.columns) + 2}
        assert len(lines) == len(table.rows) + 2
        assert len(set(map(len, lines))) == 1
    text = markdown.render(NASTY)
    assert r"m_1 (a=b\|c, d={e})" in text
    assert r"\_under\_ <sup>1</sup>" in text
    assert r"\*Caption\* with \[link\] and \`code\`" in text


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
def test_drawing_fits_the_screen_with_every_accuracy(report: Report, width: int) -> None:
    [overview] = overviews(annotated(make_blocks(splits())))
    for table, room in ((report.tables[0], 125), (overview, 95)):
        text = re.sub(r"\x1b\[[0-9;]*m", "", terminal.drawn(table, width))
        assert all(len(line) <= width for line in text.splitlines())
        assert "…" not in text
        finals = [i for i, column in enumerate(table.columns) if column.key == "final"]
        for row in table.rows:
            assert all(cell_text(row.cells[i], table.columns[i]) in text for i in finals)
        assert ("No room here for" in text) == (width < room)
        assert "?" not in terminal.drawn(table, width, ascii_only=True)


class _Stream(io.StringIO):
    def __init__(self, encoding: str, terminal: bool) -> None:
        super().__init__()
        self._encoding, self._terminal = encoding, terminal

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
@pytest.mark.parametrize("is_terminal", [False, True])
def test_text_suits_the_stream(
    report: Report, encoding: str, is_terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    table = replace(report.tables[0], title="Überschrift")
    text = terminal.for_stream(table, _Stream(encoding, is_terminal))
    text.encode(encoding)
    assert ("\x1b[" in text) == is_terminal
    assert ("±" in text) == (encoding == "utf-8")


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t"])
def test_no_name_is_a_formula_in_a_spreadsheet(start: str) -> None:
    evil = f"{start}cmd|' /C calc'!A0"
    column = Column("final", "Final", "%", group=evil)
    table = Table("t", "t", "", (column,), (TableRow(evil, evil, "", (Cell((-1.5,)),)),), (evil,))
    rows = list(csv.reader(io.StringIO(csv_table.render(table))))
    assert not any(cell.startswith(start) for cell in rows[0])
    assert not rows[1][0].startswith(start) and not rows[1][1].startswith(start)
    assert float(rows[1][2]) == -1.5  # a number stays one


def test_no_name_commands_the_terminal_from_a_table() -> None:
    evil = "\x1b[2J"
    table = Table("t", evil, "", (), (TableRow(evil, evil, "", ()),), (evil,))
    assert evil not in terminal.for_stream(table, io.StringIO())


def test_long_names_of_files_stay_apart() -> None:
    first, second = (file_name(f"overview-{'long' * 40}-{end}") for end in "ab")
    assert first != second and len(first) == len(second) == 100


def test_the_suite_of_all_runs_says_how_to_read_the_table() -> None:
    lines = load_suite(DEFAULT_SUITE).reading
    assert lines
    on = {"icons": False, "letters_small": True}

    def table(dataset: str, *suites: str) -> Table:
        results = [make_result(make_spec(seed=i, dataset=dataset))[0] for i in range(len(suites))]
        for result, suite in zip(results, suites, strict=True):
            result["environment"]["suite"] = suite
        (block,) = make_blocks(results)  # type: ignore[arg-type]
        return block_table(block)

    for dataset, meant in on.items():
        assert table(dataset, "quick", "quick").reading == (lines if meant else ())
        assert table(dataset, "quick", "mine").reading == ()
        assert table(dataset, "icons").reading == ()
    shown = table("letters_small", "quick")
    html = render_page(Report((), (shown,), (), ""), {})
    for text in (terminal.plain(shown), terminal.drawn(shown, 80), markdown.render(shown), html):
        above = " ".join(unescape(text).split()).partition("inflora ")[0]
        for line in lines:
            assert line.replace("_", "") in above.replace("\\", "").replace("_", "")
