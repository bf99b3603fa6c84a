"""What is in the files of a data set: a digest of each, kept so that no file is read twice.

    <cache>/digests/<folder>.npz   paths, size and times, digests of the files below one folder

The cache is the folder that CLBENCH_CACHE names, or the user's own for clbench. It saves time and
decides nothing: it may be deleted, and where it is damaged or cannot be written files are read
again. A file is known by its path below the data set's folder, its size, and the times of the last
change of its content and of its entry, so one replaced by another with its date is read again.
"""

from __future__ import annotations

import hashlib
import os
import time
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock, Timeout

from benchmark.data.base import DataError, Listing, Progress
from benchmark.storage import write_atomically

Stamp = tuple[int, int, int]  # bytes; nanoseconds of the last change of content and of entry
Known = dict[str, tuple[Stamp, bytes]]  # by path below the data set's folder

DIGEST_BYTES = 20
# A file this young may be changed again with the same times: file systems count in up to 2 s.
SETTLED_NS = 2_000_000_000
_THREADS = 8  # reading waits for disks
_PART = 64  # files a thread reads between two reports
_BLOCK = 1 << 20
_LOCK_SECONDS = 10.0
_UNUSABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def cache_folder() -> Path:
    """The folder for what can be made again: $CLBENCH_CACHE, or the user's own for clbench."""
    given = os.environ.get("CLBENCH_CACHE")
    return Path(given).expanduser() if given else platformdirs.user_cache_path("clbench")


def manifest_hash(
    folder: Path, listing: Listing, on_progress: Progress | None = None, advice: str = ""
) -> str:
    """SHA-256 of the names, labels, domains and contents of a listing's images.

    It is the same wherever the files lie. `DataError` names files that are missing or cannot be
    read; `advice` ends its message where files are missing.
    """
    listing.check_files(folder, advice)
    paths = [listing.place(entry.path) for entry in (*listing.train, *listing.test)]
    digest = hashlib.sha256(listing.names_hash().encode())
    for content in file_digests(folder, paths, on_progress):
        digest.update(content)
    return digest.hexdigest()


def file_digests(
    folder: Path, paths: Sequence[str], on_progress: Progress | None = None
) -> list[bytes]:
    """BLAKE2b with `DIGEST_BYTES` of each file's content, in the order of `paths`.

    Only files that are new or have changed are read. `DataError` names one that cannot be.
    """
    file = _cache_file(folder)
    known = _load(file)
    now = time.time_ns()
    stamps = file_stamps(folder, paths)
    fresh = [path for path, stamp in stamps.items() if known.get(path, (None,))[0] != stamp]
    found: dict[str, bytes] = {}
    try:
        _read_all(folder, fresh, found, on_progress)
    finally:  # also what an interrupted pass has read
        settled = {
            path: (stamps[path], digest)
            for path, digest in found.items()
            if max(stamps[path][1:]) < now - SETTLED_NS
        }
        if settled:
            _keep(file, settled)
    return [found[path] if path in found else known[path][1] for path in paths]


def file_stamps(folder: Path, paths: Iterable[str]) -> dict[str, Stamp]:
    """Size and times of each file; `DataError` names one that cannot be looked at."""
    stamps = {}
    top = str(folder)
    for path in paths:
        try:
            status = os.stat(f"{top}/{path}")  # noqa: PTH116 - there may be 600,000
        except OSError as error:
            raise DataError(f"{folder / path}: {error.strerror or error}") from error
        stamps[path] = status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return stamps


def _read_all(
    folder: Path, paths: Sequence[str], found: dict[str, bytes], on_progress: Progress | None
) -> None:
    """Add the digests of all `paths` to `found`."""
    parts = [paths[start : start + _PART] for start in range(0, len(paths), _PART)]
    with ThreadPoolExecutor(_THREADS, "digest") as pool:
        for part, digests in zip(parts, pool.map(partial(_read_some, folder), parts), strict=True):
            found.update(zip(part, digests, strict=True))
            if on_progress is not None:
                on_progress(f"files of {folder.name} read", len(found), len(paths))


def _read_some(folder: Path, paths: Sequence[str]) -> list[bytes]:
    return [_digest(folder / path) for path in paths]


def _digest(path: Path) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.digest()


# -- the cache ----------------------------------------------------------------------------------


def _cache_file(folder: Path) -> Path:
    name = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:32]
    return cache_folder() / "digests" / f"{name}.npz"


def _load(file: Path) -> Known:
    """What is kept; nothing where there is no such file, or it is damaged."""
    try:
        with np.load(file, allow_pickle=False) as stored:
            paths = stored["paths"].tobytes().decode("utf-8", "surrogateescape").split("\0")
            stamps, digests = stored["stamps"], stored["digests"]
            if stored["check"].tobytes() != _check(stored):
                return {}
    except _UNUSABLE:
        return {}
    if stamps.shape != (len(paths), 3) or digests.shape != (len(paths), DIGEST_BYTES):
        return {}
    kept: Known = {}
    for path, (size, content, entry), digest in zip(paths, stamps.tolist(), digests, strict=True):
        kept[path] = (size, content, entry), digest.tobytes()
    return kept


def _keep(file: Path, added: Mapping[str, tuple[Stamp, bytes]]) -> None:
    """Add to what is kept, beside what other processes add; an unwritable cache is no fault."""
    with suppress(OSError, Timeout):
        file.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock"), timeout=_LOCK_SECONDS):
            entries = {**_load(file), **added}
            paths = "\0".join(entries).encode("utf-8", "surrogateescape")
            arrays: dict[str, Any] = {
                "paths": np.frombuffer(paths, dtype=np.uint8),
                "stamps": np.array([stamp for stamp, _ in entries.values()], dtype=np.int64),
                "digests": np.frombuffer(
                    b"".join(digest for _, digest in entries.values()), dtype=np.uint8
                ).reshape(-1, DIGEST_BYTES),
            }
            arrays["check"] = np.frombuffer(_check(arrays), dtype=np.uint8)
            write_atomically(file, lambda out: np.savez(out, **arrays), durable=False)


def _check(arrays: Mapping[str, Any]) -> bytes:
    """Digest of a cache's own content."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for name in ("paths", "stamps", "digests"):
        digest.update(arrays[name].tobytes())
    return digest.digest()
