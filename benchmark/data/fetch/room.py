"""Room on a disk: asked before writing, named in the error when it runs out."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmark.data.fetch.errors import DiskFullError
from benchmark.storage import failure

_FULL = (errno.ENOSPC, errno.EDQUOT)


def in_bytes(count: int) -> str:
    """A size as a person says it: `512 bytes`, `1.3 GB`."""
    size, units = float(count), ["bytes", "kB", "MB", "GB", "TB"]
    while size >= 999.95 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{count} bytes" if units[0] == "bytes" else f"{size:.1f} {units[0]}"


def free_space(folder: Path) -> int:
    """Free bytes on the disk of `folder`, which need not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def require_room(folder: Path, needed: int, purpose: str, kept: str = "") -> None:
    """Raise `DiskFullError` when `needed` more bytes do not fit on the disk of `folder`."""
    free = free_space(folder)
    if needed > free:
        raise DiskFullError(_message(folder, needed, free, purpose, kept))


@contextmanager
def writing(path: Path, needed: int, purpose: str, kept: str = "") -> Iterator[None]:
    """Turn a failed write of `path` into `DiskFullError` or `StorageError`; needed: bytes."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise failure(path, error) from error
        free = free_space(path.parent)
        raise DiskFullError(_message(path.parent, needed, free, purpose, kept)) from error


@contextmanager
def folder_for(folder: Path) -> Iterator[None]:
    """Create a folder and its parents; those made here that are still empty at the end go again."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failure(folder, error) from error
    try:
        yield
    finally:
        for path in new:
            with suppress(OSError):  # not empty: it is in use
                path.rmdir()


def _message(folder: Path, needed: int, free: int, purpose: str, kept: str) -> str:
    return (
        f"{folder}: no room to {purpose}: {in_bytes(needed)} needed, {in_bytes(free)} free; make "
        "room or name a folder on another disk with --data-root" + (f"; {kept}" if kept else "")
    )
