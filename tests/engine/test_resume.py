"""Runs go on from saved state after every task, so that nothing depends on where they stopped."""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from toy_runs import lasting, numbers, run, run_cut, same

from benchmark.engine import checkpoint
from benchmark.engine.plan import plan_runs
from benchmark.engine.state import packed
from benchmark.events import Event, Message, TaskDone
from benchmark.registry import METHODS
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

WritePlugin = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


HIDDEN = """\
    def end_task(self, task, data):
        self.bonus = getattr(self, "bonus", 0) + 1

    def predict(self, images, frozen=None):
        logits = super().predict(images)
        return logits + getattr(self, "bonus", 0) * torch.arange(logits.shape[1])

    def loss(self, batch, task):
        return super().loss(batch, task) * (1 + getattr(self, "bonus", 0))
"""
DRAWING = """\
    def loss(self, batch, task):
        import random
        import numpy as np
        drawn = torch.rand(()) + np.random.rand() + random.random()
        return super().loss(batch, task) * float(drawn)
"""


@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("body", [HIDDEN, DRAWING])
def test_state_outside_the_state_dict_and_global_generators_make_no_difference(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin, body: str, after: int
) -> None:
    write_plugin("odd", body)
    spec = replace(spec, method="odd")
    whole, store = run(spec, tmp_path / "whole")
    cut, cut_store = run_cut(spec, tmp_path / "cut", after)
    assert same(numbers(store, whole.key), numbers(cut_store, cut.key))


def test_hidden_state_reaches_neither_evaluation_nor_the_next_task(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    write_plugin("hidden", HIDDEN)
    plain, store = run(spec, tmp_path)
    hidden, _ = run(replace(spec, method="hidden"), tmp_path)
    assert same(numbers(store, plain.key), numbers(store, hidden.key))


@pytest.mark.parametrize("method", ["inflora", "lae"])
def test_costs_of_a_resumed_run_are_those_of_an_uncut_one(
    spec: RunSpec, tmp_path: Path, method: str
) -> None:
    spec = replace(spec, method=method, settings=METHODS.get(method).Config())
    whole, store = run(spec, tmp_path / "whole")
    cut, cut_store = run_cut(spec, tmp_path / "cut", 3)
    assert lasting(store, whole.key) == lasting(cut_store, cut.key)


def test_time_and_memory_of_earlier_processes_count(spec: RunSpec, tmp_path: Path) -> None:
    planned = plan_runs([spec], ResultStore(tmp_path))[0]
    folder = tmp_path / "cut" / "runs" / planned.key
    saved: list[float] = []

    def lengthen(event: Event) -> None:
        loaded = checkpoint.load(folder)
        if loaded and not saved:
            progress = loaded.progress
            saved.append(progress.seconds)
            progress.seconds, progress.peak_memory_mb = 1000.0, 1e6
            checkpoint.save(folder, loaded)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec, tmp_path / "cut", lengthen)
    assert saved[0] > 0
    _, cut_store = run(spec, tmp_path / "cut")
    result = cut_store.read(planned.key)
    assert result["environment"]["seconds"] > 1000
    assert result["outcome"]["peak_memory_mb"] == 1e6


# -- state that cannot be loaded again ------------------------------------------------------------

IN_END_TASK = "    def end_task(self, task, data):\n        {}\n"
EXTRA = "    def get_extra_state(self):\n        return {}\n"
BACK = "    def set_extra_state(self, state):\n        pass\n"
UNLOADABLE = {
    "a buffer made too late": (
        IN_END_TASK.format("self.register_buffer('late', torch.ones(2))"),
        "late is not there after __init__ and grow",
    ),
    "a shape that depends on data": (
        "    def grow(self, task):\n        super().grow(task)\n"
        "        self.register_buffer('means', torch.zeros(1))\n"
        + IN_END_TASK.format("self.means = torch.zeros(3)"),
        r"means has shape \(3,\)",
    ),
    "a parameter that has gone": (IN_END_TASK.format("del self.heads[-1]"), "heads.0.bias .*gone"),
    "another type": (
        IN_END_TASK.format("self.heads[-1].half()"),
        r"heads\.0\.weight: what is loaded",
    ),
    "an object": (
        EXTRA.format("object()") + BACK,
        "get_extra_state of the method cannot be stored",
    ),
    "a function": (EXTRA.format("lambda: 1") + BACK, "get_extra_state of the method cannot be"),
    "an array": (
        EXTRA.format("__import__('numpy').ones(3)") + BACK,
        "get_extra_state of the method cannot be stored",
    ),
    "state that is not taken back": (EXTRA.format("{'a': 1}"), "has no set_extra_state"),
    "state that is taken back otherwise": (
        EXTRA.format("{'a': getattr(self, 'count', 0)}")
        + BACK
        + IN_END_TASK.format("self.count = 1"),
        "get_extra_state of the method: what is loaded",
    ),
    "a set_extra_state that raises": (
        EXTRA.format("1") + BACK.replace("pass", "raise KeyError('x')"),
        "set_extra_state: 'x'",
    ),
}


@pytest.mark.parametrize(("body", "message"), UNLOADABLE.values(), ids=UNLOADABLE)
def test_state_that_cannot_be_loaded_again_fails_the_run_after_its_first_task(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin, body: str, message: str
) -> None:
    write_plugin("unloadable", body)
    planned, store = run(replace(spec, method="unloadable"), tmp_path)
    outcome = store.read(planned.key)["outcome"]
    assert outcome["status"] == "failed"
    assert re.search(f"StateError.*{message}", outcome["error"] or "")
    assert not (store.folder(planned.key) / checkpoint.NAME).exists()


def test_state_that_is_not_a_number_is_kept(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    body = (
        "    def get_extra_state(self):\n        return {'a': [float('nan'), None, 'b', (1, 2)]}\n"
        "    def set_extra_state(self, state):\n        self.state = state\n"
    )
    write_plugin("nan", body)
    planned, store = run(replace(spec, method="nan"), tmp_path)
    assert store.status(planned.key) == "done"


# -- checkpoints that cannot be used --------------------------------------------------------------


@pytest.fixture
def stopped(spec: RunSpec, tmp_path: Path) -> Path:
    """A checkpoint after the second of four tasks."""
    return stop(spec, tmp_path / "stopped", 1)


def stop(spec: RunSpec, root: Path, after: int) -> Path:
    """The checkpoint of a run that was stopped after a 0-based task."""

    def cut(event: Event) -> None:
        if isinstance(event, TaskDone) and event.task == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(spec, root, cut)
    [file] = root.rglob(checkpoint.NAME)
    return file


def with_digest(content: bytes) -> bytes:
    return b"clbench checkpoint " + hashlib.sha256(content).hexdigest().encode() + b"\n" + content


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_any_flipped_bit_of_a_checkpoint_is_noticed(stopped: Path) -> None:
    content = stopped.read_bytes()
    for bit in random.Random(0).sample(range(8 * len(content)), 400):
        stopped.write_bytes(flipped(content, bit))
        with pytest.raises(checkpoint.CheckpointError):
            checkpoint.load(stopped.parent)


@pytest.mark.parametrize("kind", ["short", "empty", "foreign", "other tasks", "other progress"])
def test_a_checkpoint_that_cannot_be_used_is_put_aside_and_the_run_starts_again(
    spec: RunSpec, tmp_path: Path, stopped: Path, kind: str
) -> None:
    content = stopped.read_bytes()
    if kind == "other tasks":
        content = stop(replace(spec, tasks=(4, 2, 1, 1)), tmp_path / "other", 1).read_bytes()
    elif kind == "other progress":
        content = with_digest(packed({"state": torch.zeros(1), "progress": {"stages": 3}}))
    else:
        content = {"short": content[:-9], "empty": b"", "foreign": with_digest(b"PK\x03\x04")}[kind]
    stopped.write_bytes(content)
    seen: list[Event] = []
    resumed, store = run(spec, tmp_path / "stopped", seen.append)
    whole, whole_store = run(spec, tmp_path / "whole")
    assert same(numbers(store, resumed.key), numbers(whole_store, whole.key))
    assert stopped.with_name("checkpoint.damaged-1").read_bytes() == content
    [text] = [event.text for event in seen if isinstance(event, Message)]
    assert "put aside as checkpoint.damaged-1" in text
