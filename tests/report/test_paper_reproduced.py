"""The paper's tables number by number: paper, official log, ours, difference, and the page."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from html_page import Page
from synthetic_results import make_result

from benchmark.config import expand, load_suite
from benchmark.report.build import collect_report
from benchmark.report.formats import csv_table, latex, markdown, terminal
from benchmark.report.model import Table, TableRow, cell_text
from benchmark.report.notes import annotated
from benchmark.report.page import render_page
from benchmark.report.paper.layouts import LAYOUTS
from benchmark.report.paper.reported import Reported, read_reported
from benchmark.report.paper.reproduced import tables_in
from benchmark.report.paper.tables import has_runs
from benchmark.report.rows import make_blocks
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

FOLDER = Path(__file__).resolve().parents[2] / "results" / "reported"
HEADINGS = ["paper (%)", "official log (%)", "ours (%)", "difference (points)"]


@cache
def published() -> Reported:
    return read_reported(FOLDER)


@cache
def specs(suite: str) -> tuple[RunSpec, ...]:
    return tuple(expand(load_suite(suite)))


def results(*wanted: tuple[str, str, int, int], **changes: Any) -> list[Any]:
    """Finished runs by suite, method, number of tasks and number of seeds."""
    return [
        make_result(replace(spec, **changes))[0]
        for suite, method, tasks, seeds in wanted
        for spec in specs(suite)
        if (spec.method, len(spec.tasks)) == (method, tasks) and spec.seed < seeds
    ]


def table(number: int, made: list[Any], reported: Reported | None = None) -> Table:
    blocks = annotated(make_blocks(made), [])
    return tables_in("reproduced", blocks, reported or published())[number - 1]


def texts(table: Table, row: TableRow) -> list[str]:
    return [cell_text(c, k) for c, k in zip(row.cells, table.columns, strict=True)]


def notes(table: Table, label: str) -> list[str]:
    return [table.notes[number - 1] for number in table.row(label).notes]


def with_splits(paper: str, log: str) -> Reported:
    """The published numbers with these splits of the paper's and of the logs' on ImageNet-R."""
    named = {"inflora": paper, "logs": log, "first_logs": log}
    return Reported(
        tuple(
            replace(entry, setting=replace(entry.setting, split=named[entry.paper]))
            if entry.paper in named and entry.dataset == "imagenet_r"
            else entry
            for entry in published().entries
        )
    )


def test_every_number_has_a_line_of_its_own() -> None:
    first = table(1, [])
    assert [group for group, _ in first.groups] == ["Final", "Average", "Runs"]
    assert [column.heading for column in first.columns[:8]] == HEADINGS * 2
    labels = [row.label for row in first.rows]
    assert len(labels) == len(set(labels)) == 27
    assert labels[8::9] == ["InfLoRA, 5 tasks", "InfLoRA, 10 tasks", "InfLoRA, 20 tasks"]
    assert [row.section for row in first.rows] == [3] * 9 + [4] * 9 + [5] * 9
    ten = texts(first, first.row("InfLoRA, 10 tasks"))
    assert ten == ["75.65 ± 0.14", "74.81 ± 0.39", "-", "",
                   "80.82 ± 0.24", "80.19 ± 0.62", "-", "", "-"]  # fmt: skip
    assert texts(first, first.row("InfLoRA, 5 tasks"))[1] == ""  # no log, and the caption says so
    assert "no log of such a run is known" in first.caption
    assert texts(first, first.row("L2P, 10 tasks"))[:2] == ["62.54 ± 0.24?", ""]


@pytest.mark.parametrize(
    ("number", "label", "logged"),
    [
        (1, "InfLoRA-b5, 10 tasks", ("73.31", "77.97")),
        (2, "InfLoRA, CIFAR100, 10 tasks", ("86.33 ± 0.81", "91.18 ± 0.40")),
        (2, "InfLoRA-b5, CIFAR100, 10 tasks", ("86.34", "91.42")),
        (2, "InfLoRA, DomainNet, 5 tasks", ("", "")),
        (3, "N_t & M_t^perp -> B_t, 10 tasks", ("74.81 ± 0.39", "80.19 ± 0.62")),
        (5, "InfLoRA+CA, CIFAR100", ("91.66", "94.51")),
        (5, "InfLoRA+CA, ImageNet-R", ("79.32", "83.19")),
        (5, "SLCA, CIFAR100", ("", "")),
    ],
)
def test_the_official_logs(number: int, label: str, logged: tuple[str, str]) -> None:
    found = table(number, [])
    row = texts(found, found.row(label))
    assert (row[1], row[5]) == logged
    if logged[0] and "±" not in logged[0]:
        assert "official log: of a single run" in notes(found, label)
    told = any("fit split inflora" in note for note in notes(found, label))
    assert told == (logged[0] != "" and "CIFAR100" not in label)


def test_ours_and_the_difference_stand_beside_them() -> None:
    made = results(("imagenet_r", "inflora", 10, 3), ("imagenet_r", "ncm", 10, 1))
    first = table(1, made)
    row = first.row("InfLoRA, 10 tasks")
    found = texts(first, row)
    ours = row.cells[2].summary
    assert (ours.n, found[8]) == (3, "3")
    assert found[2] == f"{ours.mean:.2f} ± {ours.std:.2f}"
    assert found[3] == f"{ours.mean - 75.65:+.2f}"
    assert len(row.cells[2].runs) == 3 and row.cells[1].runs == ()
    # What the paper's table has not stands below its own rows of that number of tasks.
    labels = [one.label for one in first.rows]
    assert labels.index("ncm, 10 tasks") == labels.index("InfLoRA, 10 tasks") + 1
    assert "ncm, 5 tasks" not in labels
    assert has_runs(first) and not has_runs(table(2, made))


def test_a_log_on_another_split_than_the_paper_s_word_says_so() -> None:
    made = results(("imagenet_r", "inflora", 10, 2))
    said = "official log: fits split inflora; the paper's number names "
    for paper in ("coda", "a random one"):
        found = table(1, made, with_splits(paper, "inflora"))
        assert f"{said}another: {paper}" in notes(found, "InfLoRA, 10 tasks")
        assert not any("official log: fits" in note for note in notes(found, "InfLoRA, 5 tasks"))
    for paper in ("", "unknown"):
        found = table(1, made, with_splits(paper, "inflora"))
        assert f"{said}none" in notes(found, "InfLoRA, 10 tasks")
    for paper, log in (("inflora", "inflora"), ("coda", "")):
        found = table(1, made, with_splits(paper, log))
        assert not any("official log: fits" in note for note in found.notes)


def test_what_differs_from_the_log_alone_is_said_of_the_log() -> None:
    made = results(("imagenet_r", "inflora", 10, 1), split="coda")
    found = notes(table(1, made, with_splits("coda", "inflora")), "InfLoRA, 10 tasks")
    assert "official log: split: ours coda, published inflora" in found
    assert "split: ours coda, published coda" not in found
    both = notes(table(1, made, with_splits("inflora", "inflora")), "InfLoRA, 10 tasks")
    assert "split: ours coda, published inflora" in both
    assert not any(note.startswith("official log: split") for note in both)


def test_transforms_that_differ_from_the_published_are_said() -> None:
    (spec, *_) = (s for s in specs("cifar100") if s.method == "inflora")
    other = replace(
        spec,
        augmentation=replace(spec.augmentation, scale=(0.5, 1.0)),  # type: ignore[type-var]
        evaluation=replace(spec.evaluation, interpolation="bicubic"),
    )
    found = notes(table(2, [make_result(other)[0]]), "InfLoRA, CIFAR100, 10 tasks")
    assert "augmentation scale: ours [0.5, 1], published [0.08, 1]" in found
    assert "evaluation interpolation: ours bicubic, published bilinear" in found
    none = notes(
        table(2, [make_result(replace(spec, augmentation="none"))[0]]),
        "InfLoRA, CIFAR100, 10 tasks",
    )
    assert any(note.startswith("augmentation: ours none, published scale") for note in none)


def test_several_settings_of_ours_make_several_lines() -> None:
    spec = next(s for s in specs("imagenet_r") if (s.method, len(s.tasks)) == ("inflora", 10))
    made = [make_result(one)[0] for one in (spec, replace(spec, input_range="native"))]
    labels = [row.label for row in table(1, made).rows if row.method == "inflora"]
    assert "InfLoRA (input_range=native), 10 tasks" in labels
    assert "InfLoRA (input_range=native), 5 tasks" not in labels


def test_every_form_shows_the_same_numbers() -> None:
    made = results(("alignment", "inflora_ca", 10, 2), ("alignment", "slca", 10, 2))
    for number in range(1, 6):
        found = table(number, made)
        for render in (markdown.render, terminal.plain):
            text = render(found)
            assert all(cell in text for row in found.rows for cell in texts(found, row))
        assert latex.render(found) and terminal.drawn(found, 70)
        heads = csv_table.render(found).splitlines()[0].split(",")
        assert len(heads) == len(set(heads))
    (row,) = (
        row
        for row in csv.DictReader(io.StringIO(csv_table.render(table(5, made))))
        if row["row"] == "InfLoRA+CA, ImageNet-R"
    )
    assert row["Final: final_logged_mean"] == "79.319"
    assert row["Final: final_reported_mean"] == "" and row["Final: final_difference"] == ""


def test_the_page_shows_all_four(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results")
    for spec in specs("imagenet_r"):
        if (len(spec.tasks), spec.seed) == (10, 0) and spec.method in ("inflora", "coda_p"):
            store.write(*make_result(spec))
    made = collect_report(store.root)
    page = Page(render_page(made, made.results))
    (found,) = [one for one in made.tables if one.name == "paper-table-1-reproduced"]
    # InfLoRA is in Table 3 too, and below the rows of Table 5.
    assert [one.name for one in made.printed if one.name.startswith("paper")] == [
        found.name, "paper-table-3-reproduced", "paper-table-5-reproduced",
    ]  # fmt: skip
    assert len([row for row in page.rows if row[-9:-5] == HEADINGS]) == 3
    row = found.row("InfLoRA, 10 tasks")
    shown = [cells for cells in page.rows if cells[0].startswith("InfLoRA, 10 tasks")]
    assert [cells[1:] for cells in shown] == [texts(found, row)]
    assert shown[0][1:3] == ["75.65 ± 0.14", "74.81 ± 0.39"]
    (data,) = [one for one in page.data["tables"] if one["title"] == found.title]
    logged = data["rows"][[r.label for r in found.rows].index(row.label)]["cells"][1]
    assert logged["published"]["mean"] == 74.813 and "runs" not in logged


@pytest.mark.parametrize("form", ["reported", "ours", "both", "delta", "reproduced"])
def test_a_form_that_is_asked_for_shows_all_five_tables(tmp_path: Path, form: Any) -> None:
    report = collect_report(tmp_path, paper=form)
    names = [one.name for one in report.tables if one.name.startswith("paper")]
    assert names == [f"{layout.name}-{form}" for layout in LAYOUTS]
