"""The parent's side of runs in processes of their own: it hands out, records and ends them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from threading import Thread
from typing import Any

import numpy as np
import torch

from benchmark.data.base import ArrayImages, DataError, Images
from benchmark.data.loading import FileLoader, Preparation
from benchmark.engine import hooks
from benchmark.engine.context import Context
from benchmark.engine.execution import CAN_COPY, ExecutionSettings, ignore_sigint
from benchmark.engine.plan import PlannedRun
from benchmark.engine.process import Ahead, Assignment, MethodFile, Request, serve
from benchmark.engine.runner import Ending, Record, held
from benchmark.engine.served_images import serve_images
from benchmark.events import Event, Message
from benchmark.registry import METHODS, plugin_files
from benchmark.results.store import ResultStore, StorageError
from benchmark.words import duration

POLL = 1.0  # seconds between two looks at runs that say nothing
SILENCE = 600.0  # seconds without a call of a hook after which the user is told, then twice as long
PATIENCE = 10.0  # seconds that a process has to end by itself
CPU = torch.device("cpu")


def _ahead(planned: PlannedRun, settings: ExecutionSettings, index: int) -> Ahead:
    """What the process of a run, the index-th at a time, can make ready."""
    context, threads = _context(settings, index)
    spec = planned.spec
    return Ahead(context, threads, spec.backbone, spec.backbone_file, spec.backbone_image_size)


def _context(settings: ExecutionSettings, index: int) -> tuple[Context, int]:
    """What the index-th process at a time works with, and its number of threads."""
    name = settings.device
    if name in ("auto", "cuda") and torch.cuda.is_available():
        name = f"cuda:{index % torch.cuda.device_count()}"
    device = torch.device("cpu" if name == "auto" else name)
    share = max(1, (os.cpu_count() or 1) // settings.jobs)
    threads = settings.threads or (1 if device.type == "cpu" else share)
    workers = settings.workers or share
    context = Context(
        device,
        settings.suite,
        settings.data_root,
        workers,
        settings.keep,
        settings.checkpoint_every,
    )
    return context, threads


class Supervisor:
    """Runs in progress, those that wait, and a process that is made ready for the next."""

    def __init__(
        self, todo: list[PlannedRun], settings: ExecutionSettings, emit: Callable[[Event], None]
    ) -> None:
        self._queue, self._settings, self._emit = list(todo), settings, emit
        self._store = ResultStore(settings.results)
        # Data sets are loaded once, here: no process of a run has all their labels.
        self._context = _context(settings, 0)[0]
        self._free = list(range(min(settings.jobs, len(todo))))[::-1]
        self._running: dict[Connection[Any, Any], _Run] = {}
        self._spare: _Process | None = None
        self.failed: list[str] = []

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *raised: object) -> None:
        """End all processes; an unfinished run keeps its last checkpoint."""
        for run in self._running.values():
            run.terminate()
        for run in self._running.values():
            run.stop()
        if self._spare is not None:
            self._spare.stop()

    def work(self) -> None:
        """Carry out all runs."""
        while self._queue or self._running:
            while self._queue and self._free:
                self._start(self._queue.pop(0), self._free.pop())
            ready = wait(list(self._running), POLL) if self._running else ()
            for connection in ready:
                run = self._running[connection]  # type: ignore[index]
                self._end(run, run.attend())
            for run in list(self._running.values()):
                self._end(run, run.look(self._settings.hook_limit))

    def _start(self, planned: PlannedRun, index: int) -> None:
        """Begin with a run, or record at once that it cannot be had."""
        run = _Run(planned, index, self._store, self._context, self._emit)
        if run.status is not None:
            self._free.append(index)
            self._close(planned, run.status)
            return
        ahead = _ahead(planned, self._settings, index)
        process = self._spare
        if process is None or process.ahead != ahead or not process.alive:
            if process is not None:
                process.stop()
            process = _Process(ahead)
        run.hand_over(process)
        self._running[process.connection] = run
        # The next run's process starts while this run trains.
        waiting = self._queue[:1]
        self._spare = _Process(_ahead(waiting[0], self._settings, index)) if waiting else None

    def _end(self, run: _Run, ending: Ending | None) -> None:
        """Record a run that has come to its end."""
        if ending is not None:
            self._running = {c: other for c, other in self._running.items() if other is not run}
            self._free.append(run.index)
            self._close(run.planned, run.close(ending))

    def _close(self, planned: PlannedRun, status: str) -> None:
        if status == "failed":
            self.failed.append(planned.label)


class _Process:
    """A process that takes one run; it makes itself ready at once."""

    def __init__(self, ahead: Ahead) -> None:
        self.ahead = ahead
        self.connection, theirs = Pipe()
        self.images, their_images = Pipe()
        # Typeshed does not know that every context has a Process of its own.
        context = multiprocessing.get_context("forkserver" if CAN_COPY else "spawn")
        self.pulse = context.RawArray("q", 2)  # see `hooks.watch`
        self._process = context.Process(  # type: ignore[attr-defined]
            target=serve, args=(theirs, their_images, self.pulse), daemon=True
        )
        with ignore_sigint():
            self._process.start()
        theirs.close()
        their_images.close()
        self.connection.send(ahead)

    @property
    def alive(self) -> bool:
        """Whether it has not died while it waited."""
        return bool(self._process.is_alive())

    def ended(self) -> str:
        """Wait for its end, and say how it came."""
        self._process.join()
        code = self._process.exitcode
        if code is not None and code < 0:
            return f"its process was ended by {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"

    def terminate(self) -> None:
        """Ask the process to end; it saves its run first, where it is training."""
        self._process.terminate()

    def stop(self) -> None:
        """End the process, by force where it does not listen."""
        self.terminate()
        self._process.join(PATIENCE)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.connection.close()
        self.images.close()


class _Run:
    """A run that another process carries out.

    status: how it ended, where that is known before it began.
    """

    def __init__(
        self,
        planned: PlannedRun,
        index: int,
        store: ResultStore,
        context: Context,
        emit: Callable[[Event], None],
    ) -> None:
        self.planned, self.index = planned, index
        self.status: str | None = None
        self._process: _Process | None = None
        self._emit, self._folder = emit, store.folder(planned.key)
        self._held = ExitStack()
        if reason := self._held.enter_context(held(planned, store)):
            emit(Message(f"{planned.label} skipped: {reason}"))
            self.status = "elsewhere"
            return
        self._record = Record(planned, store, context, emit)
        self._context = context
        if self._record.examiner is None:
            self.status = self.close(self._record.fault)

    def hand_over(self, process: _Process) -> None:
        """Let the process carry out the run."""
        examiner = self._record.examiner
        assert examiner is not None
        self._process, self._began = process, time.perf_counter()
        self._pulse, self._changed, self._said = (-1, -1), time.monotonic(), 0
        source = METHODS.source(self.planned.spec.method)
        plugin = source.path if source.path in plugin_files() else None
        with suppress(OSError):  # a process that has died is found when it is read from
            process.connection.send(MethodFile(source.name, plugin))
            process.connection.send(
                Assignment(self.planned, self._folder, examiner.outline, *examiner.places())
            )

    def attend(self) -> Ending | None:
        """Take one message of the process; the ending, where it has come to its end.

        Raises `StorageError` where results cannot be written.
        """
        assert self._process is not None
        connection = self._process.connection
        try:
            message = connection.recv()
            if isinstance(message, Request):
                connection.send(self._reply(message))
                return None
        except (EOFError, OSError):
            hook = hooks.NAMES[self._process.pulse[0]]
            where = f" in {hook}" if hook else ""
            error = f"{self._process.ended()}{where} (killed, or out of memory?)"
            outcome = {"status": "failed", "error": error}
            return Ending(outcome, seconds=time.perf_counter() - self._began)
        if isinstance(message, StorageError):
            raise message
        if isinstance(message, Ending):
            return message
        self._emit(message)
        return None

    def look(self, hook_limit: float) -> Ending | None:
        """See whether the run goes on; its ending, where one call of a hook takes too long."""
        assert self._process is not None
        pulse, now = tuple(self._process.pulse), time.monotonic()
        if pulse != self._pulse:
            self._pulse, self._changed, self._said = pulse, now, 0
            return None
        still, hook = now - self._changed, hooks.NAMES[pulse[0]]
        if hook and hook_limit and still > hook_limit:
            error = f"{hook} took longer than {hook_limit:g} s, the limit of --hook-limit"
            outcome = {"status": "failed", "error": error}
            return Ending(outcome, seconds=time.perf_counter() - self._began)
        if still > SILENCE * 2**self._said:
            self._said += 1
            where = f", in {hook}" if hook else ""
            self._emit(Message(f"{self.planned.label}: no step for {duration(still)}{where}"))
        return None

    def close(self, ending: Ending) -> str:
        """Record how the run ended; return its status."""
        try:
            return self._record.close(ending)
        finally:
            self.stop()

    def terminate(self) -> None:
        """Ask its process to end."""
        if self._process is not None:
            self._process.terminate()

    def stop(self) -> None:
        """End its process and let go of its folder."""
        if self._process is not None:
            self._process.stop()
        self._held.close()

    def _reply(self, request: Request) -> Any:
        examiner = self._record.examiner
        assert examiner is not None
        try:
            if request.name == "test_images":
                return self._send_images(examiner.images, *request.arguments)
            return getattr(examiner, request.name)(*request.arguments)
        except DataError as error:
            return error

    def _send_images(self, images: Images, preparation: Preparation) -> tuple[int, ...]:
        """Send images held in memory, or begin to serve them; their shape, or their number."""
        assert self._process is not None
        connection = self._process.images
        if isinstance(images, ArrayImages):
            content = np.ascontiguousarray(images.array)
            work: tuple[Any, ...] = (connection.send_bytes, content.data.cast("B"))
            shape: tuple[int, ...] = images.array.shape
        else:
            loader = FileLoader(images, preparation, CPU, workers=self._context.workers)
            work, shape = (serve_images, connection, loader), (len(images),)
        Thread(target=work[0], args=work[1:], daemon=True).start()
        return shape
