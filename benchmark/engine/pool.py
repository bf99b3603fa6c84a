"""Carrying out planned runs, in this process or in several worker processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import Pipe, forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.backbones.catalogue import VitShape, find
from benchmark.data.base import default_root
from benchmark.events import Event, Message, RunDone
from benchmark.registry import METHODS, add_plugin
from benchmark.results.schema import Keep
from benchmark.results.store import SCHEMA_VERSION, ResultStore, StorageError, spec_dict

if TYPE_CHECKING:  # they import torch, which `warm_up` must come before
    from benchmark.engine.context import Context
    from benchmark.engine.plan import PlannedRun

# Workers are copies of a process that has imported everything: only safe where nothing but Python
# was started in that process.
_CAN_COPY = sys.platform == "linux"


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
    store = ResultStore(settings.results)
    store.check_writable()
    settings = replace(settings, jobs=settings.jobs or default_jobs(settings.device))
    if settings.jobs > 1:
        return _in_workers(todo, settings, emit)
    from benchmark.engine.runner import run_one

    context = _context(settings, 0)
    return [run.label for run in todo if run_one(run, store, context, emit) == "failed"]


def warm_up() -> None:
    """Begin to import the engine in the process that workers will be copied from.

    It takes seconds, on another core, in parallel with the planning.
    """
    if _CAN_COPY:
        multiprocessing.set_forkserver_preload(["benchmark.engine.runner"])
        with ignore_sigint():
            forkserver.ensure_running()


@contextmanager
def ignore_sigint() -> Iterator[None]:
    """Processes started inside ignore SIGINT, which a terminal sends to the whole group.

    The parent alone answers it, and ends its workers.
    """
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


def _context(settings: ExecutionSettings, index: int) -> Context:
    """Set the number of threads of this process, the index-th, and make what its runs share."""
    import torch

    from benchmark.engine.context import Context

    name = settings.device
    if name in ("auto", "cuda") and torch.cuda.is_available():
        name = f"cuda:{index % torch.cuda.device_count()}"
    device = torch.device("cpu" if name == "auto" else name)
    share = max(1, (os.cpu_count() or 1) // settings.jobs)
    torch.set_num_threads(settings.threads or (1 if device.type == "cpu" else share))
    workers = settings.workers or share
    return Context(device, settings.suite, settings.data_root, workers, settings.keep)


def _in_workers(
    todo: list[PlannedRun], settings: ExecutionSettings, emit: Callable[[Event], None]
) -> list[str]:
    queue = list(todo)
    failed: list[str] = []
    processes = [_Process(settings, index) for index in range(min(settings.jobs, len(queue)))]
    try:
        for worker in processes:
            worker.start(queue.pop(0))
        while busy := [worker for worker in processes if worker.current is not None]:
            for connection in wait([worker.connection for worker in busy]):
                worker = next(w for w in busy if w.connection is connection)
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    message = worker.record_death(emit)
                if isinstance(message, StorageError):
                    raise message
                if isinstance(message, str):  # the status the run ended with
                    assert worker.current is not None
                    if message == "failed":
                        failed.append(worker.current.label)
                    worker.current = None
                    if queue:
                        worker.start(queue.pop(0))
                else:
                    emit(message)
    finally:
        for worker in processes:
            worker.stop()
    return failed


class _Process:
    """A worker process and the run it is busy with."""

    def __init__(self, settings: ExecutionSettings, index: int) -> None:
        self.settings, self.index = settings, index
        self.current: PlannedRun | None = None
        self._spawn()

    def _spawn(self) -> None:
        self.connection, theirs = Pipe()
        arguments = (theirs, self.settings, self.index)
        # Typeshed does not know that every context has a Process of its own.
        context = multiprocessing.get_context("forkserver" if _CAN_COPY else "spawn")
        self.process = context.Process(  # type: ignore[attr-defined]
            target=_serve, args=arguments, daemon=True
        )
        with ignore_sigint():
            self.process.start()
        theirs.close()

    def start(self, run: PlannedRun) -> None:
        """Hand over the next run."""
        if not self.process.is_alive():
            self._spawn()
        self.current = run
        self.connection.send(run)

    def record_death(self, emit: Callable[[Event], None]) -> str:
        """Record that the process died during a run, and start another process."""
        assert self.current is not None
        self.process.join()
        run, code = self.current, self.process.exitcode
        method = METHODS.get(run.spec.method)
        error = f"its process ended with exit code {code} (killed, or out of memory?)"
        ResultStore(self.settings.results).write(
            {
                "schema": SCHEMA_VERSION,
                "key": run.key,
                "spec": spec_dict(run.spec),
                "outcome": {"status": "failed", "error": error},
                "environment": {
                    "role": method.role,
                    "stream": method.stream,
                    "suite": self.settings.suite,
                },
            },
            {},
        )
        emit(Message(f"{run.label} failed: {error}"))
        emit(RunDone(run.key, "failed", None, 0.0))
        self._spawn()
        return "failed"

    def stop(self) -> None:
        """End the process; an unfinished run keeps its last checkpoint."""
        self.connection.close()
        self.process.terminate()
        self.process.join()


def _serve(connection: Connection[Any, Any], settings: ExecutionSettings, index: int) -> None:
    """Body of a worker process: take runs until the parent closes the connection or dies."""
    for plugin in settings.plugins:
        for source in add_plugin(plugin):
            if source.registry == METHODS.variable:
                METHODS.get(source.name)  # runs come with settings of the plug-in's own classes
    from benchmark.engine.runner import run_one

    store, context = ResultStore(settings.results), _context(settings, index)
    try:
        while True:
            planned = connection.recv()
            try:
                status: str | StorageError = run_one(planned, store, context, connection.send)
            except StorageError as error:
                status = error
            connection.send(status)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone: what is finished is stored, the rest can be resumed
