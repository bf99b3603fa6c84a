"""Whether the entries of an archive may be put into a folder, each seen against all before it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from benchmark.data.fetch.errors import ArchiveError
from benchmark.data.fetch.members import Kind, Member, safe_parts
from benchmark.data.fetch.room import free_space, in_bytes, require_room

MOST_MEMBERS = 2_000_000
MOST_RATIO = 200  # of unpacked to packed size; images and lists stay below 20
HARMLESS = 32_000_000  # bytes unpacked below which no ratio is absurd


class Contents:
    """The entries admitted so far.

    archive, packed: the archive and its size in bytes. folder: where the entries will lie, all its
    links resolved. own: the name of the temporary folder in it, which no entry may have.
    """

    def __init__(self, archive: Path, packed: int, folder: Path, own: str) -> None:
        self._archive, self._packed, self._folder, self._own = archive, packed, folder, own
        self._kinds: dict[str, Kind] = {}
        self._sizes: dict[str, int] = {}
        self._free = free_space(folder)
        self._bytes = 0
        self._members = 0

    def declare(self, members: int, size: int) -> None:
        """Judge the number of entries and the bytes that an archive says it holds."""
        if members > MOST_MEMBERS:
            raise self._refused(f"it has more than {MOST_MEMBERS} entries")
        if size > HARMLESS and size > MOST_RATIO * self._packed:
            raise self._refused(
                f"{in_bytes(self._packed)} that unpack to {in_bytes(size)} or more are no data set"
            )
        if size > self._free:
            require_room(self._folder, size, f"unpack {self._archive}")

    def admit(self, member: Member) -> bool:
        """Whether `member` is still to be written; raises `ArchiveError` when it must not be.

        False for what lies in the folder already: a folder, a file of the same size, the same link.
        """
        path = member.path
        if member.parts[0] == self._own:
            raise self._refused(f"its entry {path!r} is in the way")
        size = (
            self._sizes.get(self._inside(member), 0) if member.kind == "hardlink" else member.size
        )
        self._bytes += size
        self._members += 1
        self.declare(self._members, self._bytes)
        known = self._kinds.get(path)
        if known == member.kind == "folder":
            return False
        if known:
            raise self._refused(f"its entry {path!r} is there twice")
        self._admit_parents(member)
        if member.kind == "symlink":
            self._inside(member)
        self._kinds[path] = member.kind
        self._sizes[path] = size
        return not self._is_present(path, member, size)

    def _admit_parents(self, member: Member) -> None:
        for length in range(1, len(member.parts)):
            parent = "/".join(member.parts[:length])
            kind = self._kinds.get(parent)
            if kind is None:
                self._kinds[parent] = "folder"
                self._is_present(parent, Member(member.parts[:length], "folder"), 0)
            elif kind != "folder":
                raise self._refused(f"its entry {member.path!r} lies below a {kind}, {parent!r}")

    def _is_present(self, path: str, member: Member, size: int) -> bool:
        """Look at what the folder holds at `path`; no link there is followed."""
        place = self._folder / path
        try:
            there = place.lstat()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise self._refused(f"{place}: {error.strerror or error}") from error
        mode = there.st_mode
        if stat.S_ISLNK(mode):
            if member.kind == "symlink" and os.readlink(place) == member.target:  # noqa: PTH115
                return True
            raise self._refused(f"{place} is a link, and nothing is written through links")
        if member.kind == "folder" and stat.S_ISDIR(mode):
            return True
        if member.kind in ("file", "hardlink") and stat.S_ISREG(mode) and there.st_size == size:
            return True
        raise self._refused(
            f"{place} is there and differs from what it holds; nothing is overwritten: "
            "move it away or unpack in another folder"
        )

    def _inside(self, link: Member) -> str:
        """The entry a link leads to: one before it or a folder, reached through no other link."""
        if link.kind == "hardlink":
            target = "/".join(safe_parts(self._archive, link.target))
            if self._kinds.get(target) in ("file", "hardlink"):
                return target
            raise self._leads_out(link)
        at = list(link.parts[:-1])
        if link.target.startswith("/") or not link.target:
            raise self._leads_out(link)
        for part in link.target.split("/"):
            if part == "..":
                if not at:
                    raise self._leads_out(link)
                at.pop()
            elif part not in ("", "."):
                at.append(part)
            if at and self._kinds.get("/".join(at)) not in ("folder", "file"):
                raise self._leads_out(link)
        return "/".join(at)

    def _leads_out(self, link: Member) -> ArchiveError:
        return self._refused(
            f"its entry {link.path!r} is a link to {link.target!r}, which is no file or folder "
            "that comes before it in the archive"
        )

    def _refused(self, reason: str) -> ArchiveError:
        return ArchiveError(f"{self._archive}: not unpacked: {reason}")
