"""Recorded cases: parity, and that no changed number goes unnoticed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from case_tools import (
    GOLDEN,
    Arrays,
    check_each_is_named,
    meta_change,
    recorded_names,
    rewrite,
    uncovered,
    with_changes,
    wrong,
)
from reference_inflora import Sizes, write_case

from benchmark.workshop.replay.case import ReplayError
from benchmark.workshop.replay.run import replay

CASES = ["inflora/case0.npz", "dualgpm/case0.npz", "common/data_case0.npz"]


@pytest.fixture
def golden(tmp_path: Path) -> Path:
    """A copy that may be changed."""
    return shutil.copytree(GOLDEN, tmp_path / "golden")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case of other sizes from the plain formulas; the last batch of an epoch is smaller."""
    return write_case(tmp_path_factory.mktemp("made"))


@pytest.fixture
def case(made: Path, tmp_path: Path) -> Path:
    """A copy of `made` that may be changed."""
    return shutil.copytree(made.parent.parent, tmp_path / "made") / "inflora" / made.name


@pytest.mark.parametrize("name", CASES)
def test_recorded_numbers_are_reproduced(name: str) -> None:
    outcome = replay(GOLDEN / name)
    assert outcome.ok, wrong(outcome)
    assert outcome.error <= 1e-11
    own = set(recorded_names(GOLDEN / name))
    named = {line.name.rpartition(":")[2]: line for line in outcome.results}
    assert own <= set(named)
    if not name.startswith("common"):
        assert all(named[array].covered for array in own)


OTHERS = {
    "default": Sizes(),
    "one_epoch": Sizes(depth=4, layers=2, width=30, heads=5, image=16, rank=3, tasks=3, sessions=3,
                       per_task=1, images=9, batch=4, epochs=1, lamb=0.97, lame=1.0, seed=3),
    "one_batch": Sizes(depth=2, layers=2, width=20, heads=2, image=32, patch=4, rank=5, tasks=6,
                       sessions=6, images=5, batch=64, epochs=2, lamb=0.95, lame=0.9999, seed=5),
}  # fmt: skip


@pytest.mark.parametrize("sizes", OTHERS.values(), ids=OTHERS.keys())
def test_other_sizes_are_reproduced(sizes: Sizes, tmp_path: Path) -> None:
    """Against the plain formulas, with all branches kept and Adam by hand."""
    outcome = replay(write_case(tmp_path, sizes))
    assert outcome.ok, wrong(outcome)
    assert not uncovered(outcome)
    assert outcome.error <= 1e-10


def test_other_sizes_meet_both_forms_of_memory(made: Path) -> None:
    """Otherwise the case above would prove less than it says."""
    with np.load(made) as file:
        last = file["gpm_is_retain/t3"]
        assert last.any()
        assert not file["gpm_is_retain/t0"].any()


def test_every_changed_number_is_named(made: Path) -> None:
    names = [name for name in recorded_names(made) if not name.startswith("lora_A")]
    check_each_is_named(made, names)
    # A trained factor means something only together with the designed one.
    found = wrong(replay(with_changes(made, ["lora_A/t2"])))
    assert found - {"lora_B_k/t2", "lora_B_v/t2"} == {"lora_A/t2"}


def test_every_changed_number_of_a_stream_is_named(golden: Path) -> None:
    path = golden / "dualgpm" / "case0.npz"
    names = [name for name in recorded_names(path) if not name.endswith("/mat")]
    check_each_is_named(path, names)


def test_a_changed_matrix_shows(golden: Path) -> None:
    path = golden / "dualgpm" / "case0.npz"

    def change(arrays: Arrays) -> None:
        matrix = arrays["c_mixed/mat"].copy()
        matrix[3, 2, 5] += 1e-6  # the update without effect
        arrays["c_mixed/mat"] = matrix
        matrix = arrays["a_independent/mat"].copy()
        matrix[0] += 1e-6
        arrays["a_independent/mat"] = matrix

    rewrite(path, change)
    assert wrong(replay(path)) == {"c_mixed/mat", "a_independent/P"}


def test_changed_inputs_show(case: Path) -> None:
    def change(arrays: Arrays) -> None:
        arrays["w:blocks.1.attn.qkv.weight"] = arrays["w:blocks.1.attn.qkv.weight"] + 1e-6

    common = case.parent.parent / "common"
    rewrite(common / "backbone_other.npz", change)
    features = "common/data_other.npz:probe_features_pretrained"
    assert {"loss/t0", "cov_before/t1", features} <= wrong(replay(case))
    assert features in wrong(replay(common / "data_other.npz"))
    assert features in wrong(replay(common / "backbone_other.npz"))


def test_a_changed_setting_shows(case: Path) -> None:
    meta_change(case, lamb=0.95)
    assert {"threshold/t0", "gpm_dim/t0"} <= wrong(replay(case))


def test_numbers_that_are_none_fail(case: Path) -> None:
    def change(arrays: Arrays) -> None:
        arrays["loss/t0"] = np.full_like(arrays["loss/t0"], np.nan)
        arrays["lora_A/t1"] = np.full_like(arrays["lora_A/t1"], np.nan)

    outcome = replay(rewrite(case, change))
    assert {"loss/t0", "lora_A/t1"} <= wrong(outcome)
    assert np.isnan(outcome.error)


def test_unknown_and_missing_arrays_are_listed(case: Path) -> None:
    def change(arrays: Arrays) -> None:
        arrays["surprise"] = np.zeros(3)
        del arrays["loss/t2"]

    outcome = replay(rewrite(case, change))
    lines = {line.name: line for line in outcome.results}
    assert outcome.ok
    assert lines["surprise"].status == lines["loss/t2"].status == "not covered"
    assert "knows" in lines["surprise"].note
    assert "not in the file" in lines["loss/t2"].note
    assert lines["loss/t1"].status == "ok"


def test_another_shape_or_type_fails(case: Path) -> None:
    def change(arrays: Arrays) -> None:
        arrays["loss/t0"] = arrays["loss/t0"][:-1]
        arrays["lora_A/t0"] = arrays["lora_A/t0"][:, :1]
        arrays["lr/t0"] = arrays["lr/t0"].astype(str)

    outcome = replay(rewrite(case, change))
    assert wrong(outcome) == {"loss/t0", "lora_A/t0", "lr/t0"}
    lines = {line.name: line for line in outcome.results}
    assert lines["lora_B_k/t0"].status == "not covered"


def test_nothing_to_compare_is_no_success(case: Path) -> None:
    def change(arrays: Arrays) -> None:
        for name in recorded_names(case):
            del arrays[name]

    rewrite(case, change)
    rewrite(
        case.parent.parent / "common" / "data_other.npz",
        lambda arrays: [arrays.pop(name) for name in list(arrays) if "pretrained" in name],
    )
    assert not replay(case).ok


def test_tolerance_decides(made: Path) -> None:
    changed = with_changes(made, ["loss/t0"])
    assert not replay(changed, 1e-7).ok
    assert replay(changed, 1e-5).ok


def test_rows_of_any_sign_are_the_same_design(case: Path) -> None:
    def change(arrays: Arrays) -> None:
        flip = np.array([-1.0, 1.0])
        arrays["lora_A/t1"] = arrays["lora_A/t1"] * flip[:, None]
        arrays["lora_B_k/t1"] = arrays["lora_B_k/t1"] * flip
        arrays["lora_B_v/t1"] = arrays["lora_B_v/t1"] * flip

    assert replay(rewrite(case, change)).ok


def damage(path: Path) -> None:
    """Turn bytes in the middle of the archive over."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 64] = bytes(255 - byte for byte in content[middle : middle + 64])
    path.write_bytes(bytes(content))


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "missing": (lambda p: p.unlink(), "no such file"),
    "text": (lambda p: p.write_text("hello"), "not an .npz file"),
    "empty": (lambda p: p.write_bytes(b""), "not an .npz file"),
    "cut": (lambda p: p.write_bytes(p.read_bytes()[:5000]), "not an .npz file"),
    "damaged": (damage, "is damaged"),
    "no_meta": (lambda p: rewrite(p, lambda a: a.pop("meta_json")), "no meta_json"),
    "bad_meta": (lambda p: rewrite(p, lambda a: a.update(meta_json=np.array("{"))), "not JSON"),
    "list_meta": (lambda p: rewrite(p, lambda a: a.update(meta_json=np.array("[]"))), "not a JSON"),
    "unknown": (lambda p: meta_change(p, method="Other"), "plain formulas Other is not known"),
    "no_rank": (lambda p: meta_change(p, rank="two"), "field rank of meta_json is 'two'"),
    "bad_rank": (lambda p: meta_change(p, rank=0), "rank must be at least 1"),
    "no_inputs": (lambda p: meta_change(p, inputs=[]), "no file with the backbone"),
    "lost_input": (lambda p: meta_change(p, inputs=["common/lost.npz"]), "lost.npz: no such file"),
    "protocol": (lambda p: meta_change(p, protocol={"tasks": 2}), "no field protocol.cpt"),
    "layers": (lambda p: meta_change(p, adapted_layers=[1]), "not the first ones"),
    "schedule": (lambda p: meta_change(p, schedule="steps"), "schedule 'steps'"),
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_replayed_says_why(
    fault: Callable[[Path], Any], message: str, case: Path
) -> None:
    fault(case)
    with pytest.raises(ReplayError, match=message):
        replay(case)


def test_inputs_that_do_not_fit_say_why(case: Path) -> None:
    common = case.parent.parent / "common"
    rewrite(common / "backbone_other.npz", lambda arrays: arrays.pop("w:norm.weight"))
    with pytest.raises(ReplayError, match=r"norm\.weight"):
        replay(case)


def test_labels_of_another_task_say_why(case: Path) -> None:
    common = case.parent.parent / "common"

    def change(arrays: Arrays) -> None:
        arrays["train_y"] = arrays["train_y"] + 1

    rewrite(common / "data_other.npz", change)
    with pytest.raises(ReplayError, match="not its own"):
        replay(case)
    (common / "data_other.npz").unlink()
    with pytest.raises(ReplayError, match=r"data_other\.npz: no such file"):
        replay(case)


def test_a_plain_array_is_no_case(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(ReplayError, match="not an"):
        replay(tmp_path / "x.npy")
    with pytest.raises(ReplayError, match="not an"):
        replay(tmp_path)
