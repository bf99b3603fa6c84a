"""Writing files so that a final name only ever holds a complete file."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

TEMPORARY = ".*.tmp"  # what files are called while they are being written
Content = bytes | Callable[[IO[bytes]], object]  # or what writes it into an open file


class StorageError(OSError):
    """A file that cannot be written; the message names the folder and the reason."""


def stage(path: Path, content: Content, *, durable: bool = True) -> Path:
    """Write `content` under a temporary name beside `path`, for `publish`.

    Args:
        path: The final name.
        content: Bytes, or a function that writes them into the open file it is given.
        durable: Whether to wait until the disk has it.

    Returns:
        The temporary name.

    Raises:
        StorageError: The folder cannot be written or is full; nothing is left behind.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as file:
            if callable(content):
                content(file)
            else:
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


def write_atomically(path: Path, content: Content, *, durable: bool = True) -> None:
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


def is_file(path: Path) -> bool:
    """Whether this is a file; names that no file can have, too long ones for example, are none."""
    return os.path.isfile(path)  # noqa: PTH113 - Path.is_file raises for them


def refuse_link(path: Path) -> None:
    """Raise `StorageError` where a path of ours is a link: what it leads to is not ours."""
    if path.is_symlink():
        raise StorageError(f"{path}: is a link to {path.readlink()}, which is not written through")


def failure(path: Path, error: OSError) -> StorageError:
    """The error to raise when `path` cannot be written because of `error`."""
    return StorageError(f"cannot write {path.name} into {path.parent}: {error.strerror or error}")


def remove_temporaries(folder: Path) -> None:
    """Remove what killed processes left of files they were writing; nobody else may write here."""
    for left in folder.glob(TEMPORARY):
        discard(left)


def content_digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of what a mapping of plain JSON types says, however it is written.

    The entry `digest`, where the mapping keeps what this returns, counts for nothing.
    """
    own = {name: value for name, value in content.items() if name != "digest"}
    text = json.dumps(own, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
