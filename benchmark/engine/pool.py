"""Carrying out planned runs, each in a process of its own, one or several at a time."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import forkserver
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.backbones.catalogue import VitShape, find
from benchmark.data.base import default_root
from benchmark.events import Event
from benchmark.results.schema import Keep
from benchmark.results.store import ResultStore

if TYPE_CHECKING:  # it imports torch, which `warm_up` must come before
    from benchmark.engine.plan import PlannedRun

# Processes are copies of one that has imported everything: only safe where nothing but Python was
# started in that one.
CAN_COPY = sys.platform == "linux"


@dataclass(frozen=True)
class ExecutionSettings:
    """How runs are carried out; none of it is part of a run's key."""

    results: Path
    jobs: int = 0  # processes; 0: one a GPU, or one a core
    device: str = "auto"  # auto | cpu | cuda | cuda:N
    # CPU threads of a process; 0: one on a CPU, where the last digits depend on the number,
    # and the cores divided by jobs beside a GPU.
    threads: int = 0
    suite: str = ""
    data_root: Path = field(default_factory=default_root)
    workers: int = 0  # threads that decode image files, of each process; 0: its share of the cores
    plugins: tuple[Path, ...] = ()
    keep: Keep = "all"  # which predictions are stored


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


@contextmanager
def ignore_sigint() -> Iterator[None]:
    """Processes started inside ignore SIGINT, which a terminal sends to the whole group.

    The parent alone answers it, and ends its workers.
    """
    if threading.current_thread() is not threading.main_thread():  # it gets no signal
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


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
