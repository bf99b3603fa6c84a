"""What a plan refuses or says before anything is trained: sizes of settings, notes on runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from in_process import run_one

from benchmark.backbones.catalogue import BackboneError
from benchmark.config import SuiteError
from benchmark.engine.context import Context
from benchmark.engine.plan import notes_in_words, plan_runs
from benchmark.registry import METHODS
from benchmark.results.store import ResultStore
from benchmark.spec import Normalisation, RunSpec


def asked(spec: RunSpec, method: str, **settings: object) -> RunSpec:
    return replace(spec, method=method, settings=METHODS.get(method).Config(**settings))


@pytest.mark.parametrize(
    ("method", "settings", "fault"),
    [
        ("seq_lora", {"rank": 65}, "rank must be at most the backbone's width, 64, not 65"),
        ("c_lora", {"rank": 65}, "rank must be at most the backbone's width"),
        ("inflora", {"rank": 129}, "rank must be at most the backbone's width"),
        ("inflora", {"blocks": 99}, "blocks must be at most the backbone's depth, 2, not 99"),
        ("lae", {"blocks": 3}, "blocks must be at most the backbone's depth"),
        ("lae_conv", {"blocks": 3}, "blocks must be at most the backbone's depth"),
        ("l2p_pp", {"layers": (0, 2)}, r"layers must be below the backbone's depth, 2, not \(0, 2"),
        ("coda_p", {"layers": (5,)}, "layers must be below the backbone's depth"),
        ("coda_p", {"layers": (0,), "components": 3}, "at least the number of tasks, 4, not 3"),
        ("dualprompt", {"layers": (1,), "pool": 3}, "pool must be 0 or at least the number of"),
        ("dualprompt", {"layers": (1,), "general_layers": (2,)}, "general_layers must be below"),
    ],
)
def test_settings_beyond_the_backbone_are_refused_before_training(
    method: str, settings: dict[str, object], fault: str, spec: RunSpec, tmp_path: Path
) -> None:
    with pytest.raises(SuiteError, match=rf"{method}\.settings\..*{fault}"):
        plan_runs([asked(spec, method, **settings)], ResultStore(tmp_path))


def test_sizes_are_checked_where_the_weights_are_not_here(spec: RunSpec, tmp_path: Path) -> None:
    elsewhere = replace(asked(spec, "inflora", blocks=13), backbone="vit_b16_in21k")
    with pytest.raises(SuiteError, match="at most the backbone's depth, 12, not 13"):
        plan_runs([elsewhere], ResultStore(tmp_path), lacking={})


@pytest.mark.parametrize("tag", ["vit_base_patch16_224.bogus", "no_vit", "resnet18.a1_in1k"])
def test_what_timm_does_not_have_is_no_missing_file(
    tag: str, spec: RunSpec, tmp_path: Path
) -> None:
    with pytest.raises(BackboneError, match=tag.partition(".")[0]):
        plan_runs([replace(spec, backbone=f"timm:{tag}")], ResultStore(tmp_path), lacking={})


ZERO = "with one class: the cross-entropy within the task is 0 and trains nothing"


@pytest.mark.parametrize(
    ("method", "tasks", "notes"),
    [
        ("sequential", (1, 1, 6), [f"tasks 1, 2 {ZERO}"]),
        ("linear_probe", (7, 1), [f"task 2 {ZERO}"]),
        ("sequential", (4, 4), []),
        ("ncm", (1,) * 8, []),  # has no loss
        ("joint", (1,) * 8, []),  # learns all classes as one task
    ],
)
def test_tasks_of_one_class_under_a_local_loss_are_said(
    method: str, tasks: tuple[int, ...], notes: list[str], spec: RunSpec, tmp_path: Path
) -> None:
    one = replace(asked(spec, method), tasks=tasks, backbone="tiny_sup")
    (run,) = plan_runs([one], ResultStore(tmp_path))
    assert list(run.notes) == notes
    assert notes_in_words([run]) == [f"{method}: {note}" for note in notes]


def test_many_tasks_of_one_class_are_counted(spec: RunSpec) -> None:
    (note,) = METHODS.get("sequential").remarks(replace(spec, tasks=(1,) * 98 + (2,)))
    assert note == f"98 of 99 tasks {ZERO}"


def test_notes_reach_the_result(spec: RunSpec, tmp_path: Path, toy_backbone: str) -> None:
    store = ResultStore(tmp_path)
    one = replace(spec, tasks=(1, 7), recipe=replace(spec.recipe, epochs=1))
    (run,) = plan_runs([one], store)
    assert run_one(run, store, Context(torch.device("cpu")), print) == "done"
    (result,) = store.results()
    assert result["outcome"]["marks"] == list(run.notes)
    weights, single = run.notes
    assert "1 head a block, a square grid of 2 x 2 patches" in weights
    assert single == f"task 1 {ZERO}"


def test_a_file_of_weights_has_no_range_of_its_own(spec: RunSpec, tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match="input_range: native: "):
        plan_runs([replace(spec, input_range="native")], ResultStore(tmp_path))
    given = replace(spec, input_range=Normalisation((0.5,) * 3, (0.5,) * 3))
    assert plan_runs([given], ResultStore(tmp_path))[0].open
