"""Unpacks an archive into a folder: all of it or nothing, nothing outside, nothing overwritten."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import IO

from benchmark.data.fetch.contents import Contents
from benchmark.data.fetch.errors import ArchiveError
from benchmark.data.fetch.lock import exclusive
from benchmark.data.fetch.members import Member, members, reading, zip_sizes
from benchmark.data.fetch.room import folder_for, writing
from benchmark.data.fetch.watch import Step, Watch, ignore
from benchmark.storage import failure

_CHUNK = 1 << 20


def unpack(archive: Path, folder: Path, on_progress: Watch = ignore) -> None:
    """Put what a tar, tar.gz or zip archive holds below `folder`.

    Everything goes to a temporary folder there and is moved when it is complete, so that an
    interruption leaves nothing half in place. Files of the same size that are there already are
    kept. Raises `ArchiveError` for a damaged archive, one that would write outside or over what
    is there, and one that unpacks to an absurd size; `DiskFullError` and `StorageError` where the
    disk does not take it.
    """
    lock = folder / f".{archive.name}.lock"
    with folder_for(folder), exclusive(lock, f"unpack {archive.name}", on_progress):
        staging = folder / f".{archive.name}.unpacking"
        try:
            if staging.is_dir() and not staging.is_symlink():
                shutil.rmtree(staging)  # of a process that was killed
            staging.mkdir()
        except OSError as error:
            raise failure(staging, error) from error
        try:
            _unpack(archive, staging, folder.resolve(), on_progress)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def _unpack(archive: Path, staging: Path, folder: Path, on_progress: Watch) -> None:
    with reading(archive):
        file = archive.open("rb")
    with file:
        total = os.fstat(file.fileno()).st_size
        contents = Contents(archive, total, folder, staging.name)
        links: list[Member] = []
        made: set[Path] = set()
        with reading(archive):
            declared = zip_sizes(file)
        contents.declare(*declared)
        found = members(archive, file)
        while True:
            with reading(archive):
                member = next(found, None)
            if member is None:
                break
            if not member.parts or not contents.admit(member):
                continue
            if member.kind in ("symlink", "hardlink"):
                links.append(member)
            else:
                _write(archive, member, staging, made)
            if file.tell() < total:  # the last step is told once everything is in place
                on_progress(Step("unpack", archive.name, file.tell(), total))
    for link in links:  # last, so that nothing can be written through one
        _link(link, staging, folder)
    _move_in(archive, staging, folder)
    on_progress(Step("unpack", archive.name, total, total))


def _write(archive: Path, member: Member, staging: Path, made: set[Path]) -> None:
    """Write a file or folder below the temporary folder, with the rights of any new file.

    made: the folders made so far, so that each is made once.
    """
    path = staging.joinpath(*member.parts)
    with writing(path, member.size, f"unpack {archive}"):
        folder = path if member.kind == "folder" else path.parent
        if folder not in made:
            folder.mkdir(parents=True, exist_ok=True)
            made.add(folder)
        if member.kind == "folder":
            return
        target = path.open("xb")
    written = 0
    with target:
        with reading(archive):
            source: IO[bytes] = member.open()
        with source:
            while True:
                with reading(archive):
                    content = source.read(_CHUNK)
                if not content:
                    break
                written += len(content)
                if written > member.size:
                    break
                with writing(path, member.size, f"unpack {archive}"):
                    target.write(content)
        with writing(path, member.size, f"unpack {archive}"):
            target.flush()
    if written != member.size:
        raise ArchiveError(f"{archive}: damaged: {member.path!r} is not as long as it says")


def _link(link: Member, staging: Path, folder: Path) -> None:
    """Make a link whose target `Contents` has found to be in the archive."""
    path = staging.joinpath(*link.parts)
    with writing(path, link.size, f"unpack {link.path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if link.kind == "symlink":
            path.symlink_to(link.target)
            return
        # a file of its own, so that changing one never changes the other
        source = staging / link.target
        shutil.copyfile(source if source.exists() else folder / link.target, path)


def _move_in(archive: Path, source: Path, target: Path) -> None:
    """Move what is in `source` into the folder `target`, which may have some of it already."""
    with os.scandir(source) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        goal = target / entry.name
        if not os.path.lexists(goal):
            with writing(goal, 0, f"unpack {archive}"):
                os.rename(entry.path, goal)  # noqa: PTH104 - a directory entry, not a path
        elif entry.is_dir(follow_symlinks=False) and goal.is_dir() and not goal.is_symlink():
            _move_in(archive, Path(entry.path), goal)
        else:  # it was not there when this was looked at
            raise ArchiveError(f"{archive}: not unpacked completely: {goal} has come into being")
