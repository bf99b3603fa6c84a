"""Runs in processes of their own: what a method does ends with its run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.engine import supervisor
from benchmark.engine.plan import PlannedRun, plan_runs
from benchmark.engine.pool import ExecutionSettings, execute
from benchmark.events import Event, Message
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

WritePlugin = Callable[[str, str], Path]

# Each breaks something that is not its own in the middle of a run.
BREAKING = {
    "exits": ("import sys; sys.exit(0)", "SystemExit"),
    "ends_at_once": ("import os; os._exit(0)", "exit code 0"),
    "crashes": ("import ctypes; ctypes.string_at(0)", "SIGSEGV"),
    "kills": ("import os; os.kill(os.getpid(), 9)", "SIGKILL"),
    "breaks_torch": (
        "torch.nn.functional.cross_entropy = None; torch.Tensor.backward = None", "TypeError",
    ),
    "changes_defaults": (
        "torch.set_default_dtype(torch.float64); torch.set_num_threads(7); "
        "torch.set_grad_enabled(False)", "depends on no trained parameter",
    ),
    "halves_everything": (
        "import gc; gc.unfreeze(); "
        "[m.half() for m in gc.get_objects() if isinstance(m, torch.nn.Module)]", "",
    ),
}  # fmt: skip


def carry_out(planned: list[PlannedRun], root: Path, jobs: int = 1) -> list[str]:
    settings = ExecutionSettings(root, jobs=jobs, device="cpu")
    return execute(planned, settings, lambda event: None)


def test_what_a_method_breaks_ends_with_its_run(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    names = list(BREAKING)
    for name in names:
        write_plugin(
            name, f"    def begin_epoch(self, task, epoch):\n        {BREAKING[name][0]}\n"
        )
    spec = replace(spec, tasks=(4, 4), recipe=replace(spec.recipe, epochs=1))
    store, alone = ResultStore(tmp_path / "all"), ResultStore(tmp_path / "alone")
    carry_out(plan_runs([spec], alone), alone.root)
    # The longest runs go first: the one that must not be harmed is the last.
    long = replace(spec, recipe=replace(spec.recipe, epochs=2))
    planned = plan_runs([*(replace(long, method=name) for name in names), spec], store)
    failed = carry_out(planned, store.root)
    assert failed == [run.label for run in planned[:-1]]
    for run, (_, text) in zip(planned, BREAKING.values(), strict=False):
        outcome = store.read(run.key)["outcome"]
        assert outcome["status"] == "failed"
        assert text in (outcome["error"] or "")
    outcomes = [s.read(planned[-1].key)["outcome"] for s in (store, alone)]
    for name in ("accuracy", "losses", "stored", "flops_per_image"):
        assert outcomes[0][name] == outcomes[1][name]


def test_a_process_tells_what_happens_in_it(spec: RunSpec, tmp_path: Path) -> None:
    seen: list[Event] = []
    planned = plan_runs([spec], ResultStore(tmp_path))
    settings = ExecutionSettings(tmp_path, jobs=1, device="cpu")
    assert execute(planned, settings, seen.append) == []
    kinds = [type(event).__name__ for event in seen]
    task = ["TaskStarted", "EpochDone", "EpochDone", "TaskDone"]
    assert kinds == ["RunStarted", *4 * task, "RunDone"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_data_that_changed_after_planning_are_a_failure(
    spec: RunSpec, tmp_path: Path, jobs: int
) -> None:
    planned = plan_runs([spec], ResultStore(tmp_path))
    assert carry_out([replace(planned[0], data_hash="other")], tmp_path, jobs) == [planned[0].label]
    assert "changed after" in str(ResultStore(tmp_path).read(planned[0].key)["outcome"]["error"])


@pytest.mark.slow  # its process is given time to end by itself
def test_a_hook_that_hangs_ends_at_its_limit(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin
) -> None:
    hang = "import time; time.sleep(600)"
    write_plugin("hangs", f"    def begin_epoch(self, task, epoch):\n        {hang}\n")
    planned = plan_runs([replace(spec, method="hangs")], ResultStore(tmp_path))
    settings = ExecutionSettings(tmp_path, jobs=1, device="cpu", hook_limit=1.0)
    assert execute(planned, settings, lambda event: None) == [planned[0].label]
    outcome = ResultStore(tmp_path).read(planned[0].key)["outcome"]
    assert outcome["status"] == "failed"
    assert outcome["error"] == "begin_epoch took longer than 1 s, the limit of --hook-limit"


def test_silence_is_told_and_harms_nothing(
    spec: RunSpec, tmp_path: Path, write_plugin: WritePlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "SILENCE", 0.5)
    pause = "import time; time.sleep(3 * (task.index == 0 and epoch == 0))"
    write_plugin("pauses", f"    def begin_epoch(self, task, epoch):\n        {pause}\n")
    seen: list[Event] = []
    planned = plan_runs([replace(spec, method="pauses")], ResultStore(tmp_path))
    settings = ExecutionSettings(tmp_path, jobs=1, device="cpu")
    assert execute(planned, settings, seen.append) == []
    told = [event.text for event in seen if isinstance(event, Message)]
    assert any("no step for" in text and text.endswith("in begin_epoch") for text in told)
