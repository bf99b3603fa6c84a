"""Fetches one file: continued where it broke, verified before it gets its name."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from benchmark.data.base import DataError, Remote
from benchmark.storage import StorageError, failure
from benchmark.words import size

if TYPE_CHECKING:
    import requests

CONNECT_SECONDS = 10.0  # for finding a host's addresses, and again for connecting to one of them
READ_SECONDS = 60.0  # without a single byte
PAUSES = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds, after each failure in a row
OFFLINE = "CLBENCH_OFFLINE"
KEPT = "what was fetched is kept, and continued the next time"
RANGE_NOT_SATISFIABLE = 416
_CHUNK = 1 << 16
_PASSING = (408, 425, 429)  # with 500 and above: statuses that may go away
_RESET = 1 << 20  # bytes after which a broken transfer counts as the first failure again


class FetchError(DataError):
    """A file that could not be fetched; the message names its address and what happened."""


class UnreachableError(FetchError):
    """No connection to the host of a file, or downloads are switched off."""


class ChecksumError(FetchError):
    """A file whose size or checksum is not the expected one; names both and the file."""


class DiskFullError(DataError):
    """No room for a file; names the folder, what is needed and what is free."""


class BrokenError(Exception):
    """A transfer that failed and may be retried."""


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

    The bytes go to NAME.part, which a later call continues if a checksum of the file is known. It
    gets its name once the checksum is right. A file that is already there is verified and never
    changed. Raises `UnreachableError` at once without a network, `ChecksumError` for a file that
    is not the expected one (what was fetched is deleted, what was there before is not),
    `DiskFullError`, and `FetchError` for what the server refuses or does not deliver.
    """
    target = folder / remote.name
    if _is_taken(target):
        check_present(target, remote, on_progress)
        return target
    require_online(remote.url)
    lock = target.with_name(f".{target.name}.lock")
    with folder_for(target.parent), exclusive(lock, f"fetch {remote.name}", on_progress):
        if _is_taken(target):  # the process that held the lock has fetched it
            check_present(target, remote, on_progress)
            return target
        downloader = _ResumingDownloader(remote, target, on_progress)
        try:
            _retrieve(remote, folder, downloader)
        except ChecksumError as error:
            if not downloader.resumed:
                raise
            on_progress(Note(f"{error}; starting over"))
            _retrieve(remote, folder, downloader)
    return target


def _retrieve(remote: Remote, folder: Path, downloader: _ResumingDownloader) -> None:
    """Let pooch verify what the downloader fetches and move it into place."""
    import pooch

    pooch.get_logger().setLevel("WARNING")
    hashes = (("sha256", remote.sha256), ("md5", remote.md5))
    known = next((f"{kind}:{value.strip()}" for kind, value in hashes if value), None)
    try:
        pooch.retrieve(remote.url, known, remote.name, folder, downloader=downloader)
    except DataError:
        raise
    except ValueError as error:
        target = folder / remote.name
        raise ChecksumError(f"{remote.url}: not the expected file for {target}: {error}") from error


class _ResumingDownloader:
    """A downloader for pooch that continues `target.part`; pooch alone starts over.

    resumed: whether the file was put together from more than one transfer.
    """

    def __init__(self, remote: Remote, target: Path, on_progress: Watch) -> None:
        self._remote, self._target, self._on_progress = remote, target, on_progress
        self._part = target.with_name(f"{target.name}.part")
        self._total = remote.bytes  # of the server's file; 0 while it is not known
        self._validator = ""  # ETag or date of the server's file
        self.resumed = False

    def __call__(self, url: str, output_file: str, pooch: object) -> None:
        """Fetch the whole file to `output_file`, which pooch verifies."""
        self.resumed = False
        try:
            with writing(self._part, 0, self._purpose):
                file = self._part.open("ab", buffering=0)  # each write goes where the file ends
            with file:
                if not (self._remote.md5 or self._remote.sha256):
                    file.truncate(0)  # nothing would tell that the rest belongs to another file
                self._transfer_all(file)
            self._check_result()
        except BaseException:
            if self._part.exists() and self._have == 0:
                self._part.unlink()
            raise
        with writing(self._target, 0, f"keep {self._remote.name}", KEPT):
            self._part.replace(output_file)

    @property
    def _purpose(self) -> str:
        return f"fetch {self._remote.name}"

    @property
    def _have(self) -> int:
        return self._part.stat().st_size

    def _check_result(self) -> None:
        """Refuse what needs no checksum to be recognised as wrong."""
        with self._part.open("rb") as file:
            start = file.read(512).lstrip().lower()
        if start.startswith((b"<!doctype html", b"<html")):
            self._part.unlink()
            raise ChecksumError(
                f"{self._remote.url}: not the expected file for {self._target}: it is a web page "
                "(the file has moved, or the network asks for a login); it is deleted"
            )
        if _is_taken(self._target):
            self._part.unlink()
            raise FetchError(f"{self._target}: appeared while it was being fetched; left as it is")

    def _transfer_all(self, file: IO[bytes]) -> None:
        """Transfer until the part is the whole file; pauses after every failure."""
        failures, most = 0, self._have
        while not (self._have and self._have == self._total):
            try:
                self._transfer(file)
                break
            except BrokenError as error:
                if self._have - most >= _RESET:
                    failures = 0
                most = max(most, self._have)
                failures += 1
                if failures > len(PAUSES):
                    kept = f"; {KEPT}" if self._have else ""
                    said = f"{self._remote.url}: {error}, {failures} times in a row{kept}"
                    raise FetchError(said) from error
                pause = PAUSES[failures - 1]
                self._note(f"{error}; trying again in {pause:g} s")
                sleep(pause)
        self._on_progress(Step("fetch", self._remote.name, self._have, self._have))

    def _transfer(self, file: IO[bytes]) -> None:
        """One connection: everything that is missing, or `BrokenError`."""
        start = self._have
        headers = {}
        if start:
            self.resumed = True
            headers["Range"] = f"bytes={start}-"
            if self._validator:
                headers["If-Range"] = self._validator
        with open_url(self._remote.url, headers) as response:
            if response.status_code == RANGE_NOT_SATISFIABLE:
                if response.headers.get("Content-Range", "").endswith(f"*/{start}"):
                    return  # the part is the whole file
                self._restart(file)
                raise BrokenError("the server's file is shorter than the part fetched")
            self._check_answer(response, start, file)
            needed = self._total - self._have
            require_room(self._part.parent, needed, self._purpose, KEPT)
            self._copy(response, file)
        if self._have < self._total:
            raise BrokenError(f"connection broken after {self._have} of {self._total} bytes")

    def _check_answer(self, response: requests.Response, start: int, file: IO[bytes]) -> None:
        """Note what the server says of its file; start over where it does not continue ours."""
        headers = response.headers
        etag = headers.get("ETag", "")
        is_strong = etag and not etag.startswith("W/")  # If-Range takes no other
        validator = etag if is_strong else headers.get("Last-Modified", "")
        span = headers.get("Content-Range", "")
        continues = response.status_code == 206 and start > 0
        if not continues and response.status_code != 200:
            raise FetchError(
                f"{self._remote.url}: the server answers {response.status_code}, without a file"
            )
        length = span.rpartition("/")[2] if continues else headers.get("Content-Length", "")
        total = int(length) if length.isdecimal() else 0
        if self._remote.bytes and total not in (0, self._remote.bytes):
            raise ChecksumError(
                f"{self._remote.url}: not the expected file for {self._target}: the server's has "
                f"{total} bytes, expected {self._remote.bytes}"
            )
        if continues:
            is_same = self._validator in ("", validator) and self._total in (0, total)
            if not (is_same and span.startswith(f"bytes {start}-")):
                self._restart(file)
                raise BrokenError("the server's file has changed; starting over")
        elif start:
            self._restart(file)
            self._note("the server cannot continue; starting over")
        self._validator, self._total = validator, total or self._remote.bytes

    def _copy(self, response: requests.Response, file: IO[bytes]) -> None:
        from urllib3.exceptions import HTTPError

        have = self._have
        chunks = response.raw.stream(_CHUNK, decode_content=False)
        while True:
            try:
                content = next(chunks, b"")
            except (OSError, HTTPError) as error:
                raise BrokenError(f"connection broken: {error}") from error
            if not content:
                return
            while content:
                needed = max(self._total - have, len(content))
                with writing(self._part, needed, self._purpose, KEPT):
                    written = file.write(content)
                have += written
                content = content[written:]
            if have != self._total:  # the last step is reported when the transfer is complete
                known = self._total if self._total > have else 0
                self._on_progress(Step("fetch", self._remote.name, have, known))

    def _restart(self, file: IO[bytes]) -> None:
        """Forget everything that was fetched."""
        file.truncate(0)
        self._validator, self._total, self.resumed = "", self._remote.bytes, False

    def _note(self, text: str) -> None:
        self._on_progress(Note(f"{self._remote.name}: {text}"))


def open_url(url: str, headers: Mapping[str, str] = MappingProxyType({})) -> requests.Response:
    """The answer of a server, its content still to be read.

    Raises `UnreachableError` without a connection, `BrokenError` for what may pass, and
    `FetchError` for the rest, but returns the status that refuses a range.
    """
    import requests

    fixed = {"User-Agent": "clbench", "Accept-Encoding": "identity"}
    _look_up(url)
    try:
        response = requests.get(
            url, headers={**fixed, **headers}, stream=True, timeout=(CONNECT_SECONDS, READ_SECONDS)
        )
    except requests.ConnectionError as error:
        cause = error.args[0] if error.args else error
        reason = getattr(cause, "reason", None)  # of urllib3's MaxRetryError: no connection at all
        if reason is None:
            raise BrokenError(f"connection broken: {cause}") from error
        said = str(reason).rpartition("] ")[2].rstrip(")")  # after the number of an error
        raise UnreachableError(
            f"{url}: no connection to {urlsplit(url).hostname}: {said}"
        ) from error
    except requests.Timeout as error:
        raise BrokenError("no data for too long") from error
    except requests.RequestException as error:
        raise FetchError(f"{url}: not fetched: {error}") from error
    status = response.status_code
    if status < 400 or status == RANGE_NOT_SATISFIABLE:
        return response
    response.close()
    answer = f"the server answers {status} {response.reason}"
    if status in _PASSING or status >= 500:
        raise BrokenError(answer)
    raise FetchError(f"{url}: {answer}")


def _look_up(url: str) -> None:
    """Find the host's addresses, or raise `UnreachableError` after `CONNECT_SECONDS`.

    The system's lookup knows no time limit. What else may go wrong shows when connecting.
    """
    import requests

    try:
        proxy = requests.utils.select_proxy(url, requests.utils.get_environ_proxies(url))
        host = urlsplit(proxy or url).hostname
    except ValueError:
        return  # no valid address

    def look_up() -> None:
        with suppress(OSError, ValueError):
            socket.getaddrinfo(host, None)

    thread = threading.Thread(target=look_up, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if thread.is_alive():
        raise UnreachableError(f"{url}: no connection to {host}: its name does not resolve")


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


def _is_taken(target: Path) -> bool:
    return target.exists() or target.is_symlink()  # also by a link that leads nowhere


def checksum_fault(path: Path, remote: Remote, on_progress: Watch) -> str:
    """How `path` differs from the expected file, with expected and found; empty if it does not."""
    total = path.stat().st_size
    if remote.bytes and total != remote.bytes:
        return f"its size is {total} bytes, expected {remote.bytes}"
    kind, expected = ("SHA-256", remote.sha256) if remote.sha256 else ("MD5", remote.md5)
    digest = hashlib.new(kind.replace("-", ""), usedforsecurity=False)
    done = 0
    with path.open("rb") as file:
        while content := file.read(1 << 20):
            digest.update(content)
            done += len(content)
            on_progress(Step("check", remote.name, done, max(total, done)))
    if expected and digest.hexdigest() != expected.strip().lower():
        return f"its {kind} is {digest.hexdigest()}, expected {expected.strip().lower()}"
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


def require_room(folder: Path, needed: int, purpose: str, kept: str = "") -> None:
    """Raise `DiskFullError` when `needed` more bytes do not fit on the disk of `folder`."""
    if needed > free_space(folder):
        raise _disk_full(folder, needed, purpose, kept)


@contextmanager
def writing(path: Path, needed: int, purpose: str, kept: str = "") -> Iterator[None]:
    """Turn a failed write of `path` into `DiskFullError` or `StorageError`; needed: bytes."""
    try:
        yield
    except OSError as error:
        raise write_failure(path, error, needed, purpose, kept) from error


def write_failure(
    path: Path, error: OSError, needed: int, purpose: str, kept: str = ""
) -> DiskFullError | StorageError:
    """The error to raise for a failed write of `path`, of which `needed` bytes were left."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(path.parent, needed, purpose, kept)
    return failure(path, error)


def _disk_full(folder: Path, needed: int, purpose: str, kept: str) -> DiskFullError:
    return DiskFullError(
        f"{folder}: no room to {purpose}: {size(needed)} needed, "
        f"{size(free_space(folder))} free; make room or name a folder on another disk with "
        "--data-root" + (f"; {kept}" if kept else "")
    )


@contextmanager
def folder_for(folder: Path) -> Iterator[None]:
    """Create a folder and its parents; those made here that are still empty at the end go again."""
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise failure(folder, error) from error
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
        try:
            lock.acquire(blocking=False)
        except filelock.Timeout:
            on_progress(Note(f"waiting for another process to {purpose}"))
            lock.acquire()
    except OSError as error:
        raise failure(path, error) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # a process that waits for this file finds the work done
        lock.release()
