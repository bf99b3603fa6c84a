"""One run from start to result: what the tasks gave is recorded, or what went wrong."""

from __future__ import annotations

import time
import traceback
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from benchmark.engine import checkpoint, provenance
from benchmark.engine.context import Context, inputs_in_words
from benchmark.engine.plan import PlannedRun
from benchmark.engine.task_loop import Emit, TaskLoop
from benchmark.events import Message, RunDone
from benchmark.registry import METHODS
from benchmark.results.store import SCHEMA_VERSION, ResultStore, StorageError, spec_dict
from benchmark.storage import refuse_link, remove_temporaries
from benchmark.version import __version__

PART_OF_EVERY_RUN = True  # see engine.provenance

LOCK = ".lock"


def run_one(planned: PlannedRun, store: ResultStore, context: Context, emit: Emit) -> str:
    """Carry out one run, store its result and return its status.

    A fault of the method or the data is recorded as a failed run. A results folder that cannot be
    written raises `StorageError`: nothing can be recorded then.
    """
    folder = store.folder(planned.key)
    lock = FileLock(folder / LOCK, timeout=0)
    for path in (store.runs, folder, folder / LOCK):
        refuse_link(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        emit(Message(f"{planned.label} skipped: another process is running it"))
        return "elsewhere"
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror or error}") from error
    try:
        if store.status(planned.key) == "done":
            emit(Message(f"{planned.label} skipped: another process has finished it"))
            return "done"
        remove_temporaries(folder)
        return _run_locked(planned, store, context, emit)
    finally:
        lock.release()


def _run_locked(planned: PlannedRun, store: ResultStore, context: Context, emit: Emit) -> str:
    folder = store.folder(planned.key)
    started = time.perf_counter()
    begun = datetime.now(timezone.utc)
    inputs: dict[str, str] = {}
    run: TaskLoop | None = None
    try:
        run = TaskLoop(planned, context, folder, emit)
        inputs = inputs_in_words(run.preparation, run.range)
        outcome, predictions = run.carry_out()
    except (StorageError, ConnectionError):  # the second: who asked for the run is gone
        raise
    except OSError as error:
        raise StorageError(f"{folder}: {error.strerror or error}") from error
    except Exception as error:  # noqa: BLE001 - a run's outermost boundary: recorded
        emit(Message(f"{planned.label} failed: {error}"))
        outcome, predictions = {"status": "failed", "error": _describe(error)}, {}
    seconds = run.seconds if run else time.perf_counter() - started
    store.write(
        {
            "schema": SCHEMA_VERSION,
            "key": planned.key,
            "spec": spec_dict(planned.spec),
            "outcome": outcome,
            "environment": {
                **_environment(planned, context),
                "inputs": inputs,
                "started": begun.isoformat(timespec="seconds"),
                "seconds": round(seconds, 3),
            },
        },
        predictions,
    )
    if outcome["status"] == "done":
        checkpoint.remove(folder)
    emit(RunDone(planned.key, outcome["status"], _final(outcome), seconds))
    return str(outcome["status"])


def _environment(planned: PlannedRun, context: Context) -> dict[str, Any]:
    revision, dirty = provenance.revision()
    device = context.device
    hardware = provenance.processor()
    if device.type == "cuda":
        hardware = f"{torch.cuda.get_device_name(device)}; {hardware}"
    method = METHODS.get(planned.spec.method)
    return {
        "role": method.role,
        "stream": method.stream,
        "suite": context.suite,
        "tuned": planned.tuned,
        "revision": revision,
        "dirty": dirty,
        "version": __version__,
        "method_source_hash": planned.method_hash,
        "data_manifest_hash": planned.data_hash,
        "weight_hash": planned.weight_hash,
        "sources": provenance.source_hashes(METHODS.source(planned.spec.method)),
        "packages": provenance.packages(),
        "device": device.type,
        "hardware": hardware,
        "threads": torch.get_num_threads(),
    }


def _final(outcome: dict[str, Any]) -> float | None:
    rows = outcome.get("accuracy")
    return None if not rows or rows[-1] is None else sum(rows[-1]) / len(rows[-1])


def _describe(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(last.filename).name}, line {last.lineno})"
