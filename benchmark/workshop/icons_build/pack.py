"""Write what a build makes: images, lists and a manifest with the hash of each file."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.storage import write_atomically

# Fixed for ever: another filter chain would change the bytes, not the images.
_XZ_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 25}]


@dataclass(frozen=True)
class BuildSummary:
    """What a build wrote, for people."""

    folder: Path
    classes: int
    train_images: int
    test_images: int
    bytes: int
    refused: Mapping[str, str]


def npy_bytes(array: np.ndarray) -> bytes:
    """Give an array in the npy format."""
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ascontiguousarray(array), version=(1, 0))
    return stream.getvalue()


def xz_bytes(raw: bytes) -> bytes:
    """Compress with a fixed chain of filters."""
    return lzma.compress(raw, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=_XZ_FILTERS)


def write_pack(folder: Path, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> int:
    """Write `files` and a manifest of their hashes and `facts`; gives the bytes written."""
    for name, content in files.items():
        write_atomically(folder / name, content)
    manifest = dict(facts)
    manifest["files"] = {
        name: {"bytes": len(files[name]), "sha256": hashlib.sha256(files[name]).hexdigest()}
        for name in sorted(files)
    }
    # Last, so that a folder without it is known to be unfinished.
    write_atomically(
        folder / "manifest.json", (json.dumps(manifest, indent=2, sort_keys=True) + "\n").encode()
    )
    return sum(map(len, files.values()))
