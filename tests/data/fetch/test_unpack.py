"""Unpacking: all or nothing, nothing outside the folder, nothing written over."""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.data.fetch import ArchiveError, DiskFullError, Note, Step, contents, unpack

SOUND = {"set/a/1.jpg": b"one" * 700, "set/b/2.jpg": b"", "set/list.txt": b"x"}
Build = Callable[[Path, dict[str, bytes]], Path]


def tar(folder: Path, files: dict[str, bytes], *more: tarfile.TarInfo, mode: str = "w") -> Path:
    path = folder / ("a.tgz" if "gz" in mode else "a.tar")
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o4755
            archive.addfile(info, io.BytesIO(content))
        for info in more:
            archive.addfile(info)
    return path


def tgz(folder: Path, files: dict[str, bytes], *more: tarfile.TarInfo) -> Path:
    return tar(folder, files, *more, mode="w:gz")


def zipped(folder: Path, files: dict[str, bytes], *more: tuple[str, int, bytes]) -> Path:
    """more: entries with a Unix mode of their own."""
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for name, mode, content in more:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr = 3, mode << 16
            archive.writestr(info, content)
    return path


def entry(name: str, kind: bytes, target: str = "", size: int = 0) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out" / "inner"
    folder.mkdir(parents=True)
    return folder


def refused(archive: Path, out: Path, reason: str = ".") -> None:
    """The archive is refused by name, and there is nothing but it anywhere near."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(ArchiveError, match=reason) as caught:
        unpack(archive, out)
    assert str(archive) in str(caught.value)
    assert sorted(archive.parent.rglob("*")) == before


@pytest.mark.parametrize("build", [tar, tgz, zipped])
def test_a_sound_archive(tmp_path: Path, out: Path, build: Build) -> None:
    archive = build(tmp_path, {**SOUND, "./set/./c//3.jpg": b"3"})
    events: list[Step | Note] = []
    unpack(archive, out, events.append)
    assert tree(out) == {**SOUND, "set/c/3.jpg": b"3"}
    size = archive.stat().st_size
    assert events[-1] == Step("unpack", archive.name, size, size)
    assert [path.name for path in out.iterdir()] == ["set"]
    mode = (out / "set/a/1.jpg").stat().st_mode
    assert not mode & (stat.S_ISUID | stat.S_ISGID | stat.S_IXUSR)


@pytest.mark.parametrize("build", [tar, zipped])
def test_what_is_there_is_kept(tmp_path: Path, out: Path, build: Build) -> None:
    mine = out / "set" / "a" / "1.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"two" * 700)
    (out / "set" / "mine.txt").write_text("mine")
    unpack(build(tmp_path, SOUND), out)
    assert tree(out) == {**SOUND, "set/a/1.jpg": b"two" * 700, "set/mine.txt": b"mine"}
    unpack(build(tmp_path, SOUND), out)


@pytest.mark.parametrize("build", [tar, tgz, zipped])
@pytest.mark.parametrize("kind", ["other size", "folder", "file for folder"])
def test_nothing_is_overwritten(tmp_path: Path, out: Path, build: Build, kind: str) -> None:
    mine = out / "set" / "list.txt"
    if kind == "file for folder":
        (out / "set").write_text("mine")
    else:
        mine.parent.mkdir()
        mine.mkdir() if kind == "folder" else mine.write_bytes(b"mine")
    refused(build(tmp_path, SOUND), out, "is there and differs")


@pytest.mark.parametrize("build", [tar, tgz, zipped])
@pytest.mark.parametrize(
    "name",
    ["/abs.txt", "../up.txt", "set/../../up.txt", "C:/x.txt", "c:x.txt", "..\\up.txt",
     "\\\\host\\x.txt", "set/..", "a\nb", ".a.zip.unpacking/x", ".a.tar.unpacking/x"],
)  # fmt: skip
def test_names_that_could_lie_outside(tmp_path: Path, out: Path, build: Build, name: str) -> None:
    archive = build(tmp_path, {**SOUND, name: b"x"})
    if name.startswith(".a.") and archive.name not in name:
        unpack(archive, out)  # only the archive's own temporary folder is in the way
    else:
        refused(archive, out, "could lie outside|in the way")


@pytest.mark.parametrize("target", ["/etc/passwd", "../..", "../../x", "nowhere", "set/../../x"])
@pytest.mark.parametrize("build", [tar, tgz, zipped])
def test_links_that_lead_out(tmp_path: Path, out: Path, build: Any, target: str) -> None:
    if build is zipped:
        archive = zipped(tmp_path, SOUND, ("l", stat.S_IFLNK | 0o777, target.encode()))
    else:
        archive = build(tmp_path, SOUND, entry("l", tarfile.SYMTYPE, target))
        refused(archive, out, "link")
        archive = build(tmp_path, SOUND, entry("l", tarfile.LNKTYPE, target))
    refused(archive, out, "link|lie outside")


def test_a_chain_of_links_leads_nowhere(tmp_path: Path, out: Path) -> None:
    up = entry("set/a/up", tarfile.SYMTYPE, "..")  # inside, but not as a step to elsewhere
    refused(
        tar(tmp_path, SOUND, up, entry("l", tarfile.SYMTYPE, "set/a/up/../../../x")),
        out,
        "is a link",
    )


@pytest.mark.parametrize("through", ["symlink", "hardlink", "file"])
def test_nothing_is_written_through_a_link(tmp_path: Path, out: Path, through: str) -> None:
    kinds = {"symlink": tarfile.SYMTYPE, "hardlink": tarfile.LNKTYPE}
    if through == "file":
        archive = tar(tmp_path, SOUND, entry("set/list.txt/below", tarfile.REGTYPE))
    else:
        target = "set/a" if through == "symlink" else "set/list.txt"
        below = entry("door/below.txt", tarfile.REGTYPE)
        archive = tar(tmp_path, SOUND, entry("door", kinds[through], target), below)
    refused(archive, out, f"lies below a {through}")


def test_nothing_is_written_through_a_link_of_the_folder(tmp_path: Path, out: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (out / "set").symlink_to(elsewhere)
    for build in (tar, zipped):
        refused(build(tmp_path, SOUND), out, "is a link")
    (out / "set").unlink()
    (out / "set").mkdir()
    (out / "set" / "list.txt").symlink_to(elsewhere / "new")
    refused(tar(tmp_path, SOUND), out, "is a link")


def test_the_folder_itself_may_be_a_link(tmp_path: Path, out: Path) -> None:
    door = tmp_path / "door"
    door.symlink_to(out)
    unpack(tar(tmp_path, SOUND), door)
    assert tree(out) == SOUND


def test_links_inside_are_made(tmp_path: Path, out: Path) -> None:
    links = (
        entry("set/soft", tarfile.SYMTYPE, "a/../list.txt"),
        entry("set/hard", tarfile.LNKTYPE, "set/list.txt"),
        entry("set/harder", tarfile.LNKTYPE, "./set/hard"),
    )
    archive = tar(tmp_path, SOUND, *links)
    for _ in range(2):  # the second time all of it is there
        unpack(archive, out)
        assert str((out / "set/soft").readlink()) == "a/../list.txt"
        assert tree(out) == {**SOUND, "set/soft": b"x", "set/hard": b"x", "set/harder": b"x"}
    (out / "set/hard").write_bytes(b"y")
    assert (out / "set/list.txt").read_bytes() == b"x", "a file of its own"


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_and_pipes(tmp_path: Path, out: Path, kind: bytes) -> None:
    refused(tar(tmp_path, SOUND, entry("set/dev", kind)), out, "device")


@pytest.mark.parametrize("mode", [stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_devices_in_a_zip(tmp_path: Path, out: Path, mode: int) -> None:
    refused(zipped(tmp_path, SOUND, ("set/dev", mode | 0o644, b"")), out, "device")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_names_that_come_twice(tmp_path: Path, out: Path) -> None:
    twice = tar(tmp_path, SOUND, entry("./set//list.txt", tarfile.REGTYPE))
    refused(twice, out, "is there twice")
    refused(tar(tmp_path, SOUND, entry("set/a", tarfile.REGTYPE)), out, "is there twice")
    refused(zipped(tmp_path, SOUND, ("set/list.txt", 0, b"y")), out, "is there twice")
    folders = [entry("set/a/", tarfile.DIRTYPE), entry("set/empty", tarfile.DIRTYPE)]
    unpack(tar(tmp_path, SOUND, *folders), out)
    assert (out / "set/empty").is_dir()


@pytest.mark.parametrize("build", [tgz, zipped])
def test_bombs(tmp_path: Path, out: Path, build: Build) -> None:
    refused(build(tmp_path, {"zeros": bytes(40_000_000)}), out, "unpack to 40.0 MB or more")


def test_too_many_entries(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contents, "MOST_MEMBERS", 2)
    for build in (tar, tgz, zipped):
        refused(build(tmp_path, SOUND), out, "more than 2 entries")


def test_a_header_that_would_fill_the_memory(tmp_path: Path, out: Path) -> None:
    header = entry("././@LongLink", tarfile.GNUTYPE_LONGNAME, size=1 << 40)
    archive = tmp_path / "a.tgz"
    archive.write_bytes(gzip.compress(header.tobuf(tarfile.GNU_FORMAT) + bytes(1 << 20)))
    refused(archive, out, "a header of")


@pytest.mark.parametrize("build", [tar, tgz, zipped])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.3, 0.5, 0.8, 0.999])
def test_archives_that_are_cut_short(tmp_path: Path, out: Path, build: Build, share: float) -> None:
    files = {name: os.urandom(3000) for name in SOUND}
    archive = build(tmp_path, files)
    whole = archive.read_bytes()
    if build is tar:
        whole = whole.rstrip(b"\0")  # one of its end blocks would do
    archive.write_bytes(whole[: int(share * len(whole))])
    refused(archive, out)


def test_a_tar_cut_between_two_entries(tmp_path: Path, out: Path) -> None:
    archive = tar(tmp_path, SOUND)
    archive.write_bytes(archive.read_bytes()[: 512 + 2560])  # the first entry
    refused(archive, out, "no end")


@pytest.mark.parametrize("build", [tar, tgz, zipped])
def test_archives_with_flipped_bytes(tmp_path: Path, out: Path, build: Build) -> None:
    """Whatever is damaged: a clear refusal, or - a tar has no sum of its data - a whole tree."""
    archive = build(tmp_path, SOUND)
    sound = archive.read_bytes()
    refusals = 0
    for position in range(0, len(sound), max(len(sound) // 60, 1)):
        damaged = bytearray(sound)
        damaged[position] ^= 0x55
        archive.write_bytes(damaged)
        try:
            unpack(archive, out / str(position))
        except ArchiveError as error:
            refusals += 1
            assert str(archive) in str(error)
            assert not (out / str(position)).exists()
    assert refusals > (5 if build is tar else 20)


def test_a_zip_that_lies_about_its_sizes(tmp_path: Path, out: Path) -> None:
    archive = zipped(tmp_path, {"a": b"0123456789" * 1000})
    content = bytearray(archive.read_bytes())
    at = content.index(b"PK\x01\x02") + 24  # the size in the directory
    content[at : at + 4] = struct.pack("<I", 10)
    archive.write_bytes(content)
    refused(archive, out)


def test_an_encrypted_zip(tmp_path: Path, out: Path) -> None:
    archive = zipped(tmp_path, SOUND)
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    refused(archive, out, "encrypted")


def test_what_is_no_archive(tmp_path: Path, out: Path) -> None:
    archive = tmp_path / "a.tar"
    for content in (b"", b"PK", b"\x1f\x8b", b"<html>" * 500, bytes(512) + b"x" * 512):
        archive.write_bytes(content)
        if any(content[:512]) or not content:
            refused(archive, out, "not a tar or zip archive")
    refused(tmp_path / "missing.zip", out)


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path, out: Path) -> None:
    (out / ".a.tar.unpacking" / "set").mkdir(parents=True)
    (out / ".a.tar.unpacking" / "half").write_text("half")
    unpack(tar(tmp_path, SOUND), out)
    assert tree(out) == SOUND


@pytest.mark.parametrize("build", [tar, tgz, zipped])
def test_too_little_room(
    tmp_path: Path, out: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = build(tmp_path, SOUND)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2000))
    with pytest.raises(DiskFullError, match=rf"{out}.*2.1 kB needed, 2.0 kB free"):
        unpack(archive, out)
    assert list(out.iterdir()) == []


def test_a_disk_that_fills_up(tmp_path: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = tar(tmp_path, SOUND)
    genuine = Path.open

    def full(self: Path, *args: Any, **more: Any) -> Any:
        if self.name == "2.jpg":
            raise OSError(errno.ENOSPC, "No space left on device")
        return genuine(self, *args, **more)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(DiskFullError, match="no room to unpack"):
        unpack(archive, out)
    assert list(out.iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path: Path, out: Path) -> None:
    def interrupt(event: Step | Note) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(tar(tmp_path, SOUND), out, interrupt)
    assert list(out.iterdir()) == []
