"""How runs are carried out, whatever they are, and how processes are started; no torch here."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.data.base import default_root
from benchmark.results.schema import Keep

# Processes are copies of one that has imported everything: only safe where nothing but Python was
# started in that one.
CAN_COPY = sys.platform == "linux"
CHECKPOINT_EVERY = 600.0


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
    hook_limit: float = 0.0  # seconds that one call of a method's hook may take; 0: any time
    checkpoint_every: float = CHECKPOINT_EVERY  # seconds between two saves of a run within a task
    keep: Keep = "all"  # which predictions are stored


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
