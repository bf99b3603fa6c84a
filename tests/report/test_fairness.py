"""Planted inequalities are found, in the right row and in words; the shipped suites have none."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic_results import make_broken, make_result, make_spec

from benchmark.cli import main
from benchmark.config import expand, load_suite, suite_files
from benchmark.report.build import build_report
from benchmark.report.fairness.check import UnfairError, unfair
from benchmark.report.notes import annotated
from benchmark.report.rows import Block, make_blocks
from benchmark.report.tables import block_table
from benchmark.results.schema import BATCH_MARK
from benchmark.results.store import ResultStore, spec_dict
from benchmark.spec import Recipe, RunSpec

METHODS = ("sequential", "ncm", "l2p", "inflora", "joint")
ODD = "l2p"  # the row that gets an inequality
SOURCES = {"benchmark/engine/trainer.py": "0" * 12, "benchmark/data/stream.py": "1" * 12}
INPUTS = {"image size": "32", "augmentation": "CropFlip(scale=(0.5, 1.0))", "pixel range": "0, 1"}
Change = Callable[[dict[str, Any]], None]


def campaign(**changes: Any) -> list[Any]:
    """Three seeds of five methods, every seed with its own class order; ncm trains nothing."""
    results = []
    for method in METHODS:
        for seed in range(3):
            spec = make_spec(method, seed, **({"order": f"shuffled:{seed}"} | changes))
            result = make_result(spec, source=f"{method} source")[0]
            result["environment"] |= {
                "sources": {**SOURCES, f"methods/{method}.py": "2" * 12},
                "inputs": INPUTS,
            }
            if method == "ncm":
                result["outcome"]["trainable_parameters"] = [0] * 5
            results.append(result)
    return results


def of(results: list[Any], method: str = ODD) -> list[Any]:
    return [result for result in results if result["spec"]["method"] == method]


def block_of(results: list[Any]) -> Block:
    [block] = annotated(make_blocks(results), ())
    return block


def remarks(block: Block) -> dict[str, tuple[str, ...]]:
    return {line.label: line.notes for line in block.rows if line.notes}


def put(block: str, key: str, value: Any) -> Change:
    def change(result: dict[str, Any]) -> None:
        result[block][key] = value

    return change


def put_in(block: str, outer: str, key: str, value: Any) -> Change:
    def change(result: dict[str, Any]) -> None:
        result[block] = copy.deepcopy(result[block])
        result[block][outer][key] = value

    return change


# What is planted into one row, and what has to be said of it.
PLANTED: dict[str, tuple[Change, str]] = {
    "other weights under the same name": (
        put("environment", "weight_hash", "f" * 64),
        "backbone weights ffffffff; the other rows have weights",
    ),
    "input range": (
        put("spec", "input_range", "native"),
        "input range native; the other rows have unit",
    ),
    "the same input range with other numbers": (
        put_in("environment", "inputs", "pixel range", "-1, 1"),
        "unit input range -1, 1; the other rows have 0, 1",
    ),
    "augmentation": (
        put_in("environment", "inputs", "augmentation", "CropFlip(scale=(0.9, 1.0))"),
        "augmentation CropFlip(scale=(0.9, 1.0)); the other rows have CropFlip(scale=(0.5, 1.0))",
    ),
    "image size": (
        put_in("environment", "inputs", "image size", "64"),
        "image size 64; the other rows have 32",
    ),
    "epochs": (put_in("spec", "recipe", "epochs", 60), "60 epochs; the other rows have 20"),
    "batch size": (
        put_in("spec", "recipe", "batch_size", 16),
        "batch size 16; the other rows have 128",
    ),
    "incomplete batches": (
        put_in("spec", "recipe", "drop_last", True),
        "drop incomplete batches true; the other rows have false",
    ),
    "precision": (put("spec", "precision", "bf16"), "precision bf16; the other rows have fp32"),
    "other test images": (
        put("outcome", "test_counts", [40, 40, 40, 40, 39]),
        "test images per task (shuffled:0 order) 40, 40, 40, 40, 39; the other rows have 40",
    ),
    "uncommitted code": (put("environment", "dirty", True), "ran on uncommitted code"),
    "other code of the runner": (
        put_in("environment", "sources", "benchmark/data/stream.py", "9" * 12),
        "different code in benchmark/data/stream.py",
    ),
    "other packages": (
        put_in("environment", "packages", "torch", "2.0.0"),
        "torch version 2.0.0; the other rows have 2.6.0",
    ),
    "a mark": (put("outcome", "marks", [BATCH_MARK]), BATCH_MARK),
}


def test_equal_conditions_raise_nothing() -> None:
    block = block_of(campaign())
    assert remarks(block) == {}
    assert unfair([block]) == []


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_inequality_is_found_in_its_row_alone(name: str) -> None:
    change, words = PLANTED[name]
    results = campaign()
    for result in of(results):
        change(result)
    block = block_of(results)
    found = remarks(block)
    assert list(found) == [ODD]
    assert any(text.startswith(words) for text in found[ODD]), found
    assert unfair([block]) == [f"{block.title}: {ODD}: {text}" for text in found[ODD]]
    table = block_table(block)
    assert [table.notes[n - 1] for n in table.row(ODD).notes] == list(found[ODD])


def test_what_a_method_says_of_a_run_is_noted_and_no_inequality() -> None:
    results = campaign()
    of(results)[1]["outcome"]["marks"] = ["free space below the rank"]
    block = block_of(results)
    assert remarks(block) == {ODD: ("free space below the rank",)}
    assert unfair([block]) == []


@pytest.mark.parametrize("name", ["uncommitted code", "other code of the runner", "other packages"])
def test_a_row_that_is_mixed_within_itself_says_how_many_of_its_runs(name: str) -> None:
    change, words = PLANTED[name]
    results = campaign()
    change(of(results)[1])
    [text] = remarks(block_of(results))[ODD]
    assert text.startswith(words.partition(";")[0])
    assert "(1 of 3 runs)" in text


def test_the_same_data_set_with_other_images_is_found_for_the_order_it_has() -> None:
    results = campaign()
    of(results)[2]["environment"]["data_manifest_hash"] = "other"
    assert remarks(block_of(results)) == {
        ODD: ("data (shuffled:2 order) other; the other rows have data shuffled:2",)
    }


def test_a_class_order_file_of_the_same_name_with_another_content_is_found() -> None:
    results = campaign(order="lists/order.txt")
    for result in of(results):
        result["environment"]["data_manifest_hash"] = "a" * 64
    [[text]] = remarks(block_of(results)).values()
    assert text.startswith("data (lists/order.txt order) aaaaaaaa; the other")


def test_another_class_order_of_the_same_seeds_is_found() -> None:
    results = [r for r in campaign() if r["spec"]["method"] != ODD]
    results += [make_result(make_spec(ODD, seed, order="shuffled:0"))[0] for seed in range(3)]
    for result in of(results):
        result["environment"] |= {"sources": SOURCES, "inputs": INPUTS}
    [text] = remarks(block_of(results))[ODD]
    assert text == "class order shuffled:0; the other rows have shuffled:0, shuffled:1, shuffled:2"


def test_orders_and_seeds_paired_otherwise_are_found() -> None:
    results = campaign()
    for result in of(results):
        result["spec"]["seed"] = 2 - result["spec"]["seed"]
    assert remarks(block_of(results)) == {
        ODD: ("class orders and seeds are paired differently from the other rows",)
    }


@pytest.mark.parametrize("kept", [[0], [0, 2]])
def test_fewer_seeds_are_found(kept: list[int]) -> None:
    results = [r for r in campaign() if r["spec"]["method"] != ODD or r["spec"]["seed"] in kept]
    [[text]] = remarks(block_of(results)).values()
    word = "seed 0" if kept == [0] else "seeds 0, 2"
    assert text == f"{word}; the other rows have 0, 1, 2"


def test_more_seeds_than_the_rest_mark_the_row_that_has_them() -> None:
    results = campaign()
    more = copy.deepcopy(of(results)[0])
    more["spec"] |= {"seed": 3, "order": "shuffled:3"}
    assert remarks(block_of([*results, more | {"key": "c" * 16}])) == {
        ODD: ("seeds 0, 1, 2, 3; the other rows have 0, 1, 2",)
    }


def test_a_mean_without_a_failed_run_is_unfair_and_told_once() -> None:
    results = [r for r in campaign() if (r["spec"]["method"], r["spec"]["seed"]) != (ODD, 1)]
    broken: Any = make_broken(make_spec(ODD, 1, order="shuffled:1"))
    block = block_of([*results, broken])
    assert remarks(block) == {ODD: ("seed 1 failed: out of memory",)}
    assert len(unfair([block])) == 1


def test_a_row_without_a_number_is_not_unfair() -> None:
    results = [r for r in campaign() if r["spec"]["method"] != ODD]
    broken: Any = make_broken(make_spec(ODD, 1, order="shuffled:1"))
    block = block_of([*results, broken])
    assert remarks(block) == {ODD: ("seed 1 failed: out of memory",)}
    assert unfair([block]) == []


def test_results_that_are_left_out_are_told_but_not_unfair() -> None:
    results = campaign()
    older = copy.deepcopy(of(results)[0])
    older["environment"] |= {"method_source_hash": "older", "started": "2025-01-01"}
    block = block_of([*results, older | {"key": "d" * 16}])
    assert list(remarks(block)) == [ODD]
    assert unfair([block]) == []


@pytest.mark.parametrize("part", ["dataset", "split", "scenario", "protocol", "validation"])
def test_what_makes_a_table_of_its_own_never_stands_beside_the_rest(part: str) -> None:
    other = {"dataset": "cub200", "split": "coda", "scenario": "domain", "protocol": 1}
    results = campaign()
    for result in of(results):
        result["spec"][part] = other.get(part, 0.2)
    blocks = annotated(make_blocks(results), ())
    rows = [{line.method for line in block.rows} for block in blocks]
    assert sorted(rows, key=len) == [{ODD}, set(METHODS) - {ODD}]
    assert len({block.title for block in blocks}) == 2


def test_rates_optimizers_and_settings_are_the_methods_own() -> None:
    results = campaign()
    for result in of(results):
        result["spec"]["recipe"] |= {"lr": 0.5, "optimizer": "sgd", "schedule": "cosine"}
        result["spec"]["settings"] = {"pool": 99}
    assert remarks(block_of(results)) == {}


def test_epochs_of_a_method_that_trains_nothing_do_not_count() -> None:
    results = campaign()
    for result in of(results, "ncm"):
        result["spec"]["recipe"] |= {"epochs": 99, "batch_size": 1}
    assert remarks(block_of(results)) == {}
    for result in of(results, "joint"):  # one task with all data, but as many passes over it
        result["spec"]["recipe"]["epochs"] = 99
    assert remarks(block_of(results)) == {"joint": ("99 epochs; the other rows have 20",)}


def test_two_variants_of_a_method_with_unlike_code_are_found() -> None:
    results = campaign()
    for seed in range(3):
        spec = make_spec(ODD, seed, order=f"shuffled:{seed}", settings={"pool": 7})
        result = make_result(spec, source="another", started="2020-01-01")[0]
        sources = {**SOURCES, f"methods/{ODD}.py": "5" * 12}
        result["environment"] |= {"sources": sources, "inputs": INPUTS}
        results.append(result)
    assert remarks(block_of(results)) == {
        f"{ODD} (pool=7)": (f"different code in methods/{ODD}.py",)
    }


def test_a_commit_that_touches_no_number_makes_no_difference() -> None:
    results = campaign()
    for result in of(results):
        result["environment"]["revision"] = "f" * 40
    assert remarks(block_of(results)) == {}


def test_without_recorded_sources_the_revision_counts() -> None:
    results = campaign()
    del results[0]["environment"]["sources"]  # one is enough: there is nothing to compare with
    for result in of(results):
        result["environment"]["revision"] = "f" * 40
    [[text]] = remarks(block_of(results)).values()
    assert text == "code revision ffffffff; the other rows have 01234567"


def test_without_a_checkout_the_version_counts() -> None:
    results = campaign()
    for result in results:
        del result["environment"]["sources"]
        result["environment"]["revision"] = None
    assert remarks(block_of(results)) == {}
    for result in of(results):
        result["environment"]["version"] = "9.9"
    [[text]] = remarks(block_of(results)).values()
    assert text == "code revision (clbench 9.9); the other rows have (clbench 0.1.0)"


def test_results_of_before_inputs_were_recorded_claim_nothing() -> None:
    results = campaign()
    for result in of(results):
        del result["environment"]["inputs"]
    assert remarks(block_of(results)) == {}


def test_of_two_rows_the_older_one_differs() -> None:
    results = []
    for method, weights, started in (
        ("l2p", "old", "2026-01-01"),
        ("inflora", "new", "2026-02-01"),
    ):
        results.append(make_result(make_spec(method), weights=weights, started=started)[0])
    assert remarks(block_of(results)) == {"l2p": ("backbone weights old; the other rows have new",)}


def test_many_files_of_other_code_are_said_shortly() -> None:
    results = campaign()
    for result in results:
        digit = "1" if result["spec"]["method"] == ODD else "0"
        result["environment"]["sources"] = {f"{name}.py": digit * 12 for name in "abcdef"}
    assert remarks(block_of(results)) == {ODD: ("different code in a.py, b.py, c.py and 3 more",)}


# -- strict -------------------------------------------------------------------------------------


def stored(root: Path, results: list[Any]) -> Path:
    store = ResultStore(root)
    for number, result in enumerate(results):
        store.write(result | {"key": f"{number:016x}"}, {})
    return root


def test_strict_refuses_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = campaign()
    for result in of(results):
        result["spec"]["recipe"]["epochs"] = 60
    root = stored(tmp_path / "results", results)
    with pytest.raises(UnfairError, match="60 epochs"):
        build_report(root, tmp_path / "out", strict=True)
    assert main(["report", "--results", str(root), "--strict"]) == 1
    printed = capsys.readouterr()
    assert "l2p: 60 epochs; the other rows have 20" in printed.err
    assert printed.out == ""
    assert not (tmp_path / "out").exists()
    assert not (root / "report").exists()


# -- the shipped suites -------------------------------------------------------------------------


def runs_of(suite: str, *sets: str) -> Iterator[Any]:
    """Results as a whole campaign of a suite would leave them, with the hashes of that campaign."""
    from benchmark.config import Overrides

    template = make_result(make_spec())[0]
    for spec in expand(load_suite(suite), Overrides(sets=sets)):
        yield made(template, spec, suite)


def made(template: dict[str, Any], spec: RunSpec, suite: str) -> Any:
    tasks = len(spec.tasks)
    trained = 0 if spec.method == "ncm" else 1000
    outcome = {
        "accuracy": [[50.0] * (stage + 1) for stage in range(tasks)],
        "test_counts": [10] * tasks,
        "trainable_parameters": [trained] * tasks,
    }
    environment = {
        "suite": suite,
        "weight_hash": spec.backbone,
        "method_source_hash": spec.method,
        "data_manifest_hash": f"{spec.dataset} {spec.order}",
        "sources": SOURCES,
        "inputs": INPUTS,
    }
    plain = spec_dict(spec)
    return {
        **template,
        "key": f"{hash(repr(plain)) & (2**64 - 1):016x}",
        "spec": plain,
        "outcome": template["outcome"] | outcome,
        "environment": template["environment"] | environment,
    }


@pytest.mark.parametrize("suite", sorted(suite_files()))
def test_none_is_raised_on_a_shipped_suite(suite: str) -> None:
    blocks = annotated(make_blocks(runs_of(suite)))  # with the shipped records of tuning
    assert blocks
    assert [line.notes for block in blocks for line in block.rows if line.notes] == []
    assert unfair(blocks) == []


def test_suites_that_share_runs_may_share_a_folder() -> None:
    suites = ("imagenet_r", "ablations", "alignment", "imagenet_r_selfsup", "cifar100")
    assert unfair(annotated(make_blocks([run for suite in suites for run in runs_of(suite)]))) == []


def test_a_value_that_is_set_for_one_method_of_a_suite_is_found() -> None:
    blocks = annotated(make_blocks(runs_of("icons", "inflora.training.epochs=3")), ())
    assert [text.partition(": ")[2] for text in unfair(blocks)] == [
        "inflora: 3 epochs; the other rows have 1"
    ]
    assert unfair(annotated(make_blocks(runs_of("icons", "training.epochs=3")), ())) == []


def test_recipe_that_is_compared_is_a_part_of_the_recipe() -> None:
    from benchmark.report.fairness.facts import _RECIPE

    assert set(_RECIPE) <= set(vars(Recipe()))
