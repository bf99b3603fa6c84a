"""Planted inequalities are found, in the right row and in words; the shipped suites have none."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from synthetic_results import make_broken, make_result, make_spec

from benchmark.cli import main
from benchmark.config import Overrides, expand, load_suite, suite_files
from benchmark.report.build import build_report
from benchmark.report.fairness.check import UnfairError, unfair
from benchmark.report.notes import annotated
from benchmark.report.rows import Block, make_blocks
from benchmark.report.tables import block_table
from benchmark.results.schema import BATCH_MARK
from benchmark.results.store import ResultStore, spec_dict

METHODS = ("sequential", "ncm", "l2p", "inflora", "joint")
ODD = "l2p"  # the row that gets an inequality
SOURCES = {"benchmark/engine/trainer.py": "0" * 12, "benchmark/data/stream.py": "1" * 12}
INPUTS = {"image size": "32", "pixel range": "0, 1"}
Plant = Callable[[list[Any]], list[Any]]


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


def without(results: list[Any], *seeds: int) -> list[Any]:
    """The results but for the odd row's runs of these seeds."""
    return [r for r in results if r["spec"]["method"] != ODD or r["spec"]["seed"] not in seeds]


def block_of(results: list[Any]) -> Block:
    [block] = annotated(make_blocks(results), ())
    return block


def remarks(block: Block) -> dict[str, tuple[str, ...]]:
    return {line.label: line.notes for line in block.rows if line.notes}


def put(*path: str, value: Any, method: str = ODD, seeds: tuple[int, ...] = (0, 1, 2)) -> Plant:
    """Plants a value into the runs of a method."""

    def plant(results: list[Any]) -> list[Any]:
        for result in of(results, method):
            if result["spec"]["seed"] in seeds:
                *outer, last = path
                block = result
                for name in outer:
                    block[name] = copy.deepcopy(block[name])
                    block = block[name]
                block[last] = value
        return results

    return plant


def one_more(results: list[Any]) -> list[Any]:
    more = copy.deepcopy(of(results)[0])
    more["spec"] |= {"seed": 3, "order": "shuffled:3"}
    return [*results, more | {"key": "c" * 16}]


def one_order(results: list[Any]) -> list[Any]:
    for result in of(results):
        result["spec"]["order"] = "shuffled:0"
        result["environment"]["data_manifest_hash"] = "data shuffled:0"
    return results


def paired_otherwise(results: list[Any]) -> list[Any]:
    for result in of(results):
        result["spec"]["seed"] = 2 - result["spec"]["seed"]
    return results


def one_failed(results: list[Any]) -> list[Any]:
    return [*without(results, 1), make_broken(make_spec(ODD, 1, order="shuffled:1"))]


STREAM = "benchmark/data/stream.py"
EPOCHS = ("spec", "recipe", "epochs")
# What is planted, and what has to be said of the row, and of no other.
PLANTED: dict[str, tuple[Plant, str]] = {
    "other weights under the same name": (
        put("environment", "weight_hash", value="f" * 64),
        "backbone weights ffffffff; the other rows have weights",
    ),
    "input range": (
        put("spec", "input_range", value="native"),
        "input range native; the other rows have unit",
    ),
    "the same input range with other numbers": (
        put("environment", "inputs", "pixel range", value="-1, 1"),
        "unit input range -1, 1; the other rows have 0, 1",
    ),
    "augmentation": (
        put("spec", "augmentation", "flip", value=0.0),
        "augmentation scale [0.08, 1], ratio [0.75, 1.33333], flip 0, colour 0, interpolation "
        "bilinear; the other rows have scale [0.08, 1], ratio [0.75, 1.33333], flip 0.5, colour 0, "
        "interpolation bilinear",
    ),
    "no augmentation": (
        put("spec", "augmentation", value="none"),
        "augmentation none; the other rows have scale [0.08, 1], ",
    ),
    "interpolation of test images": (
        put("spec", "evaluation", "interpolation", value="bicubic"),
        "evaluation resize shorter, crop 0.875, interpolation bicubic; the other rows have resize "
        "shorter, crop 0.875, interpolation bilinear",
    ),
    "a mean and a deviation": (
        put("spec", "input_range", value={"mean": [0.5] * 3, "std": [0.25] * 3}),
        "input range mean [0.5, 0.5, 0.5], std [0.25, 0.25, 0.25]; the other rows have unit",
    ),
    "image size": (
        put("environment", "inputs", "image size", value="64"),
        "image size 64; the other rows have 32",
    ),
    "epochs": (put(*EPOCHS, value=60), "60 epochs; the other rows have 20"),
    "batch size": (
        put("spec", "recipe", "batch_size", value=16),
        "batch size 16; the other rows have 128",
    ),
    "incomplete batches": (
        put("spec", "recipe", "drop_last", value=True),
        "drop incomplete batches true; the other rows have false",
    ),
    "precision": (
        put("spec", "precision", value="bf16"),
        "precision bf16; the other rows have fp32",
    ),
    "fewer test images": (
        put("outcome", "test_counts", value=[40, 40, 40, 40, 39], seeds=(0,)),
        "test images per task (shuffled:0 order) 40, 40, 40, 40, 39; the other rows have ",
    ),
    "other images of one order": (
        put("environment", "data_manifest_hash", value="other", seeds=(2,)),
        "data (shuffled:2 order) other; the other rows have data shuffled:2",
    ),
    "uncommitted code": (put("environment", "dirty", value=True), "ran on uncommitted code"),
    "uncommitted code of one run": (
        put("environment", "dirty", value=True, seeds=(1,)),
        "ran on uncommitted code (1 of 3 runs)",
    ),
    "other code": (
        put("environment", "sources", STREAM, value="9" * 12),
        "different code in benchmark/data/stream.py",
    ),
    "other code of one run": (
        put("environment", "sources", STREAM, value="9" * 12, seeds=(1,)),
        "different code in benchmark/data/stream.py (1 of 3 runs)",
    ),
    "other packages": (
        put("environment", "packages", "torch", value="2.0.0"),
        "torch version 2.0.0; the other rows have 2.6.0",
    ),
    "other packages of one run": (
        put("environment", "packages", "torch", value="2.0.0", seeds=(1,)),
        "torch version 2.0.0 (1 of 3 runs); the other rows have 2.6.0",
    ),
    "a mark": (put("outcome", "marks", value=[BATCH_MARK]), BATCH_MARK),
    "one class order for all seeds": (
        one_order,
        "class order shuffled:0; the other rows have shuffled:0, shuffled:1, shuffled:2",
    ),
    "orders and seeds paired otherwise": (
        paired_otherwise,
        "class orders and seeds are paired differently from the other rows",
    ),
    "one seed": (lambda found: without(found, 1, 2), "seed 0; the other rows have 0, 1, 2"),
    "two seeds": (lambda found: without(found, 1), "seeds 0, 2; the other rows have 0, 1, 2"),
    "four seeds": (one_more, "seeds 0, 1, 2, 3; the other rows have 0, 1, 2"),
    "a mean without a failed run": (one_failed, "seed 1 failed: out of memory"),
}
# What is the method's own, or decides no number.
SILENT: dict[str, Plant] = {
    "nothing": lambda results: results,
    "rate": put("spec", "recipe", "lr", value=0.5),
    "optimizer": put("spec", "recipe", "optimizer", value="sgd"),
    "schedule": put("spec", "recipe", "schedule", value="cosine"),
    "settings": put("spec", "settings", value={"pool": 99}),
    "epochs of a method that trains nothing": put(*EPOCHS, value=99, method="ncm"),
    "a commit that touches no number": put("environment", "revision", value="f" * 40),
    "inputs that were not recorded": put("environment", "inputs", value={}),
    "threads": put("environment", "threads", value=8),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_inequality_is_found_in_its_row_alone(name: str) -> None:
    plant, words = PLANTED[name]
    block = block_of(plant(campaign()))
    found = remarks(block)
    assert list(found) == [ODD]
    [text] = found[ODD]
    assert text.startswith(words)
    assert unfair([block]) == [f"{block.title}: {ODD}: {text}"]
    table = block_table(block)
    assert [table.notes[n - 1] for n in table.row(ODD).notes] == [text]


@pytest.mark.parametrize("name", SILENT)
def test_what_is_no_inequality_raises_nothing(name: str) -> None:
    block = block_of(SILENT[name](campaign()))
    assert remarks(block) == {}
    assert unfair([block]) == []


def test_what_a_method_says_of_a_run_is_noted_and_no_inequality() -> None:
    block = block_of(put("outcome", "marks", value=["a remark"], seeds=(1,))(campaign()))
    assert remarks(block) == {ODD: ("a remark",)}
    assert unfair([block]) == []


def test_a_class_order_file_of_the_same_name_with_another_content_is_found() -> None:
    results = campaign(order="lists/order.txt")
    put("environment", "data_manifest_hash", value="a" * 64)(results)
    [[text]] = remarks(block_of(results)).values()
    assert text.startswith("data (lists/order.txt order) aaaaaaaa; the other")


def test_a_row_without_a_number_is_not_unfair() -> None:
    broken: Any = make_broken(make_spec(ODD, 1, order="shuffled:1"))
    block = block_of([*without(campaign(), 0, 1, 2), broken])
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
    results = put("spec", part, value=other.get(part, 0.2))(campaign())
    blocks = annotated(make_blocks(results), ())
    rows = [{line.method for line in block.rows} for block in blocks]
    assert sorted(rows, key=len) == [{ODD}, set(METHODS) - {ODD}]


def test_joint_training_makes_as_many_passes_as_the_others() -> None:
    block = block_of(put(*EPOCHS, value=99, method="joint")(campaign()))
    assert remarks(block) == {"joint": ("99 epochs; the other rows have 20",)}


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


def test_of_two_rows_the_older_one_differs() -> None:
    results = [
        make_result(make_spec("l2p"), weights="old", started="2026-01-01")[0],
        make_result(make_spec("inflora"), weights="new", started="2026-02-01")[0],
    ]
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
    root = stored(tmp_path / "results", put(*EPOCHS, value=60)(campaign()))
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
    template: Any = make_result(make_spec())[0]
    for spec in expand(load_suite(suite), Overrides(sets=sets)):
        tasks = len(spec.tasks)
        outcome = {
            "accuracy": [[50.0] * (stage + 1) for stage in range(tasks)],
            "test_counts": [10] * tasks,
            "trainable_parameters": [0 if spec.method == "ncm" else 1000] * tasks,
        }
        environment = {
            "suite": suite,
            "weight_hash": spec.backbone,
            "method_source_hash": spec.method,
            "data_manifest_hash": f"{spec.dataset} {spec.order}",
            "sources": SOURCES,
            "inputs": INPUTS,
        }
        yield template | {
            "key": f"{hash(repr(spec)) & (2**64 - 1):016x}",
            "spec": spec_dict(spec),
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
