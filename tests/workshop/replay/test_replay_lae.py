"""Recorded cases of LAE, the convolutional adapter and TIES: parity, and no number unnoticed."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from case_tools import (
    GOLDEN,
    check_each_is_named,
    meta_change,
    recorded_names,
    with_changes,
    wrong,
)
from reference_lae import Sizes, write_case

from benchmark.workshop.replay.case import ReplayError
from benchmark.workshop.replay.run import replay

CASES = ["lae/lora_case0.npz", "lae/adapter_case0.npz", "conv_adapter/case0.npz", "ties/case0.npz"]
SMALL = Sizes(tasks=2, epochs=2, freeze=1)


@pytest.mark.parametrize("name", CASES)
def test_recorded_numbers_are_reproduced(name: str) -> None:
    outcome = replay(GOLDEN / name)
    assert outcome.ok, wrong(outcome)
    assert outcome.error <= 1e-12
    named = {line.name: line for line in outcome.results}
    for array in recorded_names(GOLDEN / name):
        assert named[array].covered != array.startswith("st_adapter")
        if not named[array].covered:
            assert "st_adapter is not part of this suite" in named[array].note


OTHERS = {
    "lora": Sizes(),
    "adapter": Sizes(pet="adapter", size=3, blocks=(1,), tasks=4, freeze=1, seed=1),
    "fraction": Sizes(pet="adapter", size=0.25, blocks=(2, 0), freeze=0, decay=0.99, seed=2),
    "all frozen": Sizes(freeze=5, epochs=2, per_task=1, blocks=(0, 1, 2), seed=3),
    "no copy": Sizes(emas=0, image=24, width=20, heads=2, size=4, seed=4),
    "one task": Sizes(tasks=1, epochs=1, batch=64, depth=1, blocks=(0,), seed=5),
}


@pytest.mark.parametrize("sizes", OTHERS.values(), ids=OTHERS.keys())
def test_other_sizes_are_reproduced(sizes: Sizes, tmp_path: Path) -> None:
    outcome = replay(write_case(tmp_path, sizes))
    assert outcome.ok, wrong(outcome)
    assert all(line.covered for line in outcome.results if "pretrained" not in line.name)
    assert outcome.error <= 1e-11


@pytest.mark.parametrize("pet", ["lora", "adapter"])
def test_every_changed_number_of_a_run_is_named(pet: str, tmp_path: Path) -> None:
    path = write_case(tmp_path, replace(SMALL, pet=pet))
    starts = [name for name in recorded_names(path) if name.startswith("online_init")]
    outputs = [name for name in recorded_names(path) if name not in starts]
    check_each_is_named(path, outputs, inputs=starts)
    for start in starts:
        name = start.partition("/")[2]
        found = wrong(replay(with_changes(path, [start])))
        assert {start, f"online/t0/{name}", f"offline/t1/{name}"} <= found


@pytest.mark.parametrize("settings", [{"ema_decay": 0.71}, {"num_freeze_epochs": 0}])
def test_a_changed_setting_of_a_run_shows(settings: dict[str, Any], tmp_path: Path) -> None:
    path = write_case(tmp_path, SMALL)
    assert "offline/t1/0.lora_B.0" in wrong(replay(meta_change(path, **settings)))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"adapt_blocks": []}, "are not blocks of the model"),
        ({"adapt_blocks": [0, 3]}, "are not blocks of the model"),
        ({"adapt_blocks": [1, 1]}, "are not blocks of the model"),
        ({"num_emas": 2}, "2 offline copies; ours has one or none"),
        ({"method": "LAE-Prefix"}, "LAE-Prefix .* is not one of ours"),
        ({"pet_kwargs": {"rank": 2, "scale": 0.1}}, "constant scale"),
        ({"pet_kwargs": {"rank": 2, "mode": "before"}}, "is not one of ours"),
        ({"pet_kwargs": {"rank": 3, "scale": None}}, "online_init/0.lora_A.0 has shape"),
        ({"ema_decay": 2.0}, "ema must be at most"),
    ],
)
def test_runs_of_another_kind_say_why(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = meta_change(write_case(tmp_path, SMALL), **settings)
    with pytest.raises(ReplayError, match=message):
        replay(path)


@pytest.mark.parametrize("name", CASES[2:])
def test_every_changed_number_is_named(name: str, tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN / name, tmp_path))
    covered = [line.name for line in replay(path).results if line.covered]
    inputs = ("vectors", "input", "wrapped", "conv2d_adapter/param")
    outputs = [array for array in covered if not array.startswith(inputs)]
    # What a single K keeps of a vector may be the fault of either.
    check_each_is_named(path, outputs, inputs=["vectors"])
    for array in set(covered) - set(outputs):
        assert array in wrong(replay(with_changes(path, [array])))
