"""What an archive holds, entry by entry, each with a name that is safe to write."""

from __future__ import annotations

import gzip
import io
import lzma
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Literal, cast

from benchmark.data.fetch.errors import ArchiveError

_BLOCK = 512  # of a tar archive
_LONGEST_READ = 1 << 24  # no header is that long: a larger one is there to fill the memory
_PADDING = 1 << 24  # zeros that may follow a tar archive
_LONGEST_TARGET = 4096  # of a link
_UNSAFE = re.compile(r"[\x00-\x1f\x7f\\]|^[A-Za-z]:|^/")
_DAMAGED = (
    tarfile.TarError, zipfile.BadZipFile, zipfile.LargeZipFile, gzip.BadGzipFile, zlib.error,
    lzma.LZMAError, EOFError, NotImplementedError, RuntimeError, struct.error, UnicodeError,
    ValueError, IndexError, KeyError, OverflowError, OSError,
)  # fmt: skip

Kind = Literal["file", "folder", "symlink", "hardlink"]


@dataclass(frozen=True)
class Member:
    """One entry: its path in parts, how many bytes it declares, where a link leads.

    open: gives the content of a file; only until the next entry is asked for.
    """

    parts: tuple[str, ...]
    kind: Kind
    size: int = 0
    target: str = ""
    open: Callable[[], IO[bytes]] = io.BytesIO

    @property
    def path(self) -> str:
        """The path below the folder that is unpacked into, with forward slashes."""
        return "/".join(self.parts)


@contextmanager
def reading(archive: Path) -> Iterator[None]:
    """Turn whatever a damaged archive raises into `ArchiveError` with its name."""
    try:
        yield
    except ArchiveError:
        raise
    except _DAMAGED as error:
        reason = str(error) or type(error).__name__
        raise ArchiveError(
            f"{archive}: damaged, cut short or not a tar or zip archive: {reason}"
        ) from error


def safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    """A member's name as parts of a relative path, none of them `..`; `ArchiveError` otherwise."""
    parts = tuple(part for part in name.split("/") if part not in ("", "."))
    if not name or _UNSAFE.search(name) or ".." in parts:
        raise ArchiveError(f"{archive}: not unpacked: its entry {name!r} could lie outside")
    return parts


def members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    """The entries of an open archive in order; ends with an error where it is cut short."""
    start = file.read(4)
    file.seek(0)
    if start[:2] == b"PK":
        yield from _zip_members(archive, file)
    elif start[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=file) as unzipped:
            yield from _tar_members(archive, cast(IO[bytes], unzipped))
    else:
        yield from _tar_members(archive, file)


def zip_sizes(file: IO[bytes]) -> tuple[int, int]:
    """(entries, bytes) that a zip archive declares, or zeros for another kind of archive."""
    start = file.read(2)
    file.seek(0)
    if start != b"PK":
        return 0, 0
    with zipfile.ZipFile(file) as content:
        found = content.infolist()
        return len(found), sum(info.file_size for info in found)


def _zip_members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    with zipfile.ZipFile(file) as content:
        for info in content.infolist():
            # a name is cut at a NUL when it is read, and would hide what follows
            parts = safe_parts(archive, info.orig_filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if info.flag_bits & 1:
                raise ArchiveError(f"{archive}: not unpacked: {info.filename!r} is encrypted")
            if info.is_dir():
                yield Member(parts, "folder")
            elif kind == stat.S_IFLNK:
                with content.open(info) as link:
                    target = link.read(_LONGEST_TARGET).decode()
                yield Member(parts, "symlink", target=target)
            elif kind in (0, stat.S_IFREG):
                yield Member(parts, "file", info.file_size, open=partial(content.open, info))
            else:
                raise _special(archive, info.filename)


def _tar_members(archive: Path, file: IO[bytes]) -> Iterator[Member]:
    reader = _Forward(file)
    with tarfile.TarFile(fileobj=cast(Any, reader)) as content:
        for info in content:
            parts = safe_parts(archive, info.name)
            if info.size < 0:
                raise ArchiveError(f"{archive}: damaged: {info.name!r} has a negative size")
            if info.isdir():
                yield Member(parts, "folder")
            elif info.issym():
                yield Member(parts, "symlink", target=info.linkname)
            elif info.islnk():
                yield Member(parts, "hardlink", target=info.linkname)
            elif info.isreg():
                yield Member(
                    parts,
                    "file",
                    info.size,
                    open=partial(_extract, content, info),
                )
            else:
                raise _special(archive, info.name)
            cast(Any, content).members.clear()  # it keeps every entry otherwise
        # Where a header is missing or damaged, `tarfile` ends without a word.
        if len(reader.last) != _BLOCK or any(reader.last):
            raise ArchiveError(f"{archive}: damaged or cut short: no end of the archive is found")
        for _ in range(_PADDING // _BLOCK):  # so that gzip checks its sum
            if not file.read(_BLOCK):
                return
        raise ArchiveError(f"{archive}: not unpacked: more than {_PADDING} bytes follow its end")


def _extract(content: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    source = content.extractfile(info)
    assert source is not None  # asked for regular files only
    return source


def _special(archive: Path, name: str) -> ArchiveError:
    return ArchiveError(
        f"{archive}: not unpacked: its entry {name!r} is a device, a pipe or the like"
    )


class _Forward:
    """A file that is read in one direction, and remembers what was read last."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._at = 0
        self.last = b""

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int) -> int:
        while self._at < offset:
            if not self.read(min(offset - self._at, 1 << 20)):
                break
        if self._at != offset:
            raise EOFError("unexpected end of data" if self._at < offset else "sizes overlap")
        return self._at

    def read(self, size: int) -> bytes:
        if not 0 <= size <= _LONGEST_READ:
            raise ValueError(f"a header of {size} bytes")
        self.last = self._file.read(size)
        self._at += len(self.last)
        return self.last
