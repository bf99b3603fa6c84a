"""Runs that stop within a task go on from there to the same bits."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from in_process import run_one
from toy_runs import lasting, numbers, run, run_interrupted, same, with_method

from benchmark.engine import checkpoint, within_task
from benchmark.engine.context import Context
from benchmark.engine.plan import plan_runs
from benchmark.engine.task_loop import TaskLoop
from benchmark.events import Event, Message
from benchmark.registry import METHODS
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

WritePlugin = Callable[[str, str], Path]
TRAINED = [name for name in METHODS.names() if name not in ("ncm", "linear_probe")]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def check_same_after(
    spec: RunSpec, tmp_path: Path, at: int, *, within: bool = True, number: int = signal.SIGTERM
) -> list[str]:
    """A run that got a signal in its `at`-th step ends as one that did not; gives its messages."""
    folder = run_interrupted(spec, tmp_path / "cut", at, number)
    saved = checkpoint.load(folder)
    assert bool(saved and saved.within) == within
    seen: list[Event] = []
    cut, cut_store = run(spec, tmp_path / "cut", seen.append)
    whole, store = run(spec, tmp_path / "whole")
    assert same(numbers(store, whole.key), numbers(cut_store, cut.key))
    assert lasting(store, whole.key) == lasting(cut_store, cut.key)
    return [event.text for event in seen if isinstance(event, Message)]


@pytest.mark.parametrize(
    ("method", "at", "number"),
    [
        ("sequential", 1, signal.SIGTERM),
        ("inflora", 14, signal.SIGINT),
        ("lae", 23, signal.SIGHUP),
    ],
)
def test_a_run_stopped_within_a_task_goes_on_from_there(
    spec: RunSpec, tmp_path: Path, method: str, at: int, number: int
) -> None:
    assert check_same_after(with_method(spec, method), tmp_path, at, number=number) == []


@pytest.mark.slow
@pytest.mark.parametrize("method", TRAINED)
@pytest.mark.parametrize("at", [2, 19])
def test_every_method_goes_on_within_a_task(
    spec: RunSpec, tmp_path: Path, method: str, at: int
) -> None:
    assert check_same_after(with_method(spec, method), tmp_path, at) == []


def test_no_step_is_made_twice(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    monkeypatch.setattr(TaskLoop, "step", lambda self, task, *rest: made.append(task.index))
    run(spec, tmp_path / "whole")
    whole = len(made)
    run_interrupted(spec, tmp_path / "cut", whole - 3)
    made.clear()
    run(spec, tmp_path / "cut")
    assert len(made) == 3


def test_training_is_saved_at_the_interval(
    spec: RunSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(within_task.time, "monotonic", lambda: now[0])
    saves: list[int] = []
    real = checkpoint.save

    def save(folder: Path, saved: checkpoint.Saved) -> None:
        saves.append(steps[0] if saved.within else 0)
        real(folder, saved)

    steps = [0]

    def step(*arguments: object) -> None:
        steps[0] += 1
        now[0] += 1.0

    monkeypatch.setattr(checkpoint, "save", save)
    monkeypatch.setattr(TaskLoop, "step", step)
    store = ResultStore(tmp_path)
    planned = plan_runs([replace(spec, tasks=(8,))], store)[0]
    context = Context(torch.device("cpu"), checkpoint_every=5.0)
    assert run_one(planned, store, context, lambda event: None) == "done"
    assert saves == [*range(5, steps[0] + 1, 5), 0]


COUNTING = """\
    def begin_task(self, task, data):
        self.data, self.steps, self.seen = data, 0, [torch.zeros(2), {"a": (1, None)}]
        self.noise = torch.Generator().manual_seed(0)

    def begin_epoch(self, task, epoch):
        self.heads.eval()
        next(self.data.batches(True))

    def loss(self, batch, task):
        import random
        import numpy as np
        self.steps += 1
        self.seen[0] = self.seen[0] + self.steps
        self.seen[1] = {"a": (self.steps, "b"), 3: [self.seen[1]["a"][0]]}
        drawn = float(torch.rand(())) + np.random.rand() + random.random()
        return super().loss(batch, task) * (drawn + self.steps + float(self.seen[0][1]))
"""


@pytest.mark.parametrize("at", [5, 6, 20])  # 6: the last step of an epoch
def test_attributes_that_training_changes_and_all_generators_come_back(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin, at: int
) -> None:
    write_plugin("counting", COUNTING)
    assert check_same_after(with_method(spec, "counting"), tmp_path, at) == []


UNSTORABLE = {
    "a generator of numbers": "self.own = iter([len(batch.labels)])",
    "an object": "self.own = __import__('collections').Counter(a=len(batch.labels))",
    "a part of a parameter": "self.own = self.heads[-1].weight.detach()[0]",
    "shared by two": "self.own = self.other = [len(batch.labels)]",
    "a gradient": "self.own = self.heads[-1].weight.sum()",
}


@pytest.mark.parametrize("statement", UNSTORABLE.values(), ids=UNSTORABLE)
def test_what_cannot_be_stored_within_a_task_starts_the_task_again(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin, statement: str
) -> None:
    write_plugin(
        "odd",
        f"    def loss(self, batch, task):\n        {statement}\n"
        "        return super().loss(batch, task)\n",
    )
    seen: list[Event] = []
    spec = with_method(replace(spec, tasks=(4, 4)), "odd")
    folder = run_interrupted(spec, tmp_path, 3, emit=seen.append)
    assert not (folder / checkpoint.NAME).exists()
    [text] = [event.text for event in seen if isinstance(event, Message)]
    assert "cannot be saved within a task" in text and re.search("own|other", text)


def test_preparation_that_comes_out_otherwise_starts_the_task_again(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    body = (
        "    def begin_task(self, task, data):\n"
        "        type(self).calls = getattr(type(self), 'calls', 0) + 1\n"
        "        self.call = self.calls if self.calls < 3 else 0\n"
    )
    write_plugin("forgetful", body)
    spec = with_method(replace(spec, tasks=(4, 4)), "forgetful")
    run_interrupted(spec, tmp_path, 3)
    seen: list[Event] = []
    run(spec, tmp_path, seen.append)
    [text] = [event.text for event in seen if isinstance(event, Message)]
    assert "task 1 starts again: begin_task did not do the same again" in text
