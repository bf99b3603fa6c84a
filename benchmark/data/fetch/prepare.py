"""Completes a data set: what is missing is fetched, verified and unpacked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.base import DataError, DatasetInfo, MissingDataError, Place, Remote
from benchmark.data.fetch.checksum import check_present
from benchmark.data.fetch.connection import require_online
from benchmark.data.fetch.download import download as fetch
from benchmark.data.fetch.errors import (
    ArchiveError,
    FetchError,
    NotFetchedError,
    UnreachableError,
)
from benchmark.data.fetch.lock import exclusive
from benchmark.data.fetch.room import folder_for, free_space, in_bytes, require_room
from benchmark.data.fetch.unpack import unpack
from benchmark.data.fetch.watch import Note, Watch, ignore
from benchmark.data.location import check_split, is_there, report_missing
from benchmark.storage import StorageError

_ROUNDS = 3  # after fetching archives, the lists in them may turn out to be incomplete


@dataclass(frozen=True)
class Lack:
    """What a data set's folder lacks: files to fetch, and archives that are there, but packed."""

    folder: Path
    absent: tuple[Remote, ...] = ()
    packed: tuple[Remote, ...] = ()


def lacks(info: DatasetInfo, place: Place) -> Lack | None:
    """What is missing at `place`, found without hashing; None when the data set can be used.

    The data set itself is asked, since it knows every form in which it is accepted. Raises
    `DataError` for a split that it does not have, or where what is there is damaged.
    """
    check_split(info.name, place, info.splits)
    try:
        info.class_names(place)
    except MissingDataError as error:
        folder, named = error.folder, error.files
    else:
        return None
    absent = tuple(file for file in named if not (folder / file.name).is_file())
    packed = {file.name: file for file in named if file not in absent}
    for file in info.files:  # beside absent files, those that are there are not named
        if file.unpacked and (folder / file.name).is_file() and not is_there(folder, file):
            packed.setdefault(file.name, file)
    return Lack(folder, absent, tuple(packed.values()))


def missing(info: DatasetInfo, place: Place) -> tuple[Remote, ...]:
    """The files that have to be fetched or unpacked before the data set can be used."""
    lack = lacks(info, place)
    return () if lack is None else (*lack.absent, *lack.packed)


def check(info: DatasetInfo, place: Place) -> None:
    """Raise `MissingDataError`, with every file, when the data set cannot be used as it is."""
    lack = lacks(info, place)
    if lack is not None:
        report_missing(info.name, lack.folder, (*lack.absent, *lack.packed))


def prepare(
    info: DatasetInfo,
    place: Place,
    on_progress: Watch = ignore,
    *,
    download: bool = True,
    discard_archives: bool = False,
) -> None:
    """Make a data set complete at `place`; nothing happens when it is.

    download: whether the network may be used. discard_archives: delete archives fetched here once
    they are unpacked; those that were there before are never touched. Raises `NotFetchedError`,
    within seconds when there is no network, with every file that is missing; `ArchiveError`,
    `ChecksumError`, `DiskFullError` and `StorageError` name the file or folder at fault.
    """
    for _ in range(_ROUNDS):
        lack = lacks(info, place)
        if lack is None:
            return
        _check_allowed(info, lack, download)
        try:
            if _complete(info, place, lack.folder, on_progress, discard_archives):
                return
        except StorageError as error:  # a folder that cannot be written, for example
            files = (*lack.absent, *lack.packed)
            raise NotFetchedError(info.name, lack.folder, files, str(error)) from error
    left = lacks(info, place)
    if left is not None:
        names = ", ".join(str(left.folder / file.name) for file in (*left.absent, *left.packed))
        raise DataError(f"data set {info.name}: still missing after all was fetched: {names}")


def _complete(
    info: DatasetInfo, place: Place, folder: Path, on_progress: Watch, discard_archives: bool
) -> bool:
    """Do all that is to be done now; whether another process was found to have done it."""
    lock = folder / ".prepare.lock"
    with folder_for(folder), exclusive(lock, f"prepare {info.name}", on_progress):
        lack = lacks(info, place)
        if lack is None:
            return True
        _announce(info, lack, on_progress)
        _fetch_all(info, lack, on_progress, discard_archives)
        for file in lack.packed:
            _unpack(file, lack.folder, on_progress, verify=True)
    return False


def _check_allowed(info: DatasetInfo, lack: Lack, download: bool) -> None:
    """Say at once, before anything is made, that nothing can be fetched."""
    if not lack.absent:
        return
    if not download:
        raise NotFetchedError(info.name, lack.folder, lack.absent, "no download is tried")
    try:
        require_online(lack.absent[0].url)
    except UnreachableError as error:
        raise NotFetchedError(info.name, lack.folder, lack.absent, str(error)) from error


def _announce(info: DatasetInfo, lack: Lack, on_progress: Watch) -> None:
    """Tell what will be fetched and unpacked; `DiskFullError` when it is known not to fit."""
    free = free_space(lack.folder)
    if lack.absent:
        sizes = [file.bytes for file in lack.absent if file.bytes]
        size = in_bytes(sum(sizes)) if sizes else ""
        if len(sizes) < len(lack.absent):
            rest = len(lack.absent) - len(sizes)
            size += (", and " if sizes else "") + f"{rest} of a size the server will tell"
        on_progress(
            Note(
                f"{info.name}: {_count(len(lack.absent), 'file')} to fetch into {lack.folder} "
                f"({size}); {in_bytes(free)} free"
            )
        )
        kept = sum(_size(lack.folder / f"{file.name}.part") for file in lack.absent if file.bytes)
        require_room(lack.folder, sum(sizes) - kept, f"fetch {info.name}")
    if lack.packed:
        names = ", ".join(file.name for file in lack.packed)
        on_progress(Note(f"{info.name}: to unpack in {lack.folder}: {names}"))


def _fetch_all(info: DatasetInfo, lack: Lack, on_progress: Watch, discard: bool) -> None:
    """Fetch and unpack file by file; one that fails does not keep the others from coming."""
    failed: list[tuple[Remote, FetchError]] = []
    for position, file in enumerate(lack.absent):
        try:
            fetch(file, lack.folder, on_progress)
        except UnreachableError as error:  # nor will the others be reached
            left = (*(missed for missed, _ in failed), *lack.absent[position:])
            raise NotFetchedError(info.name, lack.folder, left, _reasons(failed, error)) from error
        except FetchError as error:
            on_progress(Note(str(error)))
            failed.append((file, error))
            continue
        if file.unpacked:
            _unpack(file, lack.folder, on_progress, verify=False)
            if discard:
                (lack.folder / file.name).unlink()
    if failed:
        left = tuple(file for file, _ in failed)
        raise NotFetchedError(info.name, lack.folder, left, _reasons(failed)) from failed[0][1]


def _unpack(file: Remote, folder: Path, on_progress: Watch, *, verify: bool) -> None:
    archive = folder / file.name
    if verify:
        check_present(archive, file, on_progress)
    unpack(archive, folder, on_progress)
    if not is_there(folder, file):
        absent = ", ".join(path for path in file.unpacked if not (folder / path).exists())
        raise ArchiveError(f"{archive}: unpacked, but it does not hold {absent}")


def _reasons(failed: Sequence[tuple[Remote, FetchError]], last: FetchError | None = None) -> str:
    errors = [error for _, error in failed] + ([] if last is None else [last])
    return "; ".join(str(error) for error in errors)


def _count(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
