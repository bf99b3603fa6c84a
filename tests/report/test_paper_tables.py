"""Tables 1 to 5 of the paper: layout, our runs in them, and marks where settings differ."""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from synthetic_results import make_broken, make_result, make_spec

from benchmark.cli.report import show_report
from benchmark.config import expand, load_suite
from benchmark.report.build import collect_report
from benchmark.report.formats import csv_table, latex, markdown, terminal
from benchmark.report.formats.latex_text import escape
from benchmark.report.model import Table, TableRow, cell_text
from benchmark.report.notes import annotated
from benchmark.report.paper.layouts import LAYOUTS
from benchmark.report.paper.published import Setting
from benchmark.report.paper.reported import Reported, read_reported
from benchmark.report.paper.tables import (
    Numbers,
    differences,
    has_runs,
    other_splits,
    paper_tables,
)
from benchmark.report.rows import Block, make_blocks
from benchmark.results.store import ResultStore, spec_dict
from benchmark.spec import RunSpec

FOLDER = Path(__file__).resolve().parents[2] / "results" / "reported"
ALL: tuple[Numbers, ...] = get_args(Numbers)


@cache
def published() -> Reported:
    return read_reported(FOLDER)


@cache
def template() -> dict[str, Any]:
    return make_result(make_spec())[0]


@cache
def suite_specs(suite: str) -> tuple[RunSpec, ...]:
    return tuple(expand(load_suite(suite)))


def spec_of(suite: str, method: str, tasks: int, seed: int = 0, **wanted: str) -> dict[str, Any]:
    """The specification of one run of a shipped suite, as a result holds it."""
    (spec,) = (
        spec
        for spec in suite_specs(suite)
        if (spec.method, len(spec.tasks), spec.seed) == (method, tasks, seed)
        and all(getattr(spec, name) == value for name, value in wanted.items())
    )
    return spec_dict(spec)


def result_of(spec: dict[str, Any], final: float = 70.0, counts: Sequence[int] = ()) -> Any:
    """A finished run with this accuracy on every task at every stage."""
    made = copy.deepcopy(template())
    tasks = len(spec["tasks"])
    rows: list[list[float] | None] = [[final] * (stage + 1) for stage in range(tasks)]
    if spec["method"] == "joint":
        rows[:-1] = [None] * (tasks - 1)
    made["spec"] = spec
    made["outcome"] |= {
        "accuracy": rows,
        "test_counts": list(counts) or [100] * tasks,
        "losses": [[1.0]] * tasks,
    }
    names = ("train_seconds", "eval_seconds", "train_images_per_second")
    made["outcome"] |= {name: [1.0] * tasks for name in names}
    made["key"] = f"{abs(hash(repr(spec))):016x}"[:16]
    return made


def blocks_of(*results: Any) -> list[Block]:
    return annotated(make_blocks(results), [])


def tables_of(numbers: Numbers, *results: Any) -> list[Table]:
    return paper_tables(blocks_of(*results), published(), numbers)


def texts(table: Table, row: TableRow) -> list[str]:
    return [cell_text(c, k) for c, k in zip(row.cells, table.columns, strict=True)]


def notes(table: Table, label: str) -> list[str]:
    return [table.notes[number - 1] for number in table.row(label).notes]


# -- published numbers alone --------------------------------------------------------------------


@pytest.mark.parametrize("numbers", ALL)
def test_all_five_tables_are_there_without_any_run(numbers: Numbers) -> None:
    tables = tables_of(numbers)
    assert [table.title.split(":")[0] for table in tables] == [
        f"Table {i} (InfLoRA paper)" for i in range(1, 6)
    ]
    assert len({table.name for table in tables}) == 5
    for table in tables:
        assert not has_runs(table)
        for render in (markdown.render, latex.render, csv_table.render, terminal.plain):
            assert render(table)


def test_without_published_numbers_the_tables_are_blank_and_say_so() -> None:
    for numbers in ALL:
        for table in paper_tables([], Reported(), numbers):
            assert {text for row in table.rows for text in texts(table, row)} <= {"", "-"}
            assert ("No published numbers" in table.caption) == (numbers != "ours")


def test_the_layout_of_the_paper() -> None:
    first, second, third, fourth, fifth = tables_of("reported")
    assert [row.label for row in first.rows] == [
        "Joint", "Sequential", "L2P", "DualPrompt", "CODA-P", "C-LoRA", "LAE", "InfLoRA-b5",
        "InfLoRA",
    ]  # fmt: skip
    assert first.groups == [("5 tasks", 2), ("10 tasks", 2), ("20 tasks", 2)]
    assert [column.heading for column in first.columns[:2]] == ["Final (%)", "Average (%)"]
    assert [row.method for row in second.rows] == [row.method for row in first.rows]
    assert [group for group, _ in second.groups] == ["CIFAR100, 10 tasks", "DomainNet, 5 tasks"]
    assert [row.method for row in third.rows] == [
        "inflora_random", "inflora_nt", "inflora_mperp", "inflora",
    ]  # fmt: skip
    assert third.rows[0].label == "Random -> B_t"
    assert [group for group, _ in fourth.groups] == ["DINO", "iBOT"]
    assert [row.label for row in fifth.rows] == ["SLCA", "InfLoRA+CA"]
    assert "bounds" not in first.caption and len({row.section for row in first.rows}) == 2


def test_every_shown_number_is_that_of_the_file() -> None:
    seen = 0
    for layout, table in zip(LAYOUTS, tables_of("reported"), strict=True):
        for row in table.rows:
            for i, (cell, column) in enumerate(zip(row.cells, table.columns, strict=True)):
                split = layout.splits[i // 2]
                entries = published().find(
                    paper="inflora", table=layout.table, dataset=split.dataset,
                    tasks=split.tasks, backbone=split.backbone, method=row.method,
                    metric=column.key,
                )  # fmt: skip
                (entry,) = entries or (None,)
                if entry is None or entry.mean is None or entry.recalled:
                    assert cell_text(cell, column) == ""
                    continue
                seen += 1
                mark = "" if entry.verified else "?"
                assert cell_text(cell, column) == f"{entry.mean:.2f} ± {entry.std:.2f}{mark}"
    assert seen == 36 + 22 + 24 + 20 + 4


def test_blanks_of_the_paper_say_why() -> None:
    first, second, *_ = tables_of("reported")
    assert any("memory alone" in note for note in notes(first, "Joint"))
    assert any("no available source" in note for note in notes(first, "InfLoRA-b5"))
    assert notes(first, "InfLoRA") == []
    (note,) = notes(second, "InfLoRA")
    assert note.startswith("DomainNet, 5 tasks: ") and "memory alone" in note


# -- ours ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results() -> list[Any]:
    made = [
        result_of(spec_of("imagenet_r", "inflora", tasks, seed), 70.0 + seed)
        for tasks in (5, 10)
        for seed in (0, 1, 2)
    ]
    made.append(result_of(spec_of("imagenet_r", "joint", 10), 80.0))
    made.append(result_of(spec_of("imagenet_r", "ncm", 10), 50.0))
    made.append(result_of(spec_of("imagenet_r", "coda_p", 10), 71.47))
    made.append(result_of(spec_of("imagenet_r", "slca", 10), 60.0))
    return made


def test_published_and_ours_stand_side_by_side(results: list[Any]) -> None:
    table = tables_of("both", *results)[0]
    assert [c.title for c in table.columns[5:10]] == [
        "Final, paper", "Final, ours", "Avg., paper", "Avg., ours", "n",
    ]  # fmt: skip
    row = texts(table, table.row("InfLoRA"))
    assert row[:5] == ["77.52 ± 0.37", "71.00 ± 1.00", "82.01 ± 0.12", "71.00 ± 1.00", "3"]
    assert row[10:] == ["71.01 ± 0.45", "-", "77.28 ± 0.45", "-", "-"]
    assert texts(table, table.row("Joint"))[5:10] == ["", "80.00", "", "-", "1 of 3"]
    assert texts(table, table.row("CODA-P"))[5] == "71.47 ± 0.35?"
    assert texts(table, table.row("ncm"))[5:10] == ["", "50.00", "", "50.00", "1 of 3"]
    assert has_runs(table)


def test_the_cells_of_ours_know_their_runs_and_the_published_number(results: list[Any]) -> None:
    table = tables_of("both", *results)[0]
    paper, ours = table.row("InfLoRA").cells[5:7]
    assert paper.published is not None and paper.runs == ()
    assert ours.published == paper.published and len(ours.runs) == 3
    assert ours.published is not None and ours.published.mean == 75.65
    assert "split" not in ours.published.differs


def test_the_difference_is_ours_less_the_published(results: list[Any]) -> None:
    table = tables_of("delta", *results)[0]
    assert texts(table, table.row("InfLoRA")) == [
        "-6.52", "-11.01", "3", "-4.65", "-9.82", "3", "", "", "-",
    ]  # fmt: skip
    assert texts(table, table.row("CODA-P"))[3:5] == ["0.00?", "-4.35?"]
    assert texts(table, table.row("Joint"))[3:] == ["", "", "1 of 3", "", "", "-"]
    assert texts(table, table.row("ncm"))[3:6] == ["", "", "1 of 3"]
    assert not any("split: " in note for note in notes(table, "InfLoRA"))


def test_ours_alone(results: list[Any]) -> None:
    table = tables_of("ours", *results)[0]
    assert texts(table, table.row("InfLoRA"))[:3] == ["71.00 ± 1.00", "71.00 ± 1.00", "3"]
    assert texts(table, table.row("L2P"))[:3] == ["-", "-", "-"]
    assert not any("published" in note or "paper has" in note for note in table.notes)
    assert notes(table, "InfLoRA")[0] == "5 tasks and 10 tasks: ours on split inflora"


def test_methods_that_the_paper_has_not_come_after_its_own(results: list[Any]) -> None:
    first, second, third, fourth, fifth = tables_of("both", *results)
    assert [row.label for row in first.rows][-2:] == ["InfLoRA", "ncm"]
    assert first.rows[-1].section == 2
    assert "ncm" not in [row.method for table in (second, third, fourth) for row in table.rows]
    # Alignment: the paper's two, and InfLoRA to see what alignment adds.
    assert [row.method for row in fifth.rows] == ["slca", "inflora_ca", "inflora"]
    assert texts(fifth, fifth.rows[-1])[5:9] == ["", "71.00 ± 1.00", "", "71.00 ± 1.00"]
    assert "reported" not in fifth.caption
    assert [row.method for row in tables_of("reported", *results)[0].rows][-1] == "inflora"


def test_the_best_of_ours_are_marked_and_published_numbers_never(results: list[Any]) -> None:
    others = [
        result_of(spec_of("imagenet_r", "coda_p", 5, seed), 40.0 + seed) for seed in (0, 1, 2)
    ]
    table = tables_of("both", *results, *others)[0]
    marked = {(row.label, i) for row in table.rows for i, c in enumerate(row.cells) if c.best}
    assert marked == {("InfLoRA", 1), ("InfLoRA", 3)}
    assert "Bold" in table.caption and "Bold" not in tables_of("both")[0].caption


def test_n_of_n_and_failures(results: list[Any]) -> None:
    spec = spec_of("imagenet_r", "dualprompt", 10)
    broken = make_broken(make_spec())
    broken["spec"], broken["key"] = spec, "0" * 16
    wanted = {
        f"{seed}" * 16: spec
        for seed in (0, 3, 4)
        for spec in suite_specs("imagenet_r")
        if (spec.method, len(spec.tasks), spec.seed) == ("inflora", 10, seed)
    }
    blocks = annotated(make_blocks([*results, broken], wanted), [])
    table = paper_tables(blocks, published(), "both")[0]
    # The seed that is asked for by another key counts as not there yet.
    assert texts(table, table.row("InfLoRA"))[9] == "2 of 5"
    dual = texts(table, table.row("DualPrompt"))[5:10]
    assert (dual[0], dual[1], dual[4]) == ("65.41 ± 0.52?", "failed", "0 of 5")


def test_a_method_with_several_settings_makes_several_rows(results: list[Any]) -> None:
    spec = spec_of("imagenet_r", "inflora", 10)
    spec["settings"] = spec["settings"] | {"rank": 5}
    table = tables_of("both", *results, result_of(spec, 60.0))[0]
    rows = [row for row in table.rows if row.method == "inflora"]
    assert {row.label for row in rows} >= {"InfLoRA (rank=10)", "InfLoRA (rank=5)"}
    assert any("rank: ours 5, published 10" in n for n in notes(table, "InfLoRA (rank=5)"))
    assert not any("rank:" in note for note in notes(table, "InfLoRA (rank=10)"))


def test_published_numbers_stand_beside_the_settings_they_are_of() -> None:
    spec = spec_of("imagenet_r", "inflora", 10)
    other = spec | {"settings": spec["settings"] | {"rank": 5}}
    table = tables_of("both", result_of(spec), result_of(other, 60.0))[0]
    rows = {row.label: row for row in table.rows if row.method == "inflora"}
    assert set(rows) == {"InfLoRA", "InfLoRA (rank=10)", "InfLoRA (rank=5)"}
    groups = [column.group for column in table.columns]
    there = {group for group, cell in zip(groups, rows["InfLoRA (rank=5)"].cells, strict=True)
             if cell.published or cell.runs}  # fmt: skip
    assert there == {"10 tasks"}  # and not under 5 and 20 tasks, where no such run is
    own_notes = [table.notes[n - 1] for n in rows["InfLoRA (rank=5)"].notes]
    assert own_notes and not any("5 tasks:" in n or "20 tasks" in n for n in own_notes)
    own = rows["InfLoRA"].cells
    assert {g for g, cell in zip(groups, own, strict=True) if cell.published} == set(groups)
    assert not any(cell.runs for cell in own)
    for numbers in ("ours", "delta"):
        labels = {
            row.label for row in tables_of(numbers, result_of(spec), result_of(other))[0].rows
        }
        assert "InfLoRA" not in labels


# -- which runs belong there --------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"backbone": "vit_b16_in21k_in1k"},
        {"validation": 0.1},
        {"scenario": "domain", "tasks": [200] * 10},
        {"tasks": [110, *[10] * 9]},
        {"tasks": [20] * 9},
        {"dataset": "imagenet_a"},
    ],
)
def test_runs_of_something_else_are_not_taken(change: dict[str, Any]) -> None:
    spec = spec_of("imagenet_r", "inflora", 10) | change
    assert not any(has_runs(table) for table in tables_of("both", result_of(spec)))


def test_of_several_blocks_the_one_nearest_to_the_paper_counts(results: list[Any]) -> None:
    spec = spec_of("imagenet_r", "inflora", 10)
    shuffled = result_of(spec | {"order": "shuffled:1"}, 10.0)
    coda = result_of(spec | {"split": "coda"}, 20.0)
    own = result_of(spec | {"split": "default"}, 30.0)
    table = tables_of("both", shuffled, coda, own, *results)[0]
    assert texts(table, table.row("InfLoRA"))[6] == "71.00 ± 1.00"
    assert "shuffled class order" in table.caption and "split coda" in table.caption
    alone = tables_of("both", shuffled, coda)[0]
    assert texts(alone, alone.row("InfLoRA"))[6] == "20.00"
    assert any("ours coda" in note for note in notes(alone, "InfLoRA"))
    only = tables_of("both", shuffled)[0]
    assert texts(only, only.row("InfLoRA"))[6] == "10.00"
    assert "class order: ours shuffled, published natural" in " ".join(notes(only, "InfLoRA"))


def test_the_split_is_named_where_nothing_is_published() -> None:
    spec = spec_of("imagenet_r", "ncm", 10)
    table = tables_of("both", result_of(spec | {"split": "coda", "order": "shuffled:1"}))[0]
    assert notes(table, "ncm") == [
        "10 tasks: ours on split coda",
        "10 tasks: ours in class order shuffled",
    ]


# -- settings that differ -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "suite", ["imagenet_r", "cifar100", "domainnet", "imagenet_r_selfsup", "alignment"]
)
def test_the_shipped_suites_differ_in_nothing_that_is_known_but_the_split(suite: str) -> None:
    results = [result_of(spec_dict(s)) for s in suite_specs(suite) if s.seed == 0]
    for table in tables_of("both", *results):
        for row in table.rows:
            for cell in row.cells:
                differs = cell.published.differs if cell.runs and cell.published else ""
                known = ("not published: ", "split: ours default, published coda")
                others = [t for t in differs.split("; ") if t and not t.startswith(known)]
                assert not others, (table.title, row.label, others)
                beside = cell.runs and cell.published is not None
                assert not beside or ("split: " in differs) == (suite == "domainnet"), row.label


def test_a_row_beside_a_number_of_another_split_is_warned_of(tmp_path: Path) -> None:
    spec = spec_of("imagenet_r", "inflora", 10)
    coda = spec_of("imagenet_r", "coda_p", 10)
    assert other_splits(tables_of("both", result_of(spec), result_of(coda))) == []
    moved = [result_of(one | {"split": "default"}) for one in (spec, coda)]
    for numbers in ("both", "delta"):
        first, *more = other_splits(tables_of(numbers, *moved))
        assert first == (
            "Table 1 (InfLoRA paper): ImageNet-R: on another split than the published numbers "
            "beside them (ours default, published inflora): CODA-P, InfLoRA"
        )
        assert [text.split(":")[0] for text in more] == ["Table 3 (InfLoRA paper)"]
    assert other_splits(tables_of("ours", *moved)) == []
    assert other_splits(tables_of("reported", *moved)) == []
    note = "10 tasks: split: ours default, published inflora"
    assert note in notes(tables_of("both", *moved)[0], "InfLoRA")


@pytest.mark.parametrize("split", ["inflora", "default", "coda"])
def test_the_report_warns_of_another_split(split: str, tmp_path: Path) -> None:
    spec = make_spec(dataset="imagenet_r", tasks=(20,) * 10, backbone="vit_b16_in21k", split=split)
    ResultStore(tmp_path).write(*make_result(spec))
    problems = collect_report(tmp_path).problems
    assert [f"(ours {split}, published inflora)" in text for text in problems] == (
        [True] * 2 if split != "inflora" else []
    )
    shown = io.StringIO()
    with redirect_stderr(shown), redirect_stdout(io.StringIO()):
        show_report(collect_report(tmp_path))
    assert all(problem[:60] in shown.getvalue() for problem in problems)


def test_a_split_that_nobody_tells_is_unknown() -> None:
    (row,) = blocks_of(result_of(spec_of("imagenet_r", "inflora", 10)))[0].rows
    assert differences(Setting(split="unknown"), row) == ["split: ours inflora, published unknown"]
    assert differences(Setting(), row) == ["split: ours inflora, published unknown"]
    (row,) = blocks_of(result_of(spec_of("cifar100", "inflora", 10)))[0].rows
    assert differences(Setting(), row) == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"order": "shuffled:3"}, "class order: ours shuffled, published natural"),
        ({"order": "coda:3"}, "class order: ours coda, published natural"),
        ({"order": "/home/me/mine.txt"}, "class order: ours mine.txt, published natural"),
        ({"input_range": "native"}, "input range: ours native, published unit"),
        ({"precision": "bf16"}, "precision: ours bf16, published fp32"),
        ({"recipe": {"epochs": 1}}, "epochs: ours 1, published 20"),
        ({"recipe": {"batch_size": 32}}, "batch_size: ours 32, published 128"),
        ({"recipe": {"lr": 0.001}}, "lr: ours 0.001, published 0.0005"),
        ({"recipe": {"optimizer": "sgd"}}, "optimizer: ours sgd, published adam"),
        ({"recipe": {"schedule": "constant"}}, "schedule: ours constant, published late_cosine"),
        ({"settings": {"rank": 16}}, "rank: ours 16, published 10"),
        ({"settings": {"lamb": 1}}, "lamb: ours 1, published 0.95"),
        ({"settings": {"lame": 1}}, ""),  # 1 is 1.0
        ({"backbone_file": "/w/x.npz"}, "backbone weights: ours from a file given by hand"),
        ({"recipe": {"weight_decay": 0.1}}, "weight_decay: ours 0.1, published 0"),
        ({"recipe": {"betas": [0.5, 0.9]}}, "betas: ours [0.5, 0.9], published [0.9, 0.999]"),
        ({"recipe": {"clip_norm": 1.0}}, "clip_norm: ours 1, published 0"),
        ({"recipe": {"drop_last": True}}, "drop_last: ours true, published false"),
        (
            {"recipe": {"lr_scales": {"heads": 10.0}}},
            'lr_scales: ours {"heads": 10.0}, published {}',
        ),
        (
            {"settings": {"projection": "two_sided"}},
            "projection: ours two_sided, published one_sided",
        ),
        ({"recipe": {"momentum": 0.5}}, ""),  # of SGD alone, and not published
    ],
)
def test_each_difference_is_marked(change: dict[str, Any], text: str) -> None:
    spec = spec_of("cifar100", "inflora", 10)
    for name, value in change.items():
        spec[name] = spec[name] | value if isinstance(value, dict) else value
    table = tables_of("both", result_of(spec))[1]
    found = [n for n in notes(table, "InfLoRA") if "DomainNet" not in n]
    assert found == ([f"CIFAR100, 10 tasks: {text}"] if text else [])
    published_number = table.row("InfLoRA").cells[1].published
    assert published_number is not None and published_number.differs == text


def test_how_a_stage_s_accuracy_is_weighed_matters_for_uneven_test_sets() -> None:
    spec = spec_of("imagenet_r", "inflora", 10)
    even = tables_of("both", result_of(spec))[0]
    uneven = tables_of("both", result_of(spec, counts=[*[90] * 9, 91]))[0]
    assert not any("weighs" in note for note in even.notes)
    assert any("the published perhaps test images" in n for n in notes(uneven, "InfLoRA"))
    cifar = spec_of("cifar100", "inflora", 10)
    assert not any("weighs" in n for n in tables_of("both", result_of(cifar))[1].notes)


def test_settings_of_other_papers_are_compared_alike() -> None:
    (line,) = blocks_of(result_of(spec_of("cifar100", "inflora", 10), counts=[1] * 10))[0].rows
    (shuffled,) = published().find(
        paper="logs", table="class order of seed 1993", dataset="cifar100", metric="final"
    )
    assert differences(shuffled.setting, line) == [
        "class order: ours natural, published shuffled:1993"
    ]
    spec = spec_of("cifar100", "slca", 10) | {"order": "shuffled:1"}
    (line,) = blocks_of(result_of(spec))[0].rows
    (slca, _) = published().find(paper="slca", table="own results", dataset="cifar100")
    assert differences(slca.setting, line) == []


# -- forms --------------------------------------------------------------------------------------


@pytest.mark.parametrize("numbers", ALL)
def test_every_form_shows_the_same_numbers(numbers: Numbers, results: list[Any]) -> None:
    for table in tables_of(numbers, *results):
        for render in (markdown.render, terminal.plain):
            lines = render(table)
            for row in table.rows:
                for text in texts(table, row):
                    assert text in lines
        compiled = latex.render(table)
        for row in table.rows:
            for text in texts(table, row):
                assert escape(text) in compiled
        assert terminal.drawn(table, 60)


def test_csv_has_published_numbers_and_whether_they_are_verified(results: list[Any]) -> None:
    def rows(numbers: Numbers) -> dict[str, dict[str, str]]:
        text = csv_table.render(tables_of(numbers, *results)[0])
        heads = text.splitlines()[0].split(",")
        assert len(heads) == len(set(heads))
        return {row["row"]: row for row in csv.DictReader(io.StringIO(text))}

    both = rows("both")
    assert both["InfLoRA"]["10 tasks: final_reported_mean"] == "75.65"
    assert both["InfLoRA"]["10 tasks: final_reported_std"] == "0.14"
    assert both["InfLoRA"]["10 tasks: final_reported_verified"] == "true"
    assert both["InfLoRA"]["10 tasks: final_mean"] == "71.0"
    assert both["CODA-P"]["10 tasks: final_reported_verified"] == "false"
    assert both["Joint"]["10 tasks: final_reported_mean"] == ""
    assert both["Joint"]["10 tasks: final_reported_verified"] == ""
    delta = rows("delta")
    assert float(delta["InfLoRA"]["10 tasks: final_difference"]) == pytest.approx(-4.65)
    assert delta["Joint"]["10 tasks: final_difference"] == ""
