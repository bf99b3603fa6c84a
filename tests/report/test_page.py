"""The HTML page: every number as in the tables, nothing fetched, nothing that texts can do."""

from __future__ import annotations

import base64
import hashlib
import json
import statistics
import time
from dataclasses import replace

import pytest
from html_page import Page
from synthetic_results import make_broken, make_result, make_spec

from benchmark.report.model import Cell, Column, Published, Report, Table, TableRow, cell_text
from benchmark.report.page import PageFigure, render_page
from benchmark.report.page.data import in_script, sort_value
from benchmark.report.palette import COLOURS, INK
from benchmark.report.rows import make_blocks
from benchmark.report.tables import block_table, overviews
from benchmark.results.store import Result, ResultStore

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\"'&\x00\ud800[[DATA]]"


def by_key(results: list[Result]) -> dict[str, Result]:
    return {result["key"]: result for result in results}


def reported(results: list[Result]) -> Report:
    blocks = make_blocks(results)
    tables = (*map(block_table, blocks), *overviews(blocks))
    return Report(tuple(blocks), tables, (), f"{len(results)} runs")


@pytest.fixture
def page(campaign: ResultStore, report: Report) -> Page:
    return Page(render_page(report, by_key(campaign.results())))


def test_every_cell_of_every_table_is_there(report: Report, page: Page) -> None:
    for table in report.tables:
        for row in table.rows:
            texts = [cell_text(c, k) for c, k in zip(row.cells, table.columns, strict=True)]
            marks = ",".join(map(str, row.notes))
            assert [row.label + marks, *texts] in page.rows


def test_cells_lead_to_their_runs(campaign: ResultStore, report: Report, page: Page) -> None:
    results = by_key(campaign.results())
    data = page.data
    for table, content in zip(report.tables, data["tables"], strict=True):
        for row, shown in zip(table.rows, content["rows"], strict=True):
            for i, (cell, one) in enumerate(zip(row.cells, shown["cells"], strict=True)):
                group = data["groups"][one["runs"]]
                runs = [data["runs"][index] for index in group["runs"]]
                assert [run["key"] for run in runs] == [*cell.runs, *cell.broken]
                for run in runs:
                    spec = results[run["key"]]["spec"]
                    assert (run["seed"], run["order"]) == (spec["seed"], spec["order"])
                    assert run["command"].startswith("clbench run ")
                    assert f"--method {row.method} " in run["command"]
                    assert data["shared"][group["shared"]]["Settings"] == spec["settings"]
                if table.columns[i].kind == "spread":
                    values = [value for value in cell.values if value == value]
                    assert [value for value in one["values"] if value is not None] == values
                    if values:
                        assert one["sort"] == pytest.approx(statistics.mean(values))
    assert len(data["runs"]) == len({run["key"] for run in data["runs"]}) == 26
    failed = next(run for run in data["runs"] if run["status"] == "failed")
    assert failed["error"] == "out of memory"


def test_environments_are_said(page: Page) -> None:
    [made, dirty] = page.data["made"][:2] if len(page.data["made"]) > 1 else [None, None]
    assert made is not None and dirty is not None
    text = json.dumps(page.data["made"])
    for word in ("0123456789abcdef", "a processor", '"torch version": "2.6.0"', "weights"):
        assert word in text
    assert {one["uncommitted changes"] for one in page.data["made"]} == {True, False}


def test_nothing_is_fetched_and_nothing_else_may_run(page: Page) -> None:
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), f"{tag} {name}"
            assert name != "style"
            if name in ("src", "href"):
                assert value.startswith(("#", "data:")), f"{tag} {name}={value}"
    [policy] = [a["content"] for t, a in page.elements if a.get("http-equiv")]
    assert policy.startswith("default-src 'none';")
    for name, content in (("script", page.raw["script"][1]), ("style", page.raw["style"][0])):
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert [t for t, _ in page.elements if t in ("link", "iframe", "object", "base")] == ["link"]


def test_texts_of_results_can_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    evil = EVIL.replace("\x00", "").replace("\ud800", "")  # no name of a method has these
    results = [
        make_result(make_spec(evil, seed, dataset=evil, settings={evil: evil}), marks=(EVIL,))[0]
        for seed in range(2)
    ]
    results.append(make_broken(make_spec(evil, 3, dataset=evil, settings={evil: evil}), error=EVIL))
    report = replace(reported(results), problems=(EVIL,), message=EVIL)
    column = Column(evil, evil, evil, group=evil)
    other = Table(evil, evil, evil, (column,), (TableRow(evil, evil, 0, (Cell(),), (1,)),), (evil,))
    report = replace(report, tables=(*report.tables, other))
    page = Page(
        render_page(report, by_key(results), [PageFigure(evil, b"<svg class='chart'></svg>")])
    )
    page_of_good = Page(render_page(reported([make_result(make_spec())[0]]), {}))
    assert len(page.raw["script"]) == 2
    assert page.raw["script"][1] == page_of_good.raw["script"][1]
    assert all("onerror" not in attributes for _, attributes in page.elements)
    text = render_page(report, by_key(results))
    text.encode()
    assert text.count("<script") == text.count("</script") == 2
    assert page.data["tables"][0]["rows"][0]["label"].startswith(evil[:40])


def test_undefined_and_infinite_numbers_are_null() -> None:
    result = make_result(make_spec("joint"))[0]
    result["outcome"]["flops_per_image"] = {"train": None, "predict": None, "query": 0.0}
    page = Page(render_page(reported([result]), by_key([result])))
    [table] = page.data["tables"]
    names = [column["name"] for column in table["columns"]]
    cell = table["rows"][0]["cells"][names.index("Average (%)")]
    assert (cell["text"], cell["sort"], cell["values"]) == ("-", None, [None])
    with pytest.raises(ValueError, match="JSON"):
        in_script(float("nan"))


def test_published_numbers() -> None:
    published = Published(80.0, 0.5, None, "Table 1", "medium", False, "other epochs")
    cell = Cell((81.0, 82.0), (), 2, published=published)
    columns = tuple(Column("final", s, "%", source=s) for s in ("ours", "reported", "delta"))  # type: ignore[arg-type]
    table = Table("paper", "Paper", "", columns, (TableRow("a", "a", 0, (cell,) * 3),))
    assert [sort_value(cell, column) for column in columns] == [81.5, 80.0, 1.5]
    assert sort_value(Cell((81.0,)), columns[1]) is None
    page = Page(render_page(Report((), (table,), (), ""), {}))
    [row] = page.data["tables"][0]["rows"]
    assert "published" not in row["cells"][0]
    shown = row["cells"][1]["published"]
    assert (shown["mean"], shown["std"], shown["facts"]["runs"]) == (80.0, 0.5, "not stated")
    assert shown["facts"]["differs in"] == "other epochs"
    assert ["a", "81.50 ± 0.71", "80.00 ± 0.50?", "+1.50?"] in page.rows


def test_the_best_are_bold() -> None:
    cells = (Cell((1.0,), best=True), Cell((2.0,)))
    rows = tuple(TableRow(str(i), "m", 1, (cell,)) for i, cell in enumerate(cells))
    table = Table("t", "T", "", (Column("final", "Final"),), rows)
    text = render_page(Report((), (table,), (), ""), {})
    assert text.count("<strong>1.00</strong>") == 1
    assert "<strong>2.00" not in text


def test_no_results_make_a_page_that_says_so() -> None:
    assert "no finished runs" in render_page(Report((), (), (), "no finished runs in x"), {})


def test_figures_stand_with_their_block_in_colours_that_follow_the_page(
    campaign: ResultStore, report: Report
) -> None:
    drawing = f'<svg class="chart"><path fill="{COLOURS[0]}" stroke="{INK}"/></svg>'.encode()
    figures = [PageFigure("Ranks", drawing), PageFigure("C", drawing, report.blocks[0].name)]
    text = render_page(report, by_key(campaign.results()), figures)
    first, second = (text.index(f"<figcaption>{title}</figcaption>") for title in ("Ranks", "C"))
    assert first < text.index('<section id="b0">') < second
    assert f'"{COLOURS[0]}"' not in text and f'"{INK}"' not in text
    [style] = Page(text).raw["style"]
    dark = style.rsplit("prefers-color-scheme: dark", 1)
    assert text.count('fill="var(--colour-0)" stroke="var(--text)"') == 2
    assert "--colour-0:" in dark[0] and "--colour-0:" in dark[-1]


def test_it_is_small_and_soon_made() -> None:
    methods = [f"method_{i}" for i in range(16)] + ["sequential", "seq_lora", "ncm", "joint"]
    results = [
        make_result(make_spec(method, seed, tasks=tasks, backbone=backbone))[0]
        for method in methods
        for seed in range(3)
        for tasks, backbone in (((10,) * 5, "a"), ((5,) * 10, "a"), ((5,) * 10, "b"),
                                ((5,) * 10, "c"), ((3,) * 20, "a"))
    ]  # fmt: skip
    report = reported(results)
    start = time.process_time()
    text = render_page(report, by_key(results))
    assert time.process_time() - start < 3  # about 0.5 where nothing else runs
    assert len(text.encode()) < 2_000_000
    assert text == render_page(report, by_key(results))
