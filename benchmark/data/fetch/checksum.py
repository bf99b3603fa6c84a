"""Whether a file is the expected one: its size, MD5 and SHA-256, computed in one pass."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark.data.base import Remote
from benchmark.data.fetch.errors import ChecksumError
from benchmark.data.fetch.watch import Step, Watch

CHUNK = 1 << 20


class Checksum:
    """Takes a file's bytes in order and says what differs from what `remote` promises."""

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._md5 = hashlib.md5(usedforsecurity=False) if remote.md5 else None
        self._sha256 = hashlib.sha256() if remote.sha256 else None
        self.size = 0

    def update(self, content: bytes | memoryview) -> None:
        """Take the next bytes."""
        self.size += len(content)
        for digest in (self._md5, self._sha256):
            if digest is not None:
                digest.update(content)

    def fault(self) -> str:
        """What is wrong, with expected and found; empty when nothing is."""
        remote = self._remote
        if remote.bytes and self.size != remote.bytes:
            return f"its size is {self.size} bytes, expected {remote.bytes}"
        pairs = (("SHA-256", self._sha256, remote.sha256), ("MD5", self._md5, remote.md5))
        for name, digest, expected in pairs:
            if digest is not None and digest.hexdigest() != expected.strip().lower():
                return f"its {name} is {digest.hexdigest()}, expected {expected.strip().lower()}"
        return ""


def read_into(checksum: Checksum, path: Path, name: str, on_progress: Watch) -> None:
    """Feed a file to `checksum`, telling how far it is."""
    with path.open("rb") as file:
        total = path.stat().st_size
        while content := file.read(CHUNK):
            checksum.update(content)
            on_progress(Step("check", name, checksum.size, max(total, checksum.size)))


def check_present(path: Path, remote: Remote, on_progress: Watch) -> None:
    """Raise `ChecksumError` when a file that is already there is not the expected one."""
    try:
        right_size = not remote.bytes or path.stat().st_size == remote.bytes
        checksum = Checksum(remote)
        if right_size:
            read_into(checksum, path, remote.name, on_progress)
        else:
            checksum.size = path.stat().st_size
    except OSError as error:
        raise ChecksumError(
            f"{path}: there, but cannot be read: {error.strerror or error}; {_LEFT}"
        ) from error
    if fault := checksum.fault():
        raise ChecksumError(f"{path}: there, but {fault} (as at {remote.url}); {_LEFT}")


_LEFT = "it is left as it is: move it away or delete it, and run the command again"
