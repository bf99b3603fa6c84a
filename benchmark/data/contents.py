"""Inspection of image files: damage, digests of their pixels, and files that no list names."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmark.data.base import DataError, FileImages, Images
from benchmark.data.tree import IMAGE_SUFFIXES

CHUNK = 256  # images between two reports of progress


class Inspected(NamedTuple):
    """One image: SHA-256 of its size and pixels (empty where not decoded), or what is wrong."""

    digest: bytes = b""
    fault: str = ""
    is_empty: bool = False  # a file of 0 bytes


def inspect(
    images: Images, *, decode: bool = True, on_progress: Callable[[int], None] = lambda _n: None
) -> Iterator[Inspected]:
    """Every image in order; without `decode` only whether its file is empty."""
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings.simplefilter("ignore")  # of decoders, about metadata that nobody reads
        for start in range(0, len(images), CHUNK):
            part = range(start, min(start + CHUNK, len(images)))
            yield from pool.map(lambda index: _inspect(images, index, decode), part)
            on_progress(part.stop)


def _inspect(images: Images, index: int, decode: bool) -> Inspected:
    path = images.folder / images.paths[index] if isinstance(images, FileImages) else None
    try:
        if path is not None and path.stat().st_size == 0:
            return Inspected(fault="0 bytes", is_empty=True)
        if not decode:
            return Inspected()
        image = images.read(index)
        if path is not None and _is_cut_png(path):
            return Inspected(fault="truncated: a PNG file without its end")
    except DataError as error:  # the report names the path
        reason = str(error).removeprefix(f"{path}: ").replace(f" {str(path)!r}", "")
        return Inspected(fault=reason)
    except OSError as error:
        return Inspected(fault=f"cannot be read as an image: {error.strerror}")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        return Inspected(fault=f"is {image.dtype} {list(image.shape)}, not uint8 [H, W, 3]")
    digest = hashlib.sha256(str(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return Inspected(digest.digest())


def _is_cut_png(path: Path) -> bool:
    """Whether a PNG file lacks its last chunk, which decoders do without."""
    with path.open("rb") as file:
        return file.read(8) == b"\x89PNG\r\n\x1a\n" and b"IEND\xaeB`\x82" not in file.read()


def unlisted_files(folder: Path, listed: Iterable[str]) -> tuple[list[str], list[str]]:
    """Image files and other files that are not `listed`, below the folders that hold listed ones.

    Paths are relative to `folder`, with forward slashes, and sorted. Hidden files are left out,
    and links to folders are not followed.
    """
    known = set(listed)
    images: list[str] = []
    others: list[str] = []
    pending = sorted({path.partition("/")[0] for path in known if "/" in path})
    while pending:
        below = pending.pop()
        try:
            with os.scandir(folder / below) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except OSError:
            continue  # its entries are reported as missing
        for entry in entries:
            path = f"{below}/{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
            elif path not in known and not entry.is_dir():
                is_image = entry.name.lower().endswith(IMAGE_SUFFIXES)
                (images if is_image else others).append(path)
    return sorted(images), sorted(others)
