"""Carrying out planned runs, each in a process of its own, one or several at a time."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import forkserver
from typing import TYPE_CHECKING

from benchmark.backbones.catalogue import VitShape, find
from benchmark.engine.execution import CAN_COPY, ExecutionSettings, ignore_sigint
from benchmark.events import Event
from benchmark.results.store import ResultStore

if TYPE_CHECKING:  # it imports torch, which `warm_up` must come before
    from benchmark.engine.plan import PlannedRun

__all__ = ["ExecutionSettings", "default_jobs", "execute", "warm_up"]


def execute(
    planned: list[PlannedRun], settings: ExecutionSettings, emit: Callable[[Event], None]
) -> list[str]:
    """Carry out the open runs, the longest first; one that fails does not stop the others.

    Returns:
        Labels of the runs that failed.

    Raises:
        StorageError: Results cannot be written; at once.
    """
    todo = sorted((run for run in planned if run.open), key=_expected_work, reverse=True)
    ResultStore(settings.results).check_writable()
    settings = replace(settings, jobs=settings.jobs or default_jobs(settings.device))
    warm_up()
    from benchmark.engine.supervisor import Supervisor

    with Supervisor(todo, settings, emit) as supervisor:
        supervisor.work()
    return supervisor.failed


def warm_up() -> None:
    """Begin to import the engine in the process that those of runs will be copied from.

    It takes seconds, on another core, in parallel with the planning.
    """
    if CAN_COPY:
        multiprocessing.set_forkserver_preload(["benchmark.engine.process"])
        with ignore_sigint():
            forkserver.ensure_running()


def default_jobs(device: str) -> int:
    """Default number of runs at a time: one per GPU, or one per core."""
    import torch

    if device in ("auto", "cuda") and torch.cuda.is_available():
        return torch.cuda.device_count()
    return 1 if device.startswith("cuda") else os.cpu_count() or 1


def _expected_work(run: PlannedRun) -> float:
    """A rough size for ordering runs, so that no long one comes last."""
    from benchmark.engine.forecast import training_passes

    return training_passes(run.spec, find(run.spec.backbone).shape or VitShape())
