"""Fetches one file: taken up where it broke, verified before it gets its name."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.base import Remote
from benchmark.data.fetch.checksum import CHUNK, check_present
from benchmark.data.fetch.connection import (
    BrokenError,
    RangeError,
    broken,
    content_length,
    content_range,
    open_url,
    require_online,
)
from benchmark.data.fetch.errors import ChecksumError, FetchError
from benchmark.data.fetch.lock import exclusive
from benchmark.data.fetch.part import KEPT, Part
from benchmark.data.fetch.room import folder_for, require_room
from benchmark.data.fetch.watch import Note, Step, Watch, ignore

_PROGRESS = 1 << 20  # bytes after which a transfer that breaks again counts as the first to break


@dataclass(frozen=True)
class Patience:
    """How often a transfer that broke is taken up again, and after which pauses in seconds."""

    pauses: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)
    sleep: Callable[[float], None] = time.sleep


def download(
    remote: Remote,
    folder: Path,
    on_progress: Watch = ignore,
    patience: Patience = Patience(),
) -> Path:
    """Fetch `remote` into `folder` unless it is there; gives the file, verified.

    The bytes go to NAME.part, which a later call continues if the server still has the same file;
    it gets its name once size and checksums are right. A file that is already there is verified
    and never changed. Raises `UnreachableError` at once without a network, `ChecksumError` for a
    file that is not the expected one (what was fetched is deleted, what was there before is not),
    `DiskFullError`, and `FetchError` for what the server refuses or does not deliver.
    """
    target = folder / remote.name
    if _is_taken(target):
        check_present(target, remote, on_progress)
        return target
    require_online(remote.url)
    lock = target.with_name(f".{target.name}.lock")
    with folder_for(target.parent), exclusive(lock, f"fetch {remote.name}", on_progress):
        if _is_taken(target):  # whoever held the lock has fetched it
            check_present(target, remote, on_progress)
            return target
        with Part(target, remote, on_progress) as part:
            _complete(part, remote, on_progress, patience)
            if _is_taken(target):
                part.delete()
                raise FetchError(f"{target}: came into being while it was fetched; left as it is")
            part.finish(target)
    return target


def _is_taken(target: Path) -> bool:
    return target.exists() or target.is_symlink()  # also by a link that leads nowhere


def _complete(part: Part, remote: Remote, on_progress: Watch, patience: Patience) -> None:
    """Transfer until the part is the whole file and has the right checksum."""
    for again in (True, False):
        _transfer_all(part, remote, on_progress, patience)
        fault = part.checksum.fault()
        if not fault:
            return
        in_pieces = part.pieces > 1
        hint = _what_came(part)
        part.restart()
        if not (again and in_pieces):
            part.delete()
            raise ChecksumError(
                f"{remote.url}: not the expected file for {part.path.with_suffix('')}: {fault}"
                f"{hint}; what was fetched is deleted"
            )
        on_progress(Note(f"{remote.name}: the pieces fetched do not fit together; starting anew"))


def _transfer_all(part: Part, remote: Remote, on_progress: Watch, patience: Patience) -> None:
    failures, mark = 0, part.have
    while not (part.have and part.have == (part.total or remote.bytes)):
        try:
            _transfer(part, remote, on_progress)
            break
        except RangeError as error:
            if part.have == error.total:
                break
            part.restart()
            failure = "the server's file is shorter than the part fetched; starting anew"
        except BrokenError as error:
            failure = str(error)
        if part.have - mark >= _PROGRESS:
            failures = 0
        mark = max(mark, part.have)
        if failures >= len(patience.pauses):
            kept = f"; {KEPT}" if part.have else ""
            raise FetchError(f"{remote.url}: {failure}, {failures + 1} times in a row{kept}")
        pause = patience.pauses[failures]
        failures += 1
        on_progress(Note(f"{remote.name}: {failure}; trying again in {pause:g} s"))
        patience.sleep(pause)
    on_progress(Step("fetch", remote.name, part.have, part.have))


def _transfer(part: Part, remote: Remote, on_progress: Watch) -> None:
    """One connection: everything that is missing, or `BrokenError`."""
    start = part.have
    with open_url(remote.url, start, part.validator) as response:
        etag, modified = (response.headers.get(k, "") for k in ("ETag", "Last-Modified"))
        length = content_length(response.headers)
        if response.status == 206 and start:
            first, total = content_range(response.headers)
            total = total if total >= 0 else start + length if length >= 0 else 0
            if first != start or _is_other(part, etag, modified, total):
                part.restart()
                raise BrokenError("the server's file has changed; starting anew")
        elif response.status == 200:
            total = max(length, 0)
            if start:
                part.restart()
                on_progress(Note(f"{remote.name}: the server cannot continue; starting anew"))
        else:
            raise FetchError(f"{remote.url}: the server answers {response.status}, without a file")
        if remote.bytes and total and total != remote.bytes:
            raise ChecksumError(
                f"{remote.url}: not the expected file for {part.path.with_suffix('')}: the "
                f"server's has {total} bytes, expected {remote.bytes}"
            )
        part.remember(etag, modified, total)
        purpose = f"fetch {remote.name}"
        require_room(part.path.parent, (total or remote.bytes) - part.have, purpose, KEPT)
        part.pieces += 1
        _copy(response, part, remote, on_progress)
    if total and part.have < total:
        raise BrokenError(f"connection broken after {part.have} of {total} bytes")


def _copy(
    response: http.client.HTTPResponse, part: Part, remote: Remote, on_progress: Watch
) -> None:
    while True:
        try:
            content = response.read1(CHUNK)
        except (OSError, http.client.HTTPException) as error:
            raise BrokenError(broken(error)) from error
        if not content:
            return
        part.write(content)
        if remote.bytes and part.have > remote.bytes:
            return  # too long: the checksum says so without waiting for an end that may not come
        total = part.total or remote.bytes
        if part.have != total:  # the last step is told once everything has come
            known = total if total > part.have else 0
            on_progress(Step("fetch", remote.name, part.have, known))


def _is_other(part: Part, etag: str, modified: str, total: int) -> bool:
    """Whether what the server says of the file differs from what it said before."""
    pairs = ((part.etag, etag), (part.modified, modified), (part.total, total))
    return any(before and now and before != now for before, now in pairs)


def _what_came(part: Part) -> str:
    with part.path.open("rb") as file:
        start = file.read(512).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return " (it is a web page: the file has moved, or the network asks for a login)"
    return ""
