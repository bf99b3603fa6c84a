"""One process at a time: a lock file that leaves nothing behind."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from benchmark.data.fetch.watch import Note, Watch
from benchmark.storage import failure

_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK)


@contextmanager
def exclusive(path: Path, purpose: str, on_progress: Watch) -> Iterator[None]:
    """Hold the lock file `path`; waits, with a note, while another process or thread holds it.

    On a file system without locks it says so and goes on. The system frees the lock of a process
    that dies. The file is removed by its holder, so that a waiting process may find that it locked
    a file that is gone: it then takes the new one.
    """
    while True:
        try:
            handle = path.open("w")
        except OSError as error:
            raise failure(path, error) from error
        with handle:
            _take(handle, purpose, on_progress)
            if not _is_current(handle, path):
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _take(handle: IO[str], purpose: str, on_progress: Watch) -> None:
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_progress(Note(f"waiting for another process to {purpose}"))
            fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        on_progress(Note(f"{handle.name}: no locks on this disk; let no other process {purpose}"))


def _is_current(handle: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False
