"""Completes a data set: what is missing is fetched, verified and unpacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.base import DataError, DatasetInfo, DataSource, MissingDataError, Remote
from benchmark.data.fetch.download import (
    FetchError,
    Note,
    UnreachableError,
    Watch,
    check_present,
    exclusive,
    folder_for,
    free_space,
    ignore,
    require_online,
    require_room,
)
from benchmark.data.fetch.download import download as fetch
from benchmark.data.fetch.unpack import ArchiveError, unpack
from benchmark.data.location import check_split, is_there, report_missing
from benchmark.storage import StorageError
from benchmark.words import size

_ROUNDS = 3  # after fetching archives, the lists in them may turn out to be incomplete


class NotFetchedError(MissingDataError):
    """Files of a data set that are not there and could not be fetched, with the reason."""

    def __init__(self, name: str, folder: Path, files: tuple[Remote, ...], reason: str) -> None:
        super().__init__(name, folder, files)
        self.reason = reason
        self.args = (f"{self.args[0]}\nnot fetched: {reason}",)

    def __reduce__(self) -> tuple[Any, ...]:
        return NotFetchedError, (self.name, self.folder, self.files, self.reason)


@dataclass(frozen=True)
class Lack:
    """What a data set's folder lacks: files to fetch, and archives that are there, but packed."""

    folder: Path
    absent: tuple[Remote, ...] = ()
    packed: tuple[Remote, ...] = ()


def lacks(info: DatasetInfo, source: DataSource) -> Lack | None:
    """What is missing of `source`, found without hashing; None when the data set can be used.

    The data set itself is asked, since it knows every form in which it is accepted. Raises
    `DataError` for a split that it does not have, or where what is there is damaged.
    """
    check_split(info.name, source, info.splits)
    try:
        info.class_names(source)
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


def check(info: DatasetInfo, source: DataSource) -> None:
    """Raise `MissingDataError`, with every file, when the data set cannot be used as it is."""
    lack = lacks(info, source)
    if lack is not None:
        report_missing(info.name, lack.folder, (*lack.absent, *lack.packed))


def prepare(
    info: DatasetInfo,
    source: DataSource,
    on_progress: Watch = ignore,
    *,
    download: bool = True,
    discard_archives: bool = False,
) -> None:
    """Make a data set complete of `source`; nothing happens when it is.

    download: whether the network may be used. discard_archives: delete archives fetched here once
    they are unpacked; those that were there before are never touched. Raises `NotFetchedError`,
    within seconds when there is no network, with every file that is missing; `ArchiveError`,
    `ChecksumError`, `DiskFullError` and `StorageError` name the file or folder at fault.
    """
    for _ in range(_ROUNDS):
        lack = lacks(info, source)
        if lack is None:
            return
        _check_allowed(info, lack, download)
        try:
            if _complete(info, source, lack.folder, on_progress, discard_archives):
                return
        except StorageError as error:  # a folder that cannot be written, for example
            files = (*lack.absent, *lack.packed)
            raise NotFetchedError(info.name, lack.folder, files, str(error)) from error
    left = lacks(info, source)
    if left is not None:
        names = ", ".join(str(left.folder / file.name) for file in (*left.absent, *left.packed))
        raise DataError(f"data set {info.name}: still missing after all was fetched: {names}")


def _complete(
    info: DatasetInfo, source: DataSource, folder: Path, on_progress: Watch, discard_archives: bool
) -> bool:
    """Do all that is to be done now; whether another process was found to have done it."""
    lock = folder / ".prepare.lock"
    with folder_for(folder), exclusive(lock, f"prepare {info.name}", on_progress):
        lack = lacks(info, source)
        if lack is None:
            return True
        _announce(info, lack, on_progress)
        _fetch_all(info, lack, on_progress, discard_archives)
        for file in lack.packed:
            check_present(lack.folder / file.name, file, on_progress)
            _unpack(file, lack.folder, on_progress)
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
    if lack.absent:
        known = sum(file.bytes for file in lack.absent)
        unknown = sum(not file.bytes for file in lack.absent)
        sizes = [size(known)] if known else []
        if unknown:
            sizes.append(f"{unknown} of a size the server will tell")
        on_progress(
            Note(
                f"{info.name}: {len(lack.absent)} file{'s' * (len(lack.absent) > 1)} to fetch into "
                f"{lack.folder} ({', and '.join(sizes)}); {size(free_space(lack.folder))} free"
            )
        )
        parts = [lack.folder / f"{file.name}.part" for file in lack.absent if file.bytes]
        kept = sum(part.stat().st_size for part in parts if part.exists())
        require_room(lack.folder, known - kept, f"fetch {info.name}")
    if lack.packed:
        names = ", ".join(file.name for file in lack.packed)
        on_progress(Note(f"{info.name}: to unpack in {lack.folder}: {names}"))


def _fetch_all(info: DatasetInfo, lack: Lack, on_progress: Watch, discard: bool) -> None:
    """Fetch and unpack file by file; continues after a failed file, unless no host is reached."""
    failed: list[Remote] = []
    errors: list[FetchError] = []
    for position, file in enumerate(lack.absent):
        try:
            fetch(file, lack.folder, on_progress)
        except FetchError as error:
            errors.append(error)
            if isinstance(error, UnreachableError):
                failed += lack.absent[position:]
                break
            failed.append(file)
            on_progress(Note(str(error)))
            continue
        if file.unpacked:
            _unpack(file, lack.folder, on_progress)
            if discard:
                (lack.folder / file.name).unlink()
    if failed:
        reasons = "; ".join(map(str, errors))
        raise NotFetchedError(info.name, lack.folder, tuple(failed), reasons) from errors[-1]


def _unpack(file: Remote, folder: Path, on_progress: Watch) -> None:
    archive = folder / file.name
    unpack(archive, folder, on_progress)
    if not is_there(folder, file):
        absent = ", ".join(path for path in file.unpacked if not (folder / path).exists())
        raise ArchiveError(f"{archive}: unpacked, but it does not hold {absent}")
