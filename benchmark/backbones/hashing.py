"""Hashes of weights, and a memory of them: a plan need not read hundreds of megabytes."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.backbones.catalogue import BackboneSpec
from benchmark.backbones.places import weights_folder
from benchmark.storage import write_atomically

SMALL = 16_000_000  # bytes up to which reading a file again is cheap
READING = 1  # raised when the same file would give other tensors than before


def hash_tensors(tensors: Mapping[str, NDArray[np.generic]]) -> str:
    """Return the SHA-256 over name, type, shape and bytes of every tensor, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def note_of(file: Path, spec: BackboneSpec) -> Path | None:
    """Return where the hash of a large weight file is kept; None for a small one.

    The name of the note changes with the content of the file and with what it is read as. The time
    of the last change of the directory entry (ctime) tells files apart that were copied over each
    other with size and date preserved.
    """
    path = file.resolve()
    stat = path.stat()
    if stat.st_size <= SMALL:
        return None
    shape = None if spec.shape is None else asdict(spec.shape)
    state = [str(path), stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns]
    use = [READING, version("timm"), spec.timm_name, shape, spec.heads]
    name = hashlib.sha256(json.dumps([state, use]).encode()).hexdigest()[:32]
    return weights_folder() / ".hashes" / f"{name}.txt"


def remembered(note: Path | None) -> str | None:
    """Return the hash in a note; None where there is none or it is damaged."""
    if note is None:
        return None
    try:
        text = note.read_text(encoding="ascii")
    except (OSError, ValueError):
        return None
    return text if re.fullmatch(r"[0-9a-f]{64}", text) else None


def remember(note: Path | None, weight_hash: str) -> None:
    """Keep a hash for later processes; a folder that cannot be written only costs time."""
    if note is not None and remembered(note) != weight_hash:
        with suppress(OSError):
            write_atomically(note, weight_hash.encode(), durable=False)
