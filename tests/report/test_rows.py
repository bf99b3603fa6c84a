"""What may be averaged, what stands beside what, and what is said about it."""

from __future__ import annotations

from typing import Any

import pytest
from synthetic_results import make_broken, make_result, make_spec

from benchmark.report.formats.terminal import plain
from benchmark.report.formatting import task_text
from benchmark.report.notes import annotated
from benchmark.report.rows import Block, Row, make_blocks
from benchmark.report.tables import block_table
from benchmark.spec import Augmentation, Evaluation, Normalisation, Recipe, RunSpec


def finished(spec: RunSpec, **options: Any) -> Any:
    return make_result(spec, **options)[0]


def one_block(*results: Any, **options: Any) -> Block:
    [block] = annotated(make_blocks(results, **options))
    return block


def line_of(block: Block, label: str) -> Row:
    return next(line for line in block.rows if line.label == label)


@pytest.mark.parametrize("kind", ["shuffled", "coda"])
def test_only_seeds_and_class_orders_are_averaged(kind: str) -> None:
    specs = [make_spec(seed=seed, order=f"{kind}:{seed}") for seed in range(3)]
    block = one_block(*map(finished, specs))
    assert f"{kind} class order" in block.title and block.name.endswith(f"-{kind}")
    [line] = block.rows
    assert (line.label, len(line.done), line.total) == ("inflora", 3, 3)
    assert line.notes == ()


def test_other_conditions_make_other_blocks() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"dataset": "cifar100"},
        {"backbone": "tiny_dino"},
        {"order": "shuffled:0"},
        {"order": "coda:0"},
        {"order": "lists/mine.txt"},
        {"tasks": (10,)},
        {"validation": 0.2},
        {"split": "coda"},
        {"scenario": "domain"},
        {"protocol": 99},
    ]
    blocks = make_blocks([finished(make_spec(**change)) for change in changes])
    assert len(blocks) == len(changes)
    assert len({block.name for block in blocks}) == len(changes)
    assert len({block.title for block in blocks}) == len(changes)
    assert any("validation split 0.2, not the test images" in block.title for block in blocks)


def test_names_of_blocks_are_safe_and_apart() -> None:
    specs = [make_spec(backbone=name) for name in ("file:/a b/c.pt", "file:/a_b/c.pt")]
    names = [block.name for block in make_blocks(map(finished, specs))]
    assert len(set(names)) == 2
    assert all("/" not in name and " " not in name for name in names)


def test_uneven_splits_of_one_first_task_keep_their_names() -> None:
    splits = [(3, 2, 2), (3, 3, 1), (3, 1, 1, 1, 1), (3, 2, 1, 1)]
    alone = [make_blocks([finished(make_spec(tasks=tasks))])[0].name for tasks in splits]
    assert len(set(alone)) == len(splits)  # also where each is made by a command of its own
    assert alone[0] == "icons-3tasks-3-2x2-tiny_sup-natural"
    together = make_blocks([finished(make_spec(tasks=tasks)) for tasks in splits])
    assert {block.name for block in together} == set(alone)


def test_other_settings_make_rows_named_by_what_differs() -> None:
    specs = [
        make_spec(settings={"rank": 5, "share": 0.5}),
        make_spec(settings={"rank": 10, "share": 0.5}),
        make_spec("l2p", recipe=Recipe(lr=0.01)),
        make_spec("l2p", recipe=Recipe(lr=0.02, betas=(0.8, 0.999))),
        make_spec("slca", input_range="native"),
        make_spec("slca", precision="bf16"),
        make_spec("coda_p"),
        make_spec("l2p_pp", augmentation=Augmentation(flip=0.0)),
        make_spec("l2p_pp", augmentation=Augmentation(scale=(0.5, 1.0), flip=0.0)),
        make_spec("lae", augmentation=Augmentation()),
        make_spec("lae", augmentation="none"),
        make_spec("c_lora", evaluation=Evaluation(interpolation="bicubic")),
        make_spec("c_lora", augmentation=Augmentation(interpolation="bicubic")),
        make_spec("dualprompt", input_range=Normalisation((0.5,) * 3, (0.5,) * 3)),
        make_spec("dualprompt"),
    ]
    block = one_block(*map(finished, specs))
    assert {line.label for line in block.rows} == {
        "inflora (rank=5)",
        "inflora (rank=10)",
        "l2p (lr=0.01, betas=[0.9, 0.999])",
        "l2p (lr=0.02, betas=[0.8, 0.999])",
        "slca (input_range=native, precision=fp32)",
        "slca (input_range=unit, precision=bf16)",
        "coda_p",
        "l2p_pp (scale=[0.08, 1])",
        "l2p_pp (scale=[0.5, 1])",
        "lae (augmentation=random)",
        "lae (augmentation=none)",
        "c_lora (interpolation=bilinear, evaluation.interpolation=bicubic)",
        "c_lora (interpolation=bicubic, evaluation.interpolation=bilinear)",
        "dualprompt (mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])",
        "dualprompt (input_range=unit)",
    }
    assert all(len(line.done) == 1 for line in block.rows)
    assert {line.variant for line in block.rows if line.method == "inflora"} == {0, 1}


def test_order_of_rows() -> None:
    methods = ["joint", "l2p", "inflora", "ncm", "linear_probe", "seq_lora", "sequential"]
    block = one_block(
        *(finished(make_spec(method)) for method in methods), make_broken(make_spec("slca"))
    )
    assert [line.label for line in block.rows] == [
        "sequential", "seq_lora", "linear_probe", "ncm", "inflora", "l2p", "slca", "joint",
    ]  # fmt: skip


def test_failed_runs_are_told_and_never_averaged() -> None:
    good = finished(make_spec(seed=0))
    bad = [make_broken(make_spec(seed=seed), error="no\n  memory") for seed in (1, 2)]
    stopped = make_broken(make_spec(seed=3), status="interrupted", error="stopped")
    [line] = one_block(good, *bad, stopped).rows
    assert [run.result["key"] for run in line.done] == [good["key"]]
    assert line.total == 4
    assert line.notes == ("seeds 1, 2 failed: no memory", "seed 3 interrupted: stopped")


def test_long_errors_are_cut() -> None:
    [line] = one_block(make_broken(make_spec(), error="x" * 1000)).rows
    assert len(line.notes[0]) < 200


def test_runs_of_older_code_never_mix_with_newer_ones() -> None:
    old = [finished(make_spec(seed=s), source="old", started=f"2026-01-0{s + 1}") for s in range(3)]
    new = [finished(make_spec(seed=s), source="new", started=f"2026-02-0{s + 1}") for s in range(2)]
    [line] = one_block(*old, *new).rows
    assert {run.result["key"] for run in line.done} == {result["key"] for result in new}
    assert line.notes == ("3 results left out: of different code, data or weights",)


def test_a_run_that_broke_off_on_newer_code_hides_no_finished_one() -> None:
    done = [finished(make_spec(seed=s), source="old", started="2026-01-01") for s in range(3)]
    broken = make_broken(make_spec(seed=1), "interrupted", "stopped")
    broken["environment"] = done[1]["environment"] | {
        "method_source_hash": "new",
        "started": "2027",
    }
    broken["key"] = "b" * 16
    [line] = one_block(*done, broken).rows
    assert (len(line.done), line.total, line.left_out) == (3, 3, 1)
    assert line.notes == ("1 result left out: of different code, data or weights",)
    [line] = one_block(broken).rows
    assert (len(line.done), len(line.broken)) == (0, 1)


def test_expected_runs_decide_which_code_counts() -> None:
    old = [finished(make_spec(seed=s), source="old", started="2026-01-01") for s in range(2)]
    new = [finished(make_spec(seed=s), source="new", started="2026-02-01") for s in range(2)]
    expected = {result["key"]: make_spec(seed=s) for s, result in enumerate(old)}
    other = finished(make_spec(dataset="cifar100"))  # no run of this block is expected
    [line] = one_block(*old, *new, other, expected=expected).rows
    assert {run.result["key"] for run in line.done} == set(expected)


def test_results_of_changed_code_do_not_stand_in_for_expected_runs() -> None:
    old = [finished(make_spec(seed=s), source="old") for s in range(2)]
    new = [finished(make_spec(seed=s), source="new") for s in range(2)]
    expected = {result["key"]: make_spec(seed=s) for s, result in enumerate(new)}
    [line] = one_block(*old, expected=expected).rows
    assert (line.done, line.total) == ((), 2)
    assert line.notes == ("2 results left out: of different code, data or weights",)


def test_expected_runs_that_are_missing_count() -> None:
    done = finished(make_spec(seed=0))
    expected = {done["key"]: make_spec(seed=0)}
    expected |= {f"{s:016x}": make_spec(seed=s) for s in (1, 2)}
    expected |= {"a" * 16: make_spec("slca")}
    block = one_block(done, finished(make_spec("l2p")), expected=expected)
    assert (len(line_of(block, "inflora").done), line_of(block, "inflora").total) == (1, 3)
    assert (len(line_of(block, "slca").done), line_of(block, "slca").total) == (0, 1)
    assert (len(line_of(block, "l2p").done), line_of(block, "l2p").total) == (1, 3)


def test_a_row_should_have_every_class_order_and_seed_of_its_block() -> None:
    runs = [finished(make_spec(seed=s)) for s in range(3)]
    block = one_block(
        *runs, finished(make_spec("l2p", seed=0)), finished(make_spec("slca", seed=7))
    )
    totals = {line.label: (len(line.done), line.total) for line in block.rows}
    assert totals == {"inflora": (3, 4), "l2p": (1, 4), "slca": (1, 4)}
    assert "1 of 4" in plain(block_table(block))


def test_class_orders_of_one_file_name_make_blocks_of_two_titles() -> None:
    blocks = make_blocks([finished(make_spec(order=f"/x/{d}/order.txt")) for d in ("a", "b")])
    assert [block.title.rpartition(", ")[2] for block in blocks] == [
        "a/order.txt class order",
        "b/order.txt class order",
    ]


def test_an_early_death_is_forgotten_once_the_run_has_succeeded_under_another_key() -> None:
    broken = make_broken(make_spec()) | {"key": "b" * 16}
    [line] = one_block(broken, finished(make_spec())).rows
    assert (len(line.done), line.broken, line.total) == (1, (), 1)


def test_task_text() -> None:
    assert task_text((10,) * 10) == "10 tasks of 10 classes"
    assert task_text((50, 10, 10)) == "3 tasks of 50 + 2 x 10 classes"
    assert task_text((1,)) == "1 task of 1 class"
