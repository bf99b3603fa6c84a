"""One run from start to result: what the tasks gave is recorded, or what went wrong."""

from __future__ import annotations

import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from filelock import FileLock, Timeout

from benchmark.engine import checkpoint, hooks, provenance
from benchmark.engine.context import Context, inputs_in_words
from benchmark.engine.examiner import Examiner, RunData
from benchmark.engine.plan import PlannedRun
from benchmark.engine.task_loop import Emit, TaskLoop
from benchmark.events import Message, RunDone
from benchmark.registry import METHODS
from benchmark.results.schema import Role, Stream
from benchmark.results.store import (
    SCHEMA_VERSION,
    ResultError,
    ResultStore,
    StorageError,
    spec_dict,
)
from benchmark.storage import TEMPORARY, refuse_link, remove_temporaries
from benchmark.version import __version__

PART_OF_EVERY_RUN = True  # see engine.provenance

LOCK = ".lock"


@dataclass(frozen=True)
class Ending:
    """How a run ended, as the process that carried it out tells.

    Attributes:
        outcome: For the result, without what only the examiner knows.
        machine: Device, hardware and threads, for the result's environment; empty: not known.
        inputs: How images were prepared, in words.
        seconds: What the run took.
    """

    outcome: dict[str, Any]
    machine: dict[str, Any] = field(default_factory=dict)
    inputs: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def failure(error: BaseException, seconds: float = 0.0) -> Ending:
    """The ending of a run that raised `error`."""
    trace = hooks.traceback_of(error)
    outcome = {"status": "failed", "error": _describe(error), "traceback": trace}
    return Ending(outcome, seconds=seconds)


@contextmanager
def held(planned: PlannedRun, store: ResultStore) -> Iterator[str]:
    """Hold the run's folder, so that no other process takes the run up.

    Yields:
        Why the run is not to be carried out here; empty where it is.
    """
    folder = store.folder(planned.key)
    lock = FileLock(folder / LOCK, timeout=0)
    for path in (store.runs, folder, folder / LOCK):
        refuse_link(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        yield "another process is running it"
        return
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror or error}") from error
    try:
        remove_temporaries(folder)
        if store.status(planned.key) == "done":
            checkpoint.remove(folder)  # of a process that was killed once it had the result
            yield "another process has finished it"
            return
        yield ""
    finally:
        lock.release()


def tidy(planned: PlannedRun, store: ResultStore) -> None:
    """Remove what a process that was killed left beside the result of a finished run."""
    folder = store.folder(planned.key)
    if (folder / checkpoint.NAME).exists() or any(folder.glob(TEMPORARY)):
        with held(planned, store):
            pass


class Record:
    """What is told and stored of a run that is being carried out, here or in another process.

    Attributes:
        examiner: Holds the run's data; None where they cannot be had, then `fault` says why.
    """

    def __init__(
        self, planned: PlannedRun, store: ResultStore, context: Context, emit: Emit
    ) -> None:
        self._planned, self._store, self._suite, self._emit = planned, store, context.suite, emit
        self._begun = datetime.now(timezone.utc)
        self.examiner: Examiner | None = None
        self.fault = Ending({})
        joint = METHODS.get(planned.spec.method).stream == "joint"
        try:
            self.examiner = Examiner(planned, context, joint, emit)
        except Exception as error:  # noqa: BLE001 - data of any plug-in: recorded
            self.fault = failure(error)

    def close(self, ending: Ending) -> str:
        """Store the result and tell of it; return its status."""
        outcome, predictions = self._graded(ending.outcome)
        try:
            self._write(ending, outcome, predictions)
        except ResultError as error:  # what a method's process tells need not be right
            outcome = failure(error).outcome
            self._write(Ending({}), outcome, {})
        return str(outcome["status"])

    def _graded(self, outcome: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        if outcome["status"] != "done":
            return outcome, {}
        assert self.examiner is not None
        return self.examiner.graded(outcome)

    def _write(
        self, ending: Ending, outcome: dict[str, Any], predictions: dict[str, np.ndarray]
    ) -> None:
        planned = self._planned
        if outcome["status"] != "done":
            self._emit(Message(f"{planned.label} failed: {outcome['error']}"))
        self._store.write(
            {
                "schema": SCHEMA_VERSION,
                "key": planned.key,
                "spec": spec_dict(planned.spec),
                "outcome": outcome,
                "environment": {
                    **self._environment(),
                    **ending.machine,
                    "inputs": ending.inputs,
                    "started": self._begun.isoformat(timespec="seconds"),
                    "seconds": round(ending.seconds, 3),
                },
            },
            predictions,
        )
        if outcome["status"] == "done":
            checkpoint.remove(self._store.folder(planned.key))
        self._emit(RunDone(planned.key, outcome["status"], _final(outcome), ending.seconds))

    def _environment(self) -> dict[str, Any]:
        planned, (revision, dirty) = self._planned, provenance.revision()
        method = METHODS.get(planned.spec.method)
        return {
            # The run fails where a method says something else; its result can be read then too.
            "role": method.role if method.role in get_args(Role) else "method",
            "stream": method.stream if method.stream in get_args(Stream) else "tasks",
            "suite": self._suite,
            "tuned": planned.tuned,
            "revision": revision,
            "dirty": dirty,
            "version": __version__,
            "method_source_hash": planned.method_hash,
            "data_manifest_hash": planned.data_hash,
            "weight_hash": planned.weight_hash,
            "sources": provenance.source_hashes(METHODS.source(planned.spec.method)),
            "packages": provenance.packages(),
            **({"network": planned.network.facts()} if planned.network else {}),
        }


def perform(
    planned: PlannedRun, context: Context, folder: Path, data: RunData, emit: Emit
) -> Ending:
    """Train and evaluate in this process; what goes wrong is in the ending.

    Raises `StorageError` where the folder cannot be written.
    """
    started = time.perf_counter()
    machine = _machine(context.device)
    loop: TaskLoop | None = None
    inputs: dict[str, str] = {}
    try:
        loop = TaskLoop(planned, context, folder, data, emit)
        inputs = inputs_in_words(loop.preparation, loop.range)
        outcome = loop.carry_out()
    except (StorageError, ConnectionError):  # the second: who asked for the run is gone
        raise
    except Exception as error:  # noqa: BLE001 - a run's outermost boundary: recorded
        outcome = failure(error).outcome
    seconds = loop.seconds if loop else time.perf_counter() - started
    return Ending(outcome, machine, inputs, seconds)


def _machine(device: torch.device) -> dict[str, Any]:
    hardware = provenance.processor()
    if device.type == "cuda":
        hardware = f"{torch.cuda.get_device_name(device)}; {hardware}"
    return {"device": device.type, "hardware": hardware, "threads": torch.get_num_threads()}


def _final(outcome: dict[str, Any]) -> float | None:
    rows = outcome.get("accuracy")
    return None if not rows or rows[-1] is None else sum(rows[-1]) / len(rows[-1])


def _describe(error: BaseException) -> str:
    if isinstance(error, hooks.MethodError):  # says where itself
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return hooks.described(error) + where
