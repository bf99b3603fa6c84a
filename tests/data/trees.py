"""Helpers for tests of data sets made of files: states of trees, and machines that list oddly."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from miniatures import encode, pixels


def state(top: Path) -> dict[str, tuple[int, int, str]]:
    """Every path below a folder with its mode, time of change and content."""
    found = {}
    for path in sorted(top.rglob("*")):
        about = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        digest = hashlib.sha256(content).hexdigest()
        found[path.relative_to(top).as_posix()] = (about.st_mode, about.st_mtime_ns, digest)
    return found


def copy_in_another_order(source: Path, target: Path) -> None:
    """A copy whose files were made in another order, as on another machine."""
    files = [path for path in source.rglob("*") if path.is_file()]
    random.Random(5).shuffle(files)
    for path in files:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def shuffle_directories(patch: pytest.MonkeyPatch) -> None:
    """Let folders give their entries in an order of their own, different at every call."""
    original, draws = os.scandir, random.Random(7)

    class Shuffled:
        def __init__(self, path: Any) -> None:
            with original(path) as entries:
                self._entries = list(entries)
            draws.shuffle(self._entries)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            return iter(self._entries)

        def __exit__(self, *_: object) -> None: ...

    patch.setattr(os, "scandir", Shuffled)


def picture(path: Path, number: int = 0) -> Path:
    """A small picture at `path`, of the format that its ending names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    format = {".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF"}.get(path.suffix.lower())
    path.write_bytes(encode(pixels(0, 0, number), format or path.suffix[1:].upper()))
    return path
