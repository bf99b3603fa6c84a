"""The part of a file fetched so far: bytes in NAME.part, and what the server called that state."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import TracebackType
from typing import Any

from benchmark.data.base import Remote
from benchmark.data.fetch.checksum import Checksum, read_into
from benchmark.data.fetch.room import writing
from benchmark.data.fetch.watch import Watch
from benchmark.storage import write_atomically

KEPT = "what was fetched is kept, and continued the next time"


class Part:
    """`target.part`, open for writing at its end; its checksum is always that of its bytes.

    etag, modified, total: what the server said of the file; empty and 0 while it has not.
    """

    def __init__(self, target: Path, remote: Remote, on_progress: Watch) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._notes = target.with_name(f"{target.name}.part.json")
        self._remote = remote
        self.pieces = 0  # transfers that brought some of the bytes
        self.etag, self.modified, self.total = "", "", 0
        self._recall()
        self.checksum = Checksum(remote)
        with writing(self.path, 0, f"fetch {remote.name}"):
            self._file = self.path.open("ab", buffering=0)  # each write goes where the file ends
        try:
            if self._is_of_use(self.path.stat().st_size):
                read_into(self.checksum, self.path, remote.name, on_progress)
                self.pieces = 1
            else:
                self.restart()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Part:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        if kind is not None and self.have == 0:
            self.delete()

    @property
    def have(self) -> int:
        """Bytes fetched so far."""
        return self.checksum.size

    @property
    def validator(self) -> str:
        """What tells this state of the file from others, for If-Range; weak ETags do not."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified

    def _is_of_use(self, size: int) -> bool:
        """Whether `size` bytes that lie there may be the beginning of the file."""
        whole = self.total or self._remote.bytes
        # without any of these nothing would tell that the rest belongs to another file
        can_tell = self.validator or self._remote.md5 or self._remote.sha256
        return size > 0 and bool(can_tell) and not 0 < whole < size

    def write(self, content: bytes) -> None:
        """Append; `DiskFullError` when the disk is full, with what did fit kept."""
        rest = memoryview(content)
        while rest:
            needed = max(self.total - self.have, len(rest))
            with writing(self.path, needed, f"fetch {self._remote.name}", KEPT):
                written = self._file.write(rest) or 0
            self.checksum.update(rest[:written])
            rest = rest[written:]

    def remember(self, etag: str, modified: str, total: int) -> None:
        """Keep what the server said of the file, so that another process can go on."""
        if (etag, modified, total) != (self.etag, self.modified, self.total):
            self.etag, self.modified, self.total = etag, modified, total
            state = {"url": self._remote.url, "etag": etag, "modified": modified, "total": total}
            write_atomically(self._notes, json.dumps(state).encode(), durable=False)

    def restart(self) -> None:
        """Forget everything."""
        with writing(self.path, 0, f"fetch {self._remote.name}"):
            self._file.truncate(0)
        self._notes.unlink(missing_ok=True)
        self.etag, self.modified, self.total, self.pieces = "", "", 0, 0
        self.checksum = Checksum(self._remote)

    def delete(self) -> None:
        """Remove the file and its notes."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)

    def finish(self, target: Path) -> None:
        """Give the complete and verified file its name."""
        with writing(target, 0, f"keep {self._remote.name}", KEPT):
            os.fsync(self._file.fileno())
            self.path.rename(target)
        self._notes.unlink(missing_ok=True)

    def _recall(self) -> None:
        """Read the notes of an earlier process; damaged or of another address, they are void."""
        try:
            state: Any = json.loads(self._notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if isinstance(state, dict) and state.get("url") == self._remote.url:
            texts = [state.get(key) for key in ("etag", "modified")]
            self.etag, self.modified = (t if isinstance(t, str) else "" for t in texts)
            total = state.get("total")
            self.total = total if isinstance(total, int) and total > 0 else 0
