"""Writing files so that a final name only ever holds a complete file."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path


class StorageError(OSError):
    """A file that cannot be written; the message names the folder and the reason."""


def stage(path: Path, content: bytes, *, durable: bool = True) -> Path:
    """Write `content` under a temporary name beside `path`; gives that name, for `publish`.

    durable: wait until the disk has it. Raises `StorageError` and leaves nothing behind when the
    folder cannot be written or is full.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
    except BaseException as error:
        discard(temporary)
        if isinstance(error, OSError):
            raise failure(path, error) from error
        raise
    return temporary


def publish(staged: Path, path: Path, *, durable: bool = True) -> None:
    """Give a staged file its final name, replacing what was there."""
    try:
        os.replace(staged, path)  # noqa: PTH105 - what the tests of a full disk stand in for
        if durable:
            _sync_folder(path.parent)
    except OSError as error:
        discard(staged)
        raise failure(path, error) from error


def write_atomically(path: Path, content: bytes, *, durable: bool = True) -> None:
    """Write a whole file or, on `StorageError`, leave what was there."""
    publish(stage(path, content, durable=durable), path, durable=durable)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def discard(temporary: Path) -> None:
    """Remove a staged file that will not be published."""
    with suppress(OSError):  # the first error is the one to report
        temporary.unlink(missing_ok=True)


def failure(path: Path, error: OSError) -> StorageError:
    """The error to raise when `path` cannot be written because of `error`."""
    return StorageError(f"cannot write {path.name} into {path.parent}: {error.strerror or error}")
