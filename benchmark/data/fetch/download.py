"""Fetches one file: continued where it broke, verified before it gets its name."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from benchmark.data.base import DataError, Remote
from benchmark.storage import StorageError, failure
from benchmark.words import size

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 10.0
READ_SECONDS = 60.0  # without a single byte
RETRIES = 5  # in a row
BACKOFF = 1.0  # seconds before the first retry, twice as many before each further one
OFFLINE = "CLBENCH_OFFLINE"
PARTIAL_CONTENT, RANGE_NOT_SATISFIABLE = 206, 416
_CHUNK = 1 << 16
_PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses that may go away
_RESET = 1 << 20  # bytes after which a broken transfer counts as the first failure again


class FetchError(DataError):
    """A file that could not be fetched; the message names its address and what happened."""


class UnreachableError(FetchError):
    """No connection to the host of a file, or downloads are switched off."""


class ChecksumError(FetchError):
    """A file whose size or checksum is not the expected one; names both and the file."""


class DiskFullError(DataError):
    """No room for a file; names the folder, what is needed and what is free."""


class _BrokenError(Exception):
    """A transfer that broke and may be continued."""


@dataclass(frozen=True)
class Step:
    """How far one file is: `done` of `total` bytes; total 0 while it is not known.

    The last step of a file has done == total.
    """

    action: Literal["fetch", "check", "unpack"]
    name: str
    done: int
    total: int


@dataclass(frozen=True)
class Note:
    """A line for the user: a broken connection, another process that is waited for."""

    text: str


Watch = Callable[[Step | Note], None]


def ignore(event: Step | Note) -> None:
    """A `Watch` that shows nothing."""


def download(remote: Remote, folder: Path, on_progress: Watch = ignore) -> Path:
    """Fetch `remote` into `folder` unless it is there, and return the verified file.

    The bytes go to NAME.part, which is continued if a checksum of the file is known. It gets its
    name once the checksum is right. A file that is already there is verified and never changed.

    Raises:
        UnreachableError: At once without a network.
        ChecksumError: The file is not the expected one; what was fetched is deleted.
        DiskFullError: There is no room for it.
        FetchError: The server refuses it or does not deliver.
    """
    target = folder / remote.name
    if not os.path.lexists(target):
        require_online(remote.url)
        lock = target.with_name(f".{target.name}.lock")
        with folder_for(target.parent), exclusive(lock, f"fetch {remote.name}", on_progress):
            if not os.path.lexists(target):  # else the process that held the lock did
                _fetch(remote, target, on_progress)
                return target
    check_present(target, remote, on_progress)
    return target


def _fetch(remote: Remote, target: Path, on_progress: Watch) -> None:
    """Fetch a file; start over where the part of an earlier attempt belongs to another file."""
    part = target.with_name(f"{target.name}.part")
    resumes = part.exists() and bool(remote.checksum[1])
    try:
        _retrieve(remote, target, part, on_progress)
    except ChecksumError as error:
        if not resumes:
            raise
        on_progress(Note(f"{error}; starting over"))
        part.unlink(missing_ok=True)
        _retrieve(remote, target, part, on_progress)


def _retrieve(remote: Remote, target: Path, part: Path, on_progress: Watch) -> None:
    """Complete the part, and let pooch verify it and move it into place."""
    import pooch

    def complete_part(_url: str, output_file: str, _pooch: object) -> None:
        _complete(remote, part, on_progress)
        part.replace(output_file)

    pooch.get_logger().setLevel("WARNING")
    kind, digest = remote.checksum
    known = f"{kind.replace('-', '').lower()}:{digest}" if digest else None
    try:
        pooch.retrieve(remote.url, known, target.name, target.parent, downloader=complete_part)
    except DataError:
        raise
    except ValueError as error:
        raise ChecksumError(f"{remote.url}: not the expected file for {target}: {error}") from error


def _complete(remote: Remote, part: Path, on_progress: Watch) -> None:
    """Transfer until the part is the whole file; pauses after every break."""
    failures, most = 0, _size(part)
    while True:
        try:
            _transfer(remote, part, _size(part) if remote.checksum[1] else 0, on_progress)
            break
        except _BrokenError as error:
            failures = 1 if _size(part) - most >= _RESET else failures + 1
            most = max(most, _size(part))
            if failures > RETRIES:
                raise FetchError(
                    f"{remote.url}: {error}, {failures} times in a row; what was fetched is kept, "
                    "and continued the next time"
                ) from error
            pause = BACKOFF * 2 ** (failures - 1)
            on_progress(Note(f"{remote.name}: {error}; trying again in {pause:g} s"))
            sleep(pause)
    on_progress(Step("fetch", remote.name, _size(part), _size(part)))


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _transfer(remote: Remote, part: Path, have: int, on_progress: Watch) -> None:
    """One connection: everything after the first `have` bytes, or `_BrokenError`."""
    if have and have == remote.bytes:
        return
    with _open(remote.url, {"Range": f"bytes={have}-"} if have else {}) as response:
        if response.status_code == RANGE_NOT_SATISFIABLE:
            return  # the part is the whole file or that of another one: the checksum tells
        if response.status_code != PARTIAL_CONTENT:  # the server cannot continue
            have = 0
        left = int(response.headers.get("Content-Length", 0))
        total = have + left if left else remote.bytes
        if remote.bytes and total != remote.bytes:
            raise ChecksumError(
                f"{remote.url}: not the expected file for {remote.name}: the server's has {total} "
                f"bytes, expected {remote.bytes}"
            )
        require_room(part.parent, left, f"fetch {remote.name}")
        have = _copy(remote, response, part, have, total, on_progress)
    if have < total:
        raise _BrokenError(f"connection broken after {have} of {total} bytes")


def _copy(
    remote: Remote,
    response: requests.Response,
    part: Path,
    have: int,
    total: int,
    on_progress: Watch,
) -> int:
    """Put the content of an answer after the first `have` bytes; gives how many there are then."""
    from urllib3.exceptions import HTTPError

    with part.open("ab" if have else "wb", buffering=0) as file:
        try:
            for content in response.raw.stream(_CHUNK, decode_content=False):
                rest = content
                while rest:
                    try:
                        written = file.write(rest)
                    except OSError as error:
                        needed = max(total - have, len(rest))
                        raise write_failure(part, error, needed, f"fetch {remote.name}") from error
                    have += written
                    rest = rest[written:]
                if have != total:  # the last step is reported when the transfer is complete
                    on_progress(Step("fetch", remote.name, have, total))
        except HTTPError as error:
            raise _BrokenError(f"connection broken: {error}") from error
    return have


def _open(url: str, headers: dict[str, str]) -> requests.Response:
    """The answer of a server, its content still to be read; asks again where a status may pass."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    retry = Retry(
        RETRIES,
        connect=0,
        backoff_factor=BACKOFF,
        status_forcelist=_PASSING,
        raise_on_status=False,
        respect_retry_after_header=False,
    )
    fixed = {"User-Agent": "clbench", "Accept-Encoding": "identity"}
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        try:
            response = session.get(
                url,
                headers={**fixed, **headers},
                stream=True,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
            )
        except requests.ConnectionError as error:
            reason = getattr(error.args[0], "reason", error)  # of urllib3's MaxRetryError
            said = str(reason).rpartition("] ")[2].rstrip(")")  # after the number of an error
            raise UnreachableError(
                f"{url}: no connection to {urlsplit(url).hostname}: {said}"
            ) from error
        except requests.RequestException as error:
            raise FetchError(f"{url}: not fetched: {error}") from error
    status = response.status_code
    if status >= 400 and status != RANGE_NOT_SATISFIABLE:
        response.close()
        raise FetchError(f"{url}: the server answers {status} {response.reason}")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        response.close()
        raise FetchError(
            f"{url}: the server answers with a web page: the file has moved, or the network asks "
            "for a login"
        )
    return response


def switched_on(*names: str) -> str | None:
    """The first of these environment variables that is set, to something other than 0 or no."""
    off = ("", "0", "false", "no", "off")
    return next(
        (name for name in names if os.environ.get(name, "").strip().lower() not in off), None
    )


def require_online(url: str) -> None:
    """Raise `UnreachableError` when downloads are switched off by CLBENCH_OFFLINE."""
    if switch := switched_on(OFFLINE):
        raise UnreachableError(f"{url}: {switch} is set, so nothing is fetched")


def checksum_fault(path: Path, remote: Remote, on_progress: Watch) -> str:
    """How `path` differs from the expected file, with expected and found; empty if it does not."""
    total = path.stat().st_size
    if remote.bytes and total != remote.bytes:
        return f"its size is {total} bytes, expected {remote.bytes}"
    kind, expected = remote.checksum
    digest = hashlib.new(kind.replace("-", ""), usedforsecurity=False)
    done = 0
    with path.open("rb") as file:
        while content := file.read(1 << 20):
            digest.update(content)
            done += len(content)
            on_progress(Step("check", remote.name, done, max(total, done)))
    if expected and digest.hexdigest() != expected:
        return f"its {kind} is {digest.hexdigest()}, expected {expected}"
    return ""


def check_present(path: Path, remote: Remote, on_progress: Watch) -> None:
    """Raise `ChecksumError` when a file that is already there is not the expected one."""
    try:
        fault = checksum_fault(path, remote, on_progress)
    except OSError as error:
        fault = f"cannot be read: {error.strerror or error}"
    if fault:
        raise ChecksumError(
            f"{path}: there, but {fault} (as at {remote.url}); it is left as it is: move it away "
            "or delete it, and run the command again"
        )


def free_space(folder: Path) -> int:
    """Free bytes on the disk of `folder`, which need not exist yet."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def require_room(folder: Path, needed: int, purpose: str) -> None:
    """Raise `DiskFullError` when `needed` more bytes do not fit on the disk of `folder`."""
    if needed > free_space(folder):
        raise _disk_full(folder, needed, purpose)


def write_failure(
    path: Path, error: OSError, needed: int, purpose: str
) -> DiskFullError | StorageError:
    """The error to raise for a failed write of `path`, of which `needed` bytes were left."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(path.parent, needed, purpose)
    return failure(path, error)


def _disk_full(folder: Path, needed: int, purpose: str) -> DiskFullError:
    return DiskFullError(
        f"{folder}: no room to {purpose}: {size(needed)} needed, {size(free_space(folder))} free; "
        "make room or name a folder on another disk with --data-root"
    )


@contextmanager
def folder_for(folder: Path) -> Iterator[None]:
    """Create a folder and its parents; those made here that are still empty at the end go again."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for path in new:
            with suppress(OSError):  # not empty: it is in use
                path.rmdir()


@contextmanager
def exclusive(path: Path, purpose: str, on_progress: Watch) -> Iterator[None]:
    """Hold the lock file `path`; waits, with a note, while another process or thread holds it.

    The file is removed at the end, so that a data set's folder holds the data set alone.
    """
    import filelock

    lock = filelock.FileLock(path)
    try:
        lock.acquire(blocking=False)
    except filelock.Timeout:
        on_progress(Note(f"waiting for another process to {purpose}"))
        lock.acquire()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # a process that waits for this file finds the work done
        lock.release()
