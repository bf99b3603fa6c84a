"""Runs on toy data, whole or stopped on the way."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import run_one
from torch import Tensor

from benchmark.engine.context import Context
from benchmark.engine.plan import PlannedRun, plan_runs
from benchmark.engine.task_loop import TaskLoop
from benchmark.events import Event, TaskDone
from benchmark.interruption import Interrupted, interruptible
from benchmark.method import Task
from benchmark.registry import METHODS
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

# Settings of methods whose own need a deeper network than the toy.
FITTING: dict[str, dict[str, object]] = {
    "coda_p": {"layers": (0, 1)},
    "dualprompt": {"layers": (1,), "general_layers": (0,)},
}


def with_method(spec: RunSpec, name: str) -> RunSpec:
    """The run with another method."""
    settings = METHODS.get(name).Config(**FITTING.get(name, {}))
    return replace(spec, method=name, settings=settings)


def run(spec: RunSpec, root: Path, emit: object = None) -> tuple[PlannedRun, ResultStore]:
    store = ResultStore(root)
    planned = plan_runs([spec], store)[0]
    status = run_one(planned, store, Context(torch.device("cpu")), emit or (lambda event: None))  # type: ignore[arg-type]
    assert status == store.status(planned.key)
    return planned, store


def numbers(store: ResultStore, key: str) -> tuple[object, dict[str, np.ndarray]]:
    outcome = json.loads((store.folder(key) / "result.json").read_text())["outcome"]
    with np.load(store.folder(key) / "predictions.npz") as file:
        predictions = {name: file[name] for name in file.files}
    return (outcome["accuracy"], outcome["losses"]), predictions


def same(a: tuple[object, dict[str, np.ndarray]], b: tuple[object, dict[str, np.ndarray]]) -> bool:
    return (
        a[0] == b[0]
        and a[1].keys() == b[1].keys()
        and all(np.array_equal(a[1][name], b[1][name]) for name in a[1])
    )


def run_cut(spec: RunSpec, root: Path, after: int = 1) -> tuple[PlannedRun, ResultStore]:
    """A run that was cut off after a 0-based task and then resumed."""

    class Cut(BaseException):
        pass

    def cut(event: Event) -> None:
        if isinstance(event, TaskDone) and event.task == after:
            raise Cut

    store = ResultStore(root)
    planned = plan_runs([spec], store)[0]
    with pytest.raises(Cut):
        run_one(planned, store, Context(torch.device("cpu")), cut)
    assert store.status(planned.key) == "unfinished"
    seen: list[Event] = []
    run(spec, root, seen.append)
    assert [event.task for event in seen if isinstance(event, TaskDone)] == list(
        range(after + 1, len(spec.tasks))
    )
    return planned, store


def run_interrupted(
    spec: RunSpec, root: Path, at: int, number: int = signal.SIGTERM, emit: object = None
) -> Path:
    """A run that got a signal in its `at`-th step; gives its folder."""
    steps = count(1)

    def step(loop: TaskLoop, task: Task, epoch: int, loss: Tensor, lr: float) -> None:
        if next(steps) == at:
            signal.raise_signal(number)

    earlier = signal.signal(number, signal.SIG_DFL)  # one that is ignored would stay so
    try:
        with pytest.MonkeyPatch.context() as patch, interruptible():
            patch.setattr(TaskLoop, "step", step)
            with pytest.raises(Interrupted) as caught:
                run(spec, root, emit)
    finally:
        signal.signal(number, earlier)
    assert caught.value.number == number
    return ResultStore(root).folder(plan_runs([spec], ResultStore(root))[0].key)


def lasting(store: ResultStore, key: str) -> dict[str, object]:
    """The outcome without times and memory, which no two runs share."""
    measured = ("train_seconds", "eval_seconds", "train_images_per_second", "peak_memory_mb")
    outcome = store.read(key)["outcome"]
    return {name: value for name, value in outcome.items() if name not in measured}
