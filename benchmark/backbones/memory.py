"""Remembers the hash of a weight file, so that a plan need not read hundreds of megabytes."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from benchmark.backbones.catalogue import BackboneSpec
from benchmark.backbones.places import weights_folder
from benchmark.storage import write_atomically

SMALL = 16_000_000  # bytes up to which a file is rather read again
READING = 1  # raised when the same file would give other tensors than before


@dataclass(frozen=True)
class FileState:
    """What changes when a file's content does, and what the file is read as.

    The time of the last change of the entry itself (ctime) tells files apart that were copied over
    each other with size and date preserved.
    """

    path: str
    size: int
    mtime_ns: int
    ctime_ns: int
    use: str


def state_of(file: Path, spec: BackboneSpec) -> FileState:
    """The present state of an existing file that an entry is read from."""
    path = file.resolve()
    found = path.stat()
    shape = None if spec.shape is None else asdict(spec.shape)
    use = json.dumps([READING, version("timm"), spec.timm_name, shape, spec.heads])
    return FileState(str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns, use)


def remembered(state: FileState) -> str | None:
    """The hash that this very file gave before."""
    if state.size <= SMALL:
        return None
    try:
        note = json.loads(_note(state).read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: it is computed again
        return None
    if not isinstance(note, dict) or note.get("file") != asdict(state):
        return None
    found = note.get("tensors_sha256")
    return found if isinstance(found, str) and len(found) == 64 else None


def remember(state: FileState, weight_hash: str) -> None:
    """Keep the hash for later processes; a folder that cannot be written only costs time."""
    if state.size <= SMALL:
        return
    note = {"file": asdict(state), "tensors_sha256": weight_hash}
    with suppress(OSError):
        write_atomically(_note(state), json.dumps(note, indent=1).encode(), durable=False)


def _note(state: FileState) -> Path:
    """One small file for each weight file and use, so that processes do not get in their way."""
    name = hashlib.sha256(f"{state.path}\0{state.use}".encode()).hexdigest()[:32]
    return weights_folder() / ".hashes" / f"{name}.json"
