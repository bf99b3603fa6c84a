"""Completes a data set: what is missing is fetched, verified and unpacked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.base import (
    DatasetInfo,
    DataSource,
    Listing,
    MissingDataError,
    Remote,
    data_command,
    downloaded,
)
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
from benchmark.data.listing import fail
from benchmark.data.location import check_split, is_there
from benchmark.words import plural, size

_ROUNDS = 3  # after fetching archives, the lists in them may turn out to be incomplete


class NotFetchedError(MissingDataError):
    """Files of a data set that are not there and could not be fetched, with the reason."""

    def __init__(
        self, name: str, folder: Path, files: tuple[Remote, ...], reason: str, **more: Any
    ) -> None:
        super().__init__(name, folder, files, **more)
        self.reason = reason
        self.args = (f"{self.args[0]}\n  not fetched: {reason}",)

    def __reduce__(self) -> tuple[Any, ...]:
        make, arguments = super().__reduce__()
        return make, (*arguments, self.reason)


@dataclass(frozen=True)
class Missing:
    """What a data set's folder lacks: files to fetch, and archives that are there, but packed.

    told: the error in which the data set says so.
    """

    folder: Path
    absent: tuple[Remote, ...] = ()
    packed: tuple[Remote, ...] = ()
    told: MissingDataError | None = None

    def not_fetched(self, files: tuple[Remote, ...], reason: str) -> NotFetchedError:
        """The error for those of the files that could not be fetched."""
        assert self.told is not None
        more = {name: getattr(self.told, name) for name in ("root", "split", "lacking", "advice")}
        return NotFetchedError(self.told.name, self.folder, files, reason, **more)


def find_missing(info: DatasetInfo, source: DataSource) -> Missing | None:
    """What a data set lacks at `source`, found without hashing; None when the data set can be used.

    The data set itself is asked, since it knows every form in which it is accepted. Raises
    `DataError` for a split that it does not have, or where what is there is damaged or lacks some
    of the listed images.
    """
    check_split(info.name, source, info.splits)
    try:
        content = info.survey(source, fail) if info.survey else None
        if content is None:
            info.class_names(source)
        elif isinstance(content[1], Listing):
            command = data_command("verify", info.name, source.root, source.split)
            content[1].check_files(content[0], f"see `{command}`")
    except MissingDataError as error:
        there = [file for file in error.files if downloaded(file, error.folder, error.root)]
        absent = tuple(file for file in error.files if file not in there)
        return Missing(error.folder, absent, tuple(there), error)
    return None


def check(info: DatasetInfo, source: DataSource) -> None:
    """Raise `MissingDataError`, with every file, when the data set cannot be used as it is."""
    missing = find_missing(info, source)
    if missing is not None and missing.told is not None:
        raise missing.told


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
    _check_allowed(missing, download)
    lock = missing.folder / ".prepare.lock"
    with folder_for(missing.folder), exclusive(lock, f"prepare {info.name}", on_progress):
        for _ in range(_ROUNDS):
            missing = find_missing(info, source)  # another process may have done it meanwhile
            if missing is None:
                return
            _announce(info, missing, on_progress)
            _fetch_all(missing, on_progress, discard_archives)
            for file in missing.packed:
                archive = downloaded(file, missing.folder, source.root)
                assert archive is not None
                check_present(archive, file, on_progress)
                _unpack(file, archive, missing.folder, on_progress)
        check(info, source)


def _check_allowed(missing: Missing, download: bool) -> None:
    """Raise `NotFetchedError` where files have to be fetched, but nothing may be."""
    if not missing.absent:
        return
    if not all(file.url for file in missing.absent):
        raise missing.not_fetched(missing.absent, "some have no public address")
    if not download:
        raise missing.not_fetched(missing.absent, "no download is tried")
    try:
        require_online(missing.absent[0].url)
    except UnreachableError as error:
        raise missing.not_fetched(missing.absent, str(error)) from error


def _announce(info: DatasetInfo, missing: Missing, on_progress: Watch) -> None:
    """Tell what will be fetched and unpacked."""
    if missing.absent:
        files = plural(len(missing.absent), "file")
        free = size(free_space(missing.folder))
        on_progress(Note(f"{info.name}: {files} to fetch into {missing.folder}; {free} free"))
    if missing.packed:
        names = ", ".join(file.name for file in missing.packed)
        on_progress(Note(f"{info.name}: to unpack in {missing.folder}: {names}"))


def _fetch_all(missing: Missing, on_progress: Watch, discard: bool) -> None:
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
            _unpack(file, missing.folder / file.name, missing.folder, on_progress)
            if discard:
                (missing.folder / file.name).unlink()
    if failed:
        reasons = "; ".join(map(str, errors))
        raise missing.not_fetched(tuple(failed), reasons) from errors[-1]


def _unpack(file: Remote, archive: Path, folder: Path, on_progress: Watch) -> None:
    unpack(archive, folder, on_progress)
    if not is_there(folder, file):
        absent = ", ".join(path for path in file.unpacked if not (folder / path).exists())
        raise ArchiveError(f"{archive}: unpacked, but it does not hold {absent}")
