"""How worker processes are made: copies of one process that has imported everything already."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import BaseContext

# Copying a process of many threads is only safe where nothing but Python was started in it.
_COPIES = sys.platform == "linux"


def context() -> BaseContext:
    """The way processes are started here."""
    return multiprocessing.get_context("forkserver" if _COPIES else "spawn")


def warm_up() -> None:
    """Begin to import the engine in the process that workers will be copied from.

    It takes seconds, on another core than the planning that goes on meanwhile.
    """
    if _COPIES:
        multiprocessing.set_forkserver_preload(["benchmark.engine.runner"])
        with deaf_to_interruption():
            forkserver.ensure_running()


@contextmanager
def deaf_to_interruption() -> Iterator[None]:
    """Processes started inside ignore interruptions from the keyboard.

    Those reach the whole group of processes: the parent alone answers, and ends its workers.
    """
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
