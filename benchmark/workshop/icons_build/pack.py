"""Writes what a build makes: images, credits and a manifest with the hash of each file."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.storage import write_atomically
from benchmark.workshop.icons_build.package import PACKAGE_NAME, PACKAGE_VERSION
from benchmark.workshop.icons_build.sets import SetInfo

_HEAD = """# Attribution

The images in this folder are icons, drawn by the authors below and published under the licence
named beside each set. They were taken from the npm package `{name}` {version}, rendered at
32 x 32 pixels and placed on white (`currentColor` drawn black); nothing else was changed.
`images.csv` names the set and the icon behind every image.

| set | title | author | licence | version | images |
| --- | --- | --- | --- | --- | --- |
"""
# Fixed for ever: another filter chain would change the bytes, not the images.
_XZ_FILTERS = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 25}]


@dataclass(frozen=True)
class BuildSummary:
    """What a build wrote, for people: how many classes, images, ..., and why names were refused."""

    folder: Path
    counts: Mapping[str, int]
    bytes: int
    refused: Mapping[str, str] = field(default_factory=dict)


def npy_bytes(array: np.ndarray) -> bytes:
    """Return an array in the npy format."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def xz_bytes(raw: bytes) -> bytes:
    """Compress with a fixed chain of filters."""
    return lzma.compress(raw, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC64, filters=_XZ_FILTERS)


def write_pack(folder: Path, files: Mapping[str, bytes], facts: Mapping[str, Any]) -> int:
    """Write `files` and a manifest of their hashes and `facts`; return the bytes written."""
    for name, content in files.items():
        write_atomically(folder / name, content)
    hashes = {
        name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in files.items()
    }
    manifest = json.dumps({**facts, "files": hashes}, indent=2, sort_keys=True)
    # Last, so that a folder without it is known to be unfinished.
    write_atomically(folder / "manifest.json", f"{manifest}\n".encode())
    return sum(map(len, files.values()))


def attribution(used: Iterable[SetInfo]) -> str:
    """Return the attribution file, one row a set; `used` holds one entry per image."""
    counts = Counter(used)
    rows = [
        f"| `{info.prefix}` | {_cell(info.title)} | {_link(info.author, info.author_url)} "
        f"| {_link(info.licence, info.licence_url)} | {info.version or '-'} | {count} |\n"
        for info, count in sorted(counts.items(), key=lambda item: item[0].prefix)
    ]
    return _HEAD.format(name=PACKAGE_NAME, version=PACKAGE_VERSION) + "".join(rows)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _link(text: str, url: str) -> str:
    return f"[{_cell(text)}]({url})" if url else _cell(text)
