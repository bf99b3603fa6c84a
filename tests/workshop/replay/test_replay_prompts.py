"""Recorded cases of the prompt methods: parity, other sizes, and changed numbers that show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from reference_inflora import Sizes
from reference_prompts import Prompted, write_prompt_case

from benchmark.workshop.replay.case import ReplayError
from benchmark.workshop.replay.run import replay

CASES = [
    f"{folder}/{code}_case0.npz"
    for folder, codes in {
        "coda_prompt": ("coda_repo", "coda_repo_ortho", "inflora_repo"),
        "dualprompt": ("coda_repo", "inflora_repo"),
        "l2p": ("coda_repo", "inflora_repo"),
    }.items()
    for code in codes
]
INFLORA = "liangyanshuo/InfLoRA"
SMALL = Sizes(depth=3, width=24, heads=3, tasks=3, images=14, batch=6, epochs=3, mlp=2, seed=1)
ONE = Sizes(depth=4, width=20, heads=5, image=16, tasks=2, per_task=2, images=5, batch=5, epochs=1)
OTHERS = {
    "coda": Prompted("coda", param=(7, 4, 0.0), layers=(0, 2), sizes=SMALL),
    "coda_penalty": Prompted("coda", param=(9, 6, 0.7), layers=(1,), sizes=SMALL),
    "coda_inflora_penalty": Prompted("coda", INFLORA, (6, 2, 0.3), (0, 1, 2), sizes=SMALL),
    "coda_pool_above_width": Prompted(
        "coda", param=(24, 2, 0.1), layers=(0, 1), sizes=replace(SMALL, width=18, tasks=4)
    ),
    "coda_one_epoch": Prompted("coda", param=(3, 2, 0.5), layers=(3,), sizes=ONE),
    "dual": Prompted("dual", param=(3, 4, 6), layers=(1, 2), general=(0,), sizes=SMALL),
    "dual_inflora": Prompted("dual", INFLORA, (5, 6, 2), (2,), (0, 1), SMALL),
    "dual_shared_block": Prompted(
        "dual", param=(4, 2, 4), layers=(0, 1), general=(1,), sizes=SMALL
    ),
    "dual_one_epoch": Prompted("dual", INFLORA, (2, 2, 2), (1, 3), (0, 2), ONE),
    "l2p": Prompted("l2p", param=(8, 6, -1), layers=(0,), sizes=SMALL),
    "l2p_deep": Prompted("l2p", param=(6, 2, 1), layers=(0, 1, 2), sizes=SMALL),
    "l2p_deep_inflora": Prompted("l2p", INFLORA, (5, 4, 1), (0, 2), sizes=SMALL),
    "l2p_one_epoch": Prompted("l2p", INFLORA, (7, 2, -1), (0,), sizes=ONE),
}
TINY = Sizes(depth=2, width=12, heads=2, image=16, tasks=2, per_task=2, images=5, batch=3,
             epochs=2, mlp=1, probe=4, seed=2)  # fmt: skip
CHANGED = {
    "coda": Prompted("coda", param=(5, 2, 0.4), layers=(0, 1), sizes=TINY),
    "coda_inflora": Prompted("coda", INFLORA, (4, 2, 0.0), (1,), sizes=TINY),
    "dual": Prompted("dual", param=(3, 2, 2), layers=(1,), general=(0,), sizes=TINY),
    "l2p": Prompted("l2p", INFLORA, (6, 2, -1), (0,), sizes=TINY),
}


@pytest.mark.parametrize("name", CASES)
def test_recorded_numbers_are_reproduced(name: str) -> None:
    outcome = replay(GOLDEN / name)
    assert outcome.ok, wrong(outcome)
    # Rounding alone moves the run with the penalty by up to 3.4e-10, the others by 1e-12.
    assert outcome.error <= (2e-9 if "ortho" in name else 1e-11)
    assert not uncovered(outcome)
    assert set(recorded_names(GOLDEN / name)) <= {line.name for line in outcome.results}


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS.keys())
def test_other_sizes_are_reproduced(case: Prompted, tmp_path: Path) -> None:
    outcome = replay(write_prompt_case(tmp_path, case))
    assert outcome.ok, wrong(outcome)
    assert not uncovered(outcome)
    assert outcome.error <= 1e-9


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Small cases, by name."""
    return {
        name: write_prompt_case(tmp_path_factory.mktemp(name), case)
        for name, case in CHANGED.items()
    }


@pytest.mark.parametrize("name", CHANGED)
def test_every_changed_number_is_named(name: str, made: dict[str, Path]) -> None:
    path = made[name]
    inputs = [n for n in recorded_names(path) if n.startswith(("gs_randn", "start/t0"))]
    outputs = [n for n in recorded_names(path) if n not in inputs]
    check_each_is_named(path, outputs, 1e-5, inputs)
    for changed in {n.rpartition("/")[0]: n for n in inputs}.values():
        assert changed in wrong(replay(with_changes(path, [changed], by=1e-5)))


def test_the_recorded_code_decides_about_the_key_loss(tmp_path: Path) -> None:
    path = write_prompt_case(tmp_path, CHANGED["dual"])
    meta_change(path, implementation=INFLORA)
    assert {"loss/t0", "prompt_loss/t1"} <= wrong(replay(path))


def test_the_recorded_code_decides_about_the_penalty(tmp_path: Path) -> None:
    path = write_prompt_case(tmp_path, CHANGED["coda"])
    meta_change(path, implementation=INFLORA)
    found = wrong(replay(path))
    assert "loss/t0" in found
    assert "prompt_loss/t0" in found  # the components go another way


def test_the_schedule_is_the_recorded_one(tmp_path: Path) -> None:
    path = write_prompt_case(tmp_path, replace(CHANGED["l2p"], sizes=replace(TINY, epochs=3)))
    assert replay(path).ok
    meta_change(path, schedule="factor cos(99*pi*s/(200*(epochs-1))) with s=max(epoch-1,0)")
    assert {"lr/t0", "end/t0/e_p_0"} <= wrong(replay(path))


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "prompt_param": (lambda p: meta_change(p, prompt_param=[4, 2]), "is not a pool, a length"),
    "layers": (lambda p: meta_change(p, e_layers=["a"]), "are not block numbers"),
    "block": (lambda p: meta_change(p, e_layers=[7]), "different block numbers"),
    "odd": (lambda p: meta_change(p, prompt_param=[4, 3, 0.0]), "length must be even"),
    "pool": (lambda p: meta_change(p, prompt_param=[1, 2, 0.0]), "do not reach 2 tasks"),
    "code": (lambda p: meta_change(p, implementation="mine"), "'mine' is not a known prompt code"),
    "draws": (lambda p: rewrite(p, lambda a: a.pop("gs_randn/t1/e_k_1")), "gs_randn/t1/e_k_1 is m"),
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.values(), ids=FAULTS.keys())
def test_what_cannot_be_replayed_says_why(
    fault: Callable[[Path], Any], message: str, tmp_path: Path
) -> None:
    path = write_prompt_case(tmp_path, CHANGED["coda_inflora"])
    fault(path)
    with pytest.raises(ReplayError, match=message):
        replay(path)


def test_pools_of_blocks_the_model_lacks_are_left_out(tmp_path: Path) -> None:
    path = write_prompt_case(tmp_path, CHANGED["dual"])

    def change(arrays: Arrays) -> None:
        for name in list(arrays):
            if name.endswith("_1"):
                arrays[name.removesuffix("_1") + "_4"] = arrays[name]

    rewrite(meta_change(path, e_layers=[1, 4]), change)
    outcome = replay(path)
    assert outcome.ok
    missing = {line.name for line in outcome.results if "does not have" in line.note}
    assert {"start/t0/e_p_4", "end/t1/e_k_4"} <= missing == uncovered(outcome)


def test_a_start_of_another_shape_says_so(tmp_path: Path) -> None:
    path = write_prompt_case(tmp_path, CHANGED["l2p"])
    rewrite(path, lambda a: a.update({"start/t0/e_k_0": a["start/t0/e_k_0"][:-1]}))
    with pytest.raises(ReplayError, match="start/t0/e_k_0 has shape"):
        replay(path)
