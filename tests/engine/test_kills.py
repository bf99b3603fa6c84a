"""Runs that are killed at random moments, within tasks too, end as those that are not."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from in_process import run_one
from toy_runs import lasting, numbers, run, same, with_method

from benchmark.engine import checkpoint
from benchmark.engine.context import Context
from benchmark.engine.plan import plan_runs
from benchmark.engine.runner import tidy
from benchmark.registry import METHODS
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

pytestmark = pytest.mark.slow

INTERVAL = 0.02  # seconds between two saves within a task
LONGEST = 0.12  # seconds that a process goes on after its first save
PROCESSES = 100  # that a run may take


def killed(spec: RunSpec, root: Path, after: float) -> bool:
    """Go on with a run in a process that is killed some seconds after a save; whether it was."""
    store = ResultStore(root)
    planned = plan_runs([spec], store)[0]
    file = store.folder(planned.key) / checkpoint.NAME
    before = stamp(file)
    child = os.fork()
    if child == 0:
        try:
            context = Context(torch.device("cpu"), checkpoint_every=INTERVAL)
            run_one(planned, store, context, lambda event: None)
        finally:
            os._exit(0)
    while stamp(file) == before:
        if os.waitpid(child, os.WNOHANG) != (0, 0):
            return False
        time.sleep(0.005)
    time.sleep(after)
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def stamp(file: Path) -> int:
    """When a file was last written; 0 where there is none."""
    return file.stat().st_mtime_ns if file.exists() else 0


@pytest.mark.parametrize("method", METHODS.names())
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(
    spec: RunSpec,
    tmp_path: Path,
    method: str,
    record_property: Callable[[str, object], None],
) -> None:
    torch.set_num_threads(1)
    spec = with_method(spec, method)
    whole, store = run(spec, tmp_path / "whole")
    draws, cut_store = random.Random(method), ResultStore(tmp_path / "cut")
    kills = 0
    for _ in range(PROCESSES):
        if cut_store.status(whole.key) == "done":
            break
        # The first one at once: the fastest runs end within LONGEST.
        kills += killed(spec, cut_store.root, draws.uniform(0, LONGEST) if kills else 0.0)
    record_property("kills", kills)  # in the report of pytest --junitxml
    assert kills
    assert same(numbers(store, whole.key), numbers(cut_store, whole.key))
    assert lasting(store, whole.key) == lasting(cut_store, whole.key)
    tidy(whole, cut_store)  # as every `clbench run` does; a kill may come after the result
    folder = cut_store.folder(whole.key)
    assert {file.name for file in folder.iterdir()} == {".lock", "result.json", "predictions.npz"}
