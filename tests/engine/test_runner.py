"""Whole runs on toy data: resume, failure, fairness of what a method is given."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from in_process import run_one
from toy_runs import numbers, run, run_cut, same, with_method

from benchmark.engine import checkpoint
from benchmark.engine.context import Context
from benchmark.engine.plan import plan_runs
from benchmark.engine.pool import ExecutionSettings, execute
from benchmark.events import Event, Message
from benchmark.metrics import prediction_metrics
from benchmark.registry import METHODS
from benchmark.results.schema import Keep
from benchmark.results.store import ResultStore, StorageError, spec_dict
from benchmark.spec import Augmentation, Evaluation, NoAugmentation, Normalisation, RunSpec

WritePlugin = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_result_has_every_block(spec: RunSpec, tmp_path: Path) -> None:
    planned, store = run(spec, tmp_path)
    result = json.loads((store.folder(planned.key) / "result.json").read_text())
    outcome = result["outcome"]
    assert outcome["status"] == "done"
    assert [len(row) for row in outcome["accuracy"]] == [1, 2, 3, 4]
    assert outcome["test_counts"] == [12, 12, 12, 12]
    assert [len(losses) for losses in outcome["losses"]] == [2, 2, 2, 2]
    assert outcome["flops_per_image"]["train"] > 2 * outcome["flops_per_image"]["predict"] > 0
    assert outcome["expanded_parameters"] == 0
    assert outcome["classifier_parameters"] == 8 * 65
    assert result["environment"]["weight_hash"] == planned.weight_hash
    assert (result["environment"]["role"], result["environment"]["stream"]) == ("bound", "tasks")
    assert result["environment"]["sources"].keys() >= {
        "methods.sequential",
        "benchmark.engine.runner",
        "benchmark.method",
    }
    assert result["environment"]["inputs"].keys() == {"image size", "pixel range"}
    assert result["spec"]["evaluation"] == {
        "resize": "both", "crop": 1.0, "interpolation": "bilinear"
    }  # fmt: skip
    assert result["spec"]["augmentation"]["scale"] == [0.5, 1.0]
    assert not (store.folder(planned.key) / checkpoint.NAME).exists()
    assert plan_runs([spec], store)[0].status == "done"


def test_predictions_agree_with_the_matrix(spec: RunSpec, tmp_path: Path) -> None:
    planned, store = run(spec, tmp_path)
    (accuracy, _), kept = numbers(store, planned.key)  # type: ignore[misc]
    for stage, row in enumerate(accuracy):
        top = kept[f"top_classes/{stage}"][:, 0]
        right = top == kept["labels"][: len(top)]
        assert [100 * part.mean() for part in np.split(right, len(row))] == pytest.approx(row)


def test_the_last_stage_alone_is_kept_and_gives_the_same_metrics(
    spec: RunSpec, tmp_path: Path
) -> None:
    found = {}
    for keep in get_args(Keep):
        store = ResultStore(tmp_path / keep)
        planned = plan_runs([spec], store)[0]
        execute([planned], ExecutionSettings(store.root, jobs=1, keep=keep), lambda event: None)
        found[keep] = store.predictions(planned.key)
    last = found["last"]
    assert {name for name in last if "/" in name} == {
        "top_classes/3",
        "top_scores/3",
        "known/3",
    }
    assert last["top_classes/3"].shape == (48, 1)
    assert prediction_metrics(last) == prediction_metrics(found["all"])
    results = [json.loads(f.read_text())["outcome"] for f in tmp_path.rglob("result.json")]
    assert results[0]["accuracy"] == results[1]["accuracy"]


@pytest.mark.parametrize("method", ["sequential", "inflora", "ncm"])
def test_cut_run_goes_on_to_the_same_bits(spec: RunSpec, tmp_path: Path, method: str) -> None:
    settings = METHODS.get(method).Config()
    spec = replace(spec, method=method, settings=settings)
    whole, store = run(spec, tmp_path / "whole")
    planned, cut_store = run_cut(spec, tmp_path / "cut")
    assert same(numbers(store, whole.key), numbers(cut_store, planned.key))


def test_what_a_method_notes_is_in_the_result_also_after_a_resume(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    body = (
        "    def begin_task(self, task, data):\n"
        "        self.note('said in every task')\n        self.note(f'task {min(task.index, 2)}')\n"
    )
    write_plugin("talker", body)
    spec = replace(spec, method="talker")
    for make in (run, run_cut):
        planned, store = make(spec, tmp_path / make.__name__)
        marks = store.read(planned.key)["outcome"]["marks"]
        assert marks == [*planned.notes, "said in every task", "task 0", "task 1", "task 2"]


def test_failure_is_recorded_and_does_not_stop_others(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    body = "    def loss(self, batch, task):\n        raise RuntimeError('no luck')\n"
    write_plugin("unlucky", body)
    store = ResultStore(tmp_path)
    planned = plan_runs([replace(spec, method="unlucky"), spec], store)
    failed = execute(planned, ExecutionSettings(tmp_path, jobs=1, device="cpu"), lambda e: None)
    assert failed == [planned[0].label]
    again = plan_runs([replace(spec, method="unlucky"), spec], store)
    assert [run.status for run in again] == ["failed", "done"]
    outcome = json.loads((store.folder(again[0].key) / "result.json").read_text())["outcome"]
    assert "no luck" in outcome["error"]


def test_old_data_is_out_of_reach(spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin) -> None:
    body = (
        "    def end_task(self, task, data):\n        type(self).hoard = data\n\n"
        "    def begin_task(self, task, data):\n"
        "        if task.index:\n            next(self.hoard.batches(False))\n"
    )
    write_plugin("hoarder", body)
    planned, store = run(replace(spec, method="hoarder"), tmp_path)
    assert store.status(planned.key) == "failed"
    outcome = json.loads((store.folder(planned.key) / "result.json").read_text())["outcome"]
    assert "void" in outcome["error"]


def test_joint_is_evaluated_once(spec: RunSpec, tmp_path: Path) -> None:
    planned, store = run(replace(spec, method="joint"), tmp_path)
    (accuracy, losses), kept = numbers(store, planned.key)  # type: ignore[misc]
    assert accuracy[:3] == [None, None, None]
    assert len(accuracy[3]) == 4
    assert len(losses) == 1
    assert "top_classes/3" in kept
    assert "top_classes/0" not in kept


def test_uneven_tasks_and_single_class_tasks(spec: RunSpec, tmp_path: Path) -> None:
    planned, store = run(replace(spec, tasks=(5, 1, 1, 1)), tmp_path)
    (accuracy, _), _ = numbers(store, planned.key)  # type: ignore[misc]
    assert [len(row) for row in accuracy] == [1, 2, 3, 4]


def test_a_full_disk_is_no_fault_of_the_method(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    store = ResultStore(tmp_path)
    planned = plan_runs([spec], store)[0]
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match=r"checkpoint\.pt.*No space left"):
        run_one(planned, store, Context(torch.device("cpu")), lambda event: None)
    assert store.status(planned.key) == "unfinished"
    assert [p.name for p in store.folder(planned.key).iterdir()] == [".lock"]


def test_a_run_that_another_process_has_finished_is_not_trained_again(
    spec: RunSpec, tmp_path: Path
) -> None:
    store = ResultStore(tmp_path)
    planned = plan_runs([spec], store)[0]
    done, _ = run(spec, tmp_path)
    before = (store.folder(done.key) / "result.json").read_bytes()
    seen: list[Event] = []
    assert run_one(planned, store, Context(torch.device("cpu")), seen.append) == "elsewhere"
    assert [type(event) for event in seen] == [Message]
    assert (store.folder(done.key) / "result.json").read_bytes() == before


def test_what_a_killed_process_was_writing_is_cleared(spec: RunSpec, tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    folder = store.folder(plan_runs([spec], store)[0].key)
    folder.mkdir(parents=True)
    for name in ("checkpoint.pt", "result.json", "predictions.npz"):
        (folder / f".{name}.123-abcd.tmp").write_bytes(b"half")
    run(spec, tmp_path)
    assert {p.name for p in folder.iterdir()} == {".lock", "result.json", "predictions.npz"}


@pytest.mark.parametrize("name", [".lock", "checkpoint.pt"])
def test_links_in_the_folder_of_a_run_are_not_written_through(
    spec: RunSpec, tmp_path: Path, name: str
) -> None:
    store = ResultStore(tmp_path / "results")
    planned = plan_runs([spec], store)[0]
    folder = store.folder(planned.key)
    folder.mkdir(parents=True)
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    (folder / name).symlink_to(outside)
    try:
        run_one(planned, store, Context(torch.device("cpu")), lambda event: None)
    except StorageError as error:
        assert "is a link" in str(error)
    assert outside.read_text() == "not ours"


def test_run_held_by_another_process_is_left_to_it(spec: RunSpec, tmp_path: Path) -> None:
    import fcntl

    store = ResultStore(tmp_path)
    planned = plan_runs([spec], store)[0]
    store.folder(planned.key).mkdir(parents=True)
    with (store.folder(planned.key) / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        status = run_one(planned, store, Context(torch.device("cpu")), lambda event: None)
    assert status == "elsewhere"


def test_order_file_counts_by_what_it_says(spec: RunSpec, tmp_path: Path) -> None:
    names = [f"class {c}" for c in range(8)]
    first, copy, other = (tmp_path / name for name in ("first.txt", "copy.txt", "other.txt"))
    first.write_text("\n".join(names))
    copy.write_text("\n".join(names))
    other.write_text("\n".join(reversed(names)))
    specs = [replace(spec, order=str(path)) for path in (first, copy, other)]
    keys = [run.key for run in plan_runs(specs, ResultStore(tmp_path))]
    assert len(keys) == 2  # the first two are one run


# -- augmentation ---------------------------------------------------------------------------------

OTHER = (
    "none",
    Augmentation(scale=(0.9, 1.0)),
    Augmentation(ratio=(1.0, 1.0)),
    Augmentation(flip=0.0),
    Augmentation(colour=0.5),
)


def test_other_augmentation_is_another_run_with_other_numbers(
    spec: RunSpec, tmp_path: Path
) -> None:
    specs = [spec, *(replace(spec, augmentation=other) for other in OTHER)]
    done = [run(one, tmp_path) for one in specs]
    assert len({planned.key for planned, _ in done}) == len(specs)
    losses = [str(store.read(planned.key)["outcome"]["losses"]) for planned, store in done]
    assert len(set(losses)) == len(specs)
    for one, (planned, store) in zip(specs, done, strict=True):
        assert store.read(planned.key)["spec"] == spec_dict(one)


def test_other_inputs_are_other_runs_with_other_numbers(spec: RunSpec, tmp_path: Path) -> None:
    ncm = with_method(spec, "ncm")
    specs = [
        ncm,
        replace(ncm, evaluation=Evaluation(resize="both", crop=0.5)),
        replace(ncm, evaluation=Evaluation(resize="both", crop=0.5, interpolation="bicubic")),
        replace(ncm, input_range=Normalisation((0.5, 0.4, 0.3), (0.5, 0.25, 0.125))),
    ]
    done = [run(one, tmp_path) for one in specs]
    assert len({planned.key for planned, _ in done}) == len(specs)
    scores = [store.predictions(planned.key)["top_scores/3"].tobytes() for planned, store in done]
    assert len(set(scores)) == len(specs)
    for one, (planned, store) in zip(specs, done, strict=True):
        assert store.read(planned.key)["spec"] == spec_dict(one)


@pytest.mark.parametrize("augmentation", ["none", Augmentation(colour=0.5)])
def test_a_cut_run_draws_the_same_augmentation(
    spec: RunSpec, tmp_path: Path, augmentation: Augmentation | NoAugmentation
) -> None:
    changed = replace(spec, augmentation=augmentation)
    whole, store = run(changed, tmp_path / "whole")
    resumed, cut_store = run_cut(changed, tmp_path / "cut")
    assert same(numbers(store, whole.key), numbers(cut_store, resumed.key))
