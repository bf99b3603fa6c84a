"""What can go wrong while data are fetched and unpacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmark.data.base import DataError, MissingDataError, Remote


class FetchError(DataError):
    """A file that could not be fetched; the message names its address and what happened."""


class UnreachableError(FetchError):
    """No connection to the host of a file, or downloads are switched off."""


class ChecksumError(FetchError):
    """A file whose size or checksum is not the expected one; names both and the file."""


class ArchiveError(DataError):
    """An archive that is damaged or not safe to unpack; nothing of it was put in place."""


class DiskFullError(DataError):
    """No room for a file; names the folder, what is needed and what is free."""


class NotFetchedError(MissingDataError):
    """Files of a data set that are not there and could not be fetched, with the reason."""

    def __init__(self, name: str, folder: Path, files: tuple[Remote, ...], reason: str) -> None:
        super().__init__(name, folder, files)
        self.reason = reason
        self.args = (f"{self.args[0]}\nnot fetched: {reason}",)

    def __reduce__(self) -> tuple[Any, ...]:
        return NotFetchedError, (self.name, self.folder, self.files, self.reason)
