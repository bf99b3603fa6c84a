"""Fetching data sets: safe, resumable, verified."""

from __future__ import annotations

from benchmark.data.fetch.download import Patience, download
from benchmark.data.fetch.errors import (
    ArchiveError,
    ChecksumError,
    DiskFullError,
    FetchError,
    NotFetchedError,
    UnreachableError,
)
from benchmark.data.fetch.prepare import Lack, check, lacks, missing, prepare
from benchmark.data.fetch.unpack import unpack
from benchmark.data.fetch.watch import Note, Step, Watch

__all__ = [
    "ArchiveError",
    "ChecksumError",
    "DiskFullError",
    "FetchError",
    "Lack",
    "NotFetchedError",
    "Note",
    "Patience",
    "Step",
    "UnreachableError",
    "Watch",
    "check",
    "download",
    "lacks",
    "missing",
    "prepare",
    "unpack",
]
