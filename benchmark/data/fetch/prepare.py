"""Completes a data set: what is missing is fetched, verified and unpacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.base import DatasetInfo, DataSource, MissingDataError, Remote
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
)
from benchmark.data.fetch.download import download as fetch
from benchmark.data.fetch.unpack import ArchiveError, unpack
from benchmark.data.location import check_split, is_there
from benchmark.words import plural, size

_ROUNDS = 3  # after fetching archives, the lists in them may turn out to be incomplete


class NotFetchedError(MissingDataError):
    """Files of a data set that are not there and could not be fetched, with the reason."""

    def __init__(self, name: str, folder: Path, files: tuple[Remote, ...], reason: str) -> None:
        super().__init__(name, folder, files)
        self.reason = reason
        self.args = (f"{self.args[0]}\n  not fetched: {reason}",)

    def __reduce__(self) -> tuple[Any, ...]:
        return NotFetchedError, (self.name, self.folder, self.files, self.reason)


@dataclass(frozen=True)
class Missing:
    """What a data set's folder lacks: files to fetch, and archives that are there, but packed."""

    folder: Path
    absent: tuple[Remote, ...] = ()
    packed: tuple[Remote, ...] = ()


def find_missing(info: DatasetInfo, source: DataSource) -> Missing | None:
    """What a data set lacks at `source`, found without hashing; None when the data set can be used.

    The data set itself is asked, since it knows every form in which it is accepted. Raises
    `DataError` for a split that it does not have, or where what is there is damaged.
    """
    check_split(info.name, source, info.splits)
    try:
        info.class_names(source)
    except MissingDataError as error:
        there = {file: (error.folder / file.name).is_file() for file in error.files}
        absent = tuple(file for file in error.files if not there[file])
        packed = tuple(file for file in error.files if there[file])
        return Missing(error.folder, absent, packed)
    return None


def check(info: DatasetInfo, source: DataSource) -> None:
    """Raise `MissingDataError`, with every file, when the data set cannot be used as it is."""
    missing = find_missing(info, source)
    if missing is not None:
        raise MissingDataError(info.name, missing.folder, (*missing.absent, *missing.packed))


def prepare(
    info: DatasetInfo,
    source: DataSource,
    on_progress: Watch = ignore,
    *,
    download: bool = True,
    discard_archives: bool = False,
) -> None:
    """Complete a data set at `source`; nothing happens when it is complete.

    download: whether the network may be used. discard_archives: delete archives fetched here once
    they are unpacked; those that were there before are never touched.

    Raises:
        NotFetchedError: Names every file that is missing, within seconds without a network.
        ArchiveError, ChecksumError, DiskFullError, StorageError: Name the file or folder at fault.
    """
    missing = find_missing(info, source)
    if missing is None:
        return
    _check_allowed(info, missing, download)
    lock = missing.folder / ".prepare.lock"
    with folder_for(missing.folder), exclusive(lock, f"prepare {info.name}", on_progress):
        for _ in range(_ROUNDS):
            missing = find_missing(info, source)  # another process may have done it meanwhile
            if missing is None:
                return
            _announce(info, missing, on_progress)
            _fetch_all(info, missing, on_progress, discard_archives)
            for file in missing.packed:
                check_present(missing.folder / file.name, file, on_progress)
                _unpack(file, missing.folder, on_progress)
        check(info, source)


def _check_allowed(info: DatasetInfo, missing: Missing, download: bool) -> None:
    """Raise `NotFetchedError` where files have to be fetched, but nothing may be."""
    if not missing.absent:
        return
    if not download:
        raise NotFetchedError(info.name, missing.folder, missing.absent, "no download is tried")
    try:
        require_online(missing.absent[0].url)
    except UnreachableError as error:
        raise NotFetchedError(info.name, missing.folder, missing.absent, str(error)) from error


def _announce(info: DatasetInfo, missing: Missing, on_progress: Watch) -> None:
    """Tell what will be fetched and unpacked."""
    if missing.absent:
        files = plural(len(missing.absent), "file")
        free = size(free_space(missing.folder))
        on_progress(Note(f"{info.name}: {files} to fetch into {missing.folder}; {free} free"))
    if missing.packed:
        names = ", ".join(file.name for file in missing.packed)
        on_progress(Note(f"{info.name}: to unpack in {missing.folder}: {names}"))


def _fetch_all(info: DatasetInfo, missing: Missing, on_progress: Watch, discard: bool) -> None:
    """Fetch and unpack file by file; continues after a failed file, unless no host is reached."""
    failed: list[Remote] = []
    errors: list[FetchError] = []
    for position, file in enumerate(missing.absent):
        try:
            fetch(file, missing.folder, on_progress)
        except FetchError as error:
            errors.append(error)
            if isinstance(error, UnreachableError):
                failed += missing.absent[position:]
                break
            failed.append(file)
            on_progress(Note(str(error)))
            continue
        if file.unpacked:
            _unpack(file, missing.folder, on_progress)
            if discard:
                (missing.folder / file.name).unlink()
    if failed:
        reasons = "; ".join(map(str, errors))
        raise NotFetchedError(info.name, missing.folder, tuple(failed), reasons) from errors[-1]


def _unpack(file: Remote, folder: Path, on_progress: Watch) -> None:
    archive = folder / file.name
    unpack(archive, folder, on_progress)
    if not is_there(folder, file):
        absent = ", ".join(path for path in file.unpacked if not (folder / path).exists())
        raise ArchiveError(f"{archive}: unpacked, but it does not hold {absent}")
