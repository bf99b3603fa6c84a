"""Files of the data set are closed to the process of a method, but for images of its own task.

It holds for all that opens files through Python; `docs/protocol.md` says what it does not stop.
Paths are texts here: there may be 600,000, and the check runs whenever a file is opened.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.data.base import FileImages, Images
from benchmark.data.decoded import DecodedImages
from benchmark.data.packed import ASSETS

PART_OF_EVERY_RUN = True  # see engine.provenance

_CODE = (".py", ".pyc")  # a plug-in may lie beside the images


@dataclass
class Fence:
    """What may not be opened: files below `folders` that are not in `open`.

    denied: the files that were asked for all the same.
    """

    folders: tuple[str, ...] = ()
    open: frozenset[str] = frozenset()
    denied: list[str] = field(default_factory=list)

    def check(self, event: str, arguments: tuple[object, ...]) -> None:
        """An audit hook of the interpreter: raises PermissionError for a closed file."""
        if event != "open" or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        path = os.fsdecode(arguments[0])
        if path in self.open or path.endswith(_CODE):
            return
        real = os.path.realpath(path)
        if real.startswith(self.folders):
            self.denied.append(path)
            raise PermissionError(f"{path}: a method may not read files of the data set")


_fence = Fence()


def close(folders: Iterable[Path], allowed: Iterable[Path]) -> None:
    """Close all that lies below some folders, but for the files that are allowed throughout."""
    _fence.folders = tuple(f"{os.path.realpath(folder)}{os.sep}" for folder in folders)
    _fence.open = frozenset(map(str, allowed))
    sys.addaudithook(_fence.check)


def admit(images: Images, allowed: Iterable[Path]) -> None:
    """Let the files of a task be opened, and no longer those of the task before."""
    files = _files(images)
    opened = set(map(str, allowed))
    if files is not None:
        # Pillow opens the resolved path of some files, and the given one of others.
        for folder in (files.folder, Path(os.path.realpath(files.folder))):
            opened |= {str(folder / path) for path in files.paths}
        if real := _real_parents(files):
            parts = (path.rpartition("/") for path in files.paths)
            opened |= {f"{real[above]}/{name}" for above, _, name in parts if above in real}
        opened |= {os.path.realpath(path) for path in opened if Path(path).is_symlink()}
    _fence.open = frozenset(opened)


def denied() -> list[str]:
    """The closed files that this process has tried to open."""
    return _fence.denied


def places(*images: Images) -> tuple[list[Path], list[Path]]:
    """Folders to close for a data set, and the file of decoded training images to leave open.

    images: training and test images.
    """
    folders, pixels = [ASSETS], []
    for each in images:
        if isinstance(each, DecodedImages):
            pixels.append(Path(str(each.pixels.filename)))
            folders.append(pixels[-1].parent)
        if files := _files(each):
            folders.append(files.folder)
            folders += map(Path, set(_real_parents(files).values()))
    return folders, pixels[:1]


def _real_parents(files: FileImages) -> dict[str, str]:
    """The folders of the images that lie elsewhere, by way of links, with their real paths."""
    top = os.path.realpath(files.folder)
    parents = {path.rpartition("/")[0] for path in files.paths}
    real = {a: os.path.realpath(files.folder / a) for a in parents}
    return {a: path for a, path in real.items() if path != (f"{top}/{a}" if a else top)}


def _files(images: Images) -> FileImages | None:
    if isinstance(images, DecodedImages):
        return images.originals()
    return images if isinstance(images, FileImages) else None
