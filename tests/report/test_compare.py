"""Two results folders: equal, noisy, moved, broken, damaged, and not of the same experiments."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic_results import IMAGES, make_broken, make_result, make_spec

from benchmark.cli import main
from benchmark.report.evidence.compare import Change, Comparison, compare_results
from benchmark.report.evidence.compare_tables import comparison_tables, summary
from benchmark.results.store import ResultStore, run_key

METHODS = ("ncm", "linear_probe", "l2p", "coda_p", "inflora")
TASKS = 5


def result(
    method: str,
    seed: int,
    shift: float = 0.0,
    *,
    environment: dict[str, Any] | None = None,
    joint: bool = False,
    **changes: Any,
) -> dict[str, Any]:
    """A finished run whose accuracies are those of its method and seed, moved by `shift`."""
    spec = make_spec(method, seed, **{"settings": {}, **changes})
    made, _ = make_result(spec)
    rng = np.random.default_rng([seed, *map(ord, method)])
    rows = [list(60 + rng.normal(0, 2, i + 1) + shift) for i in range(len(spec.tasks))]
    made["outcome"]["accuracy"] = [None] * (len(rows) - 1) + rows[-1:] if joint else rows
    made["environment"] |= environment or {}
    own = made["environment"]
    hashes = [own[f"{name}_hash"] for name in ("method_source", "data_manifest", "weight")]
    made["key"] = run_key(spec, *hashes)
    return made


def store(root: Path, results: Iterable[dict[str, Any]]) -> ResultStore:
    made = ResultStore(root)
    for one in results:
        made.write(one, {})
    return made


OTHER = {"hardware": "another processor", "packages": {"torch": "2.7.0", "python": "3.11.0"}}


def noisy(size: float, seed: int = 0, **changes: Any) -> list[dict[str, Any]]:
    """The campaign on another machine, where every run came out a little different."""
    rng = np.random.default_rng(seed)
    return [
        result(method, s, rng.normal(0, size), environment=OTHER, **changes)
        for method in METHODS
        for s in range(3)
    ]


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """Five methods with three seeds each."""
    store(tmp_path / "a", (result(method, seed) for method in METHODS for seed in range(3)))
    return tmp_path / "a"


def compared(first: Path, results: Iterable[dict[str, Any]]) -> Comparison:
    store(first.parent / "b", results)
    return compare_results(first, first.parent / "b")


def of(comparison: Comparison, method: str, metric: str = "final") -> Change:
    (change,) = (c for c in comparison.changes if (c.method, c.metric) == (method, metric))
    return change


# -- what moved ---------------------------------------------------------------------------------


def test_a_folder_and_itself_are_equal(first: Path) -> None:
    found = compare_results(first, first)
    assert len(found.changes) == len(METHODS) * 3
    assert all(change.equal and not change.moved for change in found.changes)
    assert not any((found.only_first, found.only_second, found.broke, found.differences))
    assert comparison_tables(found, every=True) == []
    assert "15 bit-for-bit equal, 0 within noise, 0 beyond noise" in "\n".join(summary(found))


def test_other_hardware_moves_nothing_beyond_noise(first: Path) -> None:
    found = compared(first, noisy(0.5))
    assert not found.moved
    change = of(found, "l2p")
    assert (change.basis, change.equal) == ("paired", False)
    assert abs(change.difference) < change.noise < 10
    assert "hardware a processor -> another processor" in found.differences
    assert "torch 2.6.0 -> 2.7.0" in found.differences
    assert comparison_tables(found) == []
    (table,) = comparison_tables(found, every=True)
    assert "within noise" in table.notes


def test_method_that_lost_is_found_with_its_causes(first: Path) -> None:
    worse = {"method_source_hash": "changed", "revision": "fedcba9876543210"}
    results = [r for r in noisy(0.5) if r["spec"]["method"] != "coda_p"]
    rng = np.random.default_rng(1)
    results += [
        result("coda_p", s, -8 + rng.normal(0, 0.5), environment=OTHER | worse) for s in range(3)
    ]
    found = compared(first, results)
    assert {(c.method, c.metric) for c in found.moved} == {
        ("coda_p", "final"),
        ("coda_p", "average"),
    }
    change = of(found, "coda_p")
    assert change.difference == pytest.approx(-8, abs=1)
    assert "method source source -> changed" in change.causes
    assert "revision 0123456789ab -> fedcba987654" in change.causes
    (table,) = comparison_tables(found)
    assert [row.label for row in table.rows] == [
        "coda_p, final accuracy",
        "coda_p, average accuracy",
    ]
    assert "method source source -> changed" in table.notes


def test_same_inputs_on_the_same_machine_must_give_the_same_bits(first: Path) -> None:
    results = [result(method, seed) for method in METHODS for seed in range(3)]
    results[4] = result("linear_probe", 1, 1e-7)
    found = compared(first, results)
    change = of(found, "linear_probe")
    assert (change.basis, change.moved, change.noise) == ("identical", True, 0.0)
    assert len(found.changes) - sum(c.equal for c in found.changes) >= 2
    (table,) = comparison_tables(found)
    assert table.columns[2].decimals >= 8  # so that the difference is seen
    assert any("identical numbers were expected" in note for note in table.notes)


@pytest.mark.parametrize(
    "environment",
    [{"hardware": "another"}, {"threads": 4}, {"dirty": True}, {"packages": {"torch": "3"}}],
)
def test_bits_are_not_expected_elsewhere(first: Path, environment: dict[str, Any]) -> None:
    moved = [
        result(method, s, 1e-7, environment=environment) for method in METHODS for s in range(3)
    ]
    found = compared(first, moved)
    assert {change.basis for change in found.changes} == {"paired"}
    assert not found.moved


def test_files_that_changed_are_named(tmp_path: Path) -> None:
    one = {"sources": {"a.py": "1", "b.py": "1"}, "inputs": {"image size": "32"}}
    two = {"sources": {"a.py": "1", "b.py": "2"}, "inputs": {"image size": "64"}}
    store(tmp_path / "a", [result("ncm", 0, environment=one)])
    found = compared(tmp_path / "a", [result("ncm", 0, 1, environment=two)])
    assert found.differences == ["code of b.py 1 -> 2", "image size 32 -> 64"]


def test_only_common_runs_are_compared(first: Path) -> None:
    extra = [result("ncm", 7, 30), result("l2p", 0)]
    found = compared(first, [*extra, result("ncm", 1)])
    change = of(found, "ncm")
    assert (change.equal, len(change.first)) == (True, 1)
    assert of(found, "l2p").basis == "images"
    block = "icons, 5 tasks of 2 classes, tiny_sup, natural class order"
    assert f"{block}: seeds 0, 2 of ncm" in found.only_first
    assert f"{block}: seeds 1, 2 of l2p" in found.only_first
    whole = {"coda_p", "inflora", "linear_probe"}
    assert any(set(t.removeprefix(f"{block}: ").split(", ")) == whole for t in found.only_first)
    assert found.only_second == [f"{block}: seed 7 of ncm"]


def test_one_run_a_side_is_measured_by_its_test_images(tmp_path: Path) -> None:
    store(tmp_path / "a", [result("ncm", 0), result("l2p", 0)])
    there = {"environment": OTHER}
    found = compared(
        tmp_path / "a", [result("ncm", 0, -25, **there), result("l2p", 0, -2, **there)]
    )
    lost, kept = of(found, "ncm"), of(found, "l2p")
    assert (lost.basis, lost.moved, kept.moved) == ("images", True, False)
    share = 0.6 * 0.4 * 100**2 / (IMAGES * TASKS)
    assert 2 * np.sqrt(2 * share) < kept.noise < 4 * np.sqrt(2 * share)
    (table,) = comparison_tables(found)
    assert any("one run on each side" in note for note in table.notes)


def test_other_seeds_are_compared_without_pairs(first: Path) -> None:
    found = compared(first, [result("ncm", s, -40) for s in (5, 6)] + [result("l2p", 9)])
    assert (of(found, "ncm").basis, of(found, "ncm").moved) == ("unpaired", True)
    assert (of(found, "l2p").basis, of(found, "l2p").moved) == ("unpaired", False)
    assert len(of(found, "ncm").first) == 3


def test_the_same_number_of_another_seed_is_no_equal_run(tmp_path: Path) -> None:
    store(tmp_path / "a", [result("ncm", 0)])
    other = result("ncm", 1)
    other["outcome"]["accuracy"] = result("ncm", 0)["outcome"]["accuracy"]
    change = of(compared(tmp_path / "a", [other]), "ncm")
    assert change.first == change.second
    assert not change.equal and not change.moved


# -- what belongs together ----------------------------------------------------------------------


def test_variants_are_kept_apart_and_named(tmp_path: Path) -> None:
    a = [result("inflora", s, settings={"rank": rank}) for s in range(2) for rank in (5, 10)]
    b = [result("inflora", s, settings={"rank": rank}) for s in range(2) for rank in (10, 20)]
    store(tmp_path / "a", a)
    found = compared(tmp_path / "a", b)
    assert {change.label for change in found.changes} == {"inflora (rank=10)"}
    assert all(change.equal for change in found.changes)
    assert [text.rpartition(": ")[2] for text in (*found.only_first, *found.only_second)] == [
        "inflora (rank=5)",
        "inflora (rank=20)",
    ]


def test_blocks_are_matched_across_protocols_and_machines(tmp_path: Path) -> None:
    a = result("ncm", 0, protocol=1, order="/there/my order.txt", dataset="folder:/there/pets")
    b = result("ncm", 0, protocol=2, order="/here/my order.txt", dataset="folder:/here/pets")
    store(tmp_path / "a", [a])
    found = compared(tmp_path / "a", [b])
    assert len(found.changes) == 3
    assert all(change.equal for change in found.changes)
    assert "protocol 1 -> 2" in found.differences


def test_the_latest_protocol_of_a_folder_counts(tmp_path: Path) -> None:
    store(tmp_path / "a", [result("ncm", 0, 9.0, protocol=1), result("ncm", 0, protocol=2)])
    found = compared(tmp_path / "a", [result("ncm", 0, protocol=2)])
    assert all(change.equal for change in found.changes)


def test_joint_training_has_a_final_accuracy_alone(tmp_path: Path) -> None:
    store(tmp_path / "a", [result("joint", 0, joint=True)])
    found = compared(tmp_path / "a", [result("joint", 0, joint=True)])
    assert [change.metric for change in found.changes] == ["final"]
    assert (found.only_first, found.only_second) == ([], [])
    found = compared(tmp_path / "a", [result("joint", 0)])
    assert found.only_second[0].endswith("joint: average is not defined in A")


def test_run_that_fails_now_is_no_silent_loss(first: Path) -> None:
    results = [result(m, s) for m in METHODS for s in range(3) if (m, s) != ("ncm", 2)]
    broken = make_broken(make_spec("ncm", 2, settings={}), error="no\nroom")
    found = compared(first, [*results, broken])
    (text,) = found.broke
    assert text.endswith("ncm, order natural, seed 2: finished in A, failed in B: no room")
    assert not found.moved
    assert found.only_first == []
    again = compare_results(first.parent / "b", first)  # now finished: nothing to complain about
    assert (again.broke, again.only_second[0].rpartition(": ")[2]) == ([], "seed 2 of ncm")


# -- the command --------------------------------------------------------------------------------


def status(*paths: object, every: bool = False) -> int:
    return main(["compare", *map(str, paths), *(["--all"] if every else [])])


def test_results_that_do_not_count_are_told(first: Path, tmp_path: Path) -> None:
    second = tmp_path / "second"
    store(second, ResultStore(first).results())  # type: ignore[arg-type]
    older = {"method_source_hash": "old", "started": "2020-01-01"}
    store(second, [result("l2p", 9, environment=older)])
    found = compare_results(first, second)
    assert not found.moved
    assert len(found.left_out) == 1
    assert "l2p: 1 result in B, of different code" in found.left_out[0]
    assert "results that do not count:" in list(summary(found))


def test_exit_codes(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert status(first, first) == 0
    second = first.parent / "b"
    store(second, noisy(0.5))
    assert status(first, second) == 0
    assert "Noise" not in capsys.readouterr().out
    assert status(first, second, every=True) == 0
    out = capsys.readouterr().out
    assert "Noise" in out and "within noise" in out and "\x1b" not in out
    store(second, [result("ncm", s, -30, environment=OTHER) for s in range(3)])
    assert status(first, second) == 1
    assert "ncm, final accuracy" in capsys.readouterr().out
    assert status(first, first.parent / "nowhere") == 2
    assert "no such results folder" in capsys.readouterr().err


def test_nothing_in_common_is_no_success(first: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = first.parent / "empty"
    empty.mkdir()
    for pair in ((first, empty), (empty, first), (empty, empty)):
        assert status(*pair) == 2
        assert "nothing to compare" in capsys.readouterr().err
    store(empty, [result("ncm", 0, backbone="tiny_dino")])
    assert status(first, empty) == 2
    assert "only in A:" in capsys.readouterr().out


def test_damaged_and_foreign_files_are_named(
    first: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    second = store(first.parent / "b", [result(m, s) for m in METHODS for s in range(3)])
    one, other, *_ = second.keys()
    (second.folder(one) / "result.json").write_text("{")
    file = second.folder(other) / "result.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"schema": 99}))
    assert status(first, second.root) == 0
    captured = capsys.readouterr()
    assert "damaged JSON" in captured.err
    assert "schema 99" in captured.err
    assert "only in A:" in captured.out


def test_broken_run_gives_exit_code_one(first: Path) -> None:
    second = first.parent / "b"
    store(second, [result("l2p", 0), make_broken(make_spec("ncm", 0, settings={}))])
    assert status(first, second) == 1
