"""Unpacks a verified archive into a folder: all of it or nothing, and nothing is overwritten."""

from __future__ import annotations

import os
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from benchmark.data.base import DataError
from benchmark.data.fetch.download import Step, Watch, ignore, require_room, write_failure

_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


class ArchiveError(DataError):
    """An archive that cannot be unpacked; nothing of it was put in place."""


def unpack(archive: Path, folder: Path, on_progress: Watch = ignore) -> None:
    """Put what a tar, tar.gz or zip archive holds into `folder`.

    The checksum of the archive has been verified, so that its author is known. Everything goes to
    a temporary folder and is moved when it is complete: an interruption leaves nothing half in
    place. Files of the same size that are there already are kept.

    Raises:
        ArchiveError: The archive is damaged or differs from what is there.
        DiskFullError: There is no room for what it holds.
        StorageError: The folder cannot be written.
    """
    staging = folder / f".{archive.name}.unpacking"
    total = archive.stat().st_size
    purpose = f"unpack {archive}"
    try:
        shutil.rmtree(staging, ignore_errors=True)  # of a process that was killed
        staging.mkdir()
        with archive.open("rb") as file:
            extract = _extract_zip if zipfile.is_zipfile(file) else _extract_tar
            file.seek(0)
            for needed in extract(file, staging):
                require_room(folder, needed, purpose)
                if file.tell() < total:  # the last step is reported when all is in place
                    on_progress(Step("unpack", archive.name, file.tell(), total))
        for source, target in list(_moves(archive, staging, folder)):
            source.rename(target)
    except (OSError, *_DAMAGED) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise write_failure(staging, error, total, purpose) from error
        reason = str(error) or type(error).__name__
        raise ArchiveError(f"{archive}: damaged or not a tar or zip archive: {reason}") from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    on_progress(Step("unpack", archive.name, total, total))


def _extract_zip(file: IO[bytes], staging: Path) -> Iterator[int]:
    """Extract entry by entry; yields the bytes that all will take, then 0 after each."""
    with zipfile.ZipFile(file) as content:
        entries = content.infolist()
        yield sum(entry.file_size for entry in entries)
        for entry in entries:
            content.extract(entry, staging)
            yield 0


def _extract_tar(file: IO[bytes], staging: Path) -> Iterator[int]:
    """Extract entry by entry; yields the bytes that the next one will take."""
    if not hasattr(tarfile, "data_filter"):
        raise ArchiveError(f"{file.name}: not unpacked: this needs Python 3.10.12 or newer")
    with tarfile.open(fileobj=file) as content:
        for entry in content:
            yield entry.size
            content.extract(entry, staging, filter="data")


def _moves(archive: Path, source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """What has to be moved where, to bring `source` into a folder that may have some of it."""
    for path in sorted(source.iterdir()):
        goal = target / path.name
        if path.is_dir() and goal.is_dir():
            yield from _moves(archive, path, goal)
        elif not os.path.lexists(goal):
            yield path, goal
        elif not (path.is_file() and goal.is_file() and _size(path) == _size(goal)):
            raise ArchiveError(
                f"{archive}: not unpacked: {goal} is there and differs from what it holds; nothing "
                "is overwritten: move it away or unpack in another folder"
            )


def _size(path: Path) -> int:
    return path.stat().st_size
