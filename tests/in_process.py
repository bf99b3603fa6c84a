"""A run carried out in the process of the test, where the product starts one of its own."""

from __future__ import annotations

from benchmark.engine.context import Context
from benchmark.engine.plan import PlannedRun
from benchmark.engine.runner import Record, held, perform
from benchmark.engine.task_loop import Emit
from benchmark.events import Message
from benchmark.results.store import ResultStore


def run_one(planned: PlannedRun, store: ResultStore, context: Context, emit: Emit) -> str:
    """Carry out one run in this process, store its result and return its status.

    A fault of the method or the data is recorded as a failed run. A results folder that cannot be
    written raises `StorageError`: nothing can be recorded then.
    """
    with held(planned, store) as reason:
        if reason:
            emit(Message(f"{planned.label} skipped: {reason}"))
            return "elsewhere"
        record = Record(planned, store, context, emit)
        if record.examiner is None:
            return record.close(record.fault)
        folder = store.folder(planned.key)
        return record.close(perform(planned, context, folder, record.examiner, emit))
