"""Unpacking: all or nothing, nothing outside the folder, nothing written over."""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benchmark.data.fetch.download import DiskFullError, Note, Step
from benchmark.data.fetch.unpack import ArchiveError, unpack

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


def zipped(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def link(name: str, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = tarfile.SYMTYPE, target
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


every_kind = pytest.mark.parametrize("build", [tar, tgz, zipped])


def refused(archive: Path, out: Path, reason: str = ".") -> None:
    """The archive is refused by name, and there is nothing but it anywhere near."""
    before = sorted(archive.parent.rglob("*"))
    with pytest.raises(ArchiveError, match=reason) as caught:
        unpack(archive, out)
    assert str(archive) in str(caught.value)
    assert sorted(archive.parent.rglob("*")) == before


@every_kind
def test_a_sound_archive(tmp_path: Path, out: Path, build: Build) -> None:
    archive = build(tmp_path, {**SOUND, "./set/./c//3.jpg": b"3"})
    events: list[Step | Note] = []
    unpack(archive, out, events.append)
    assert tree(out) == {**SOUND, "set/c/3.jpg": b"3"}
    size = archive.stat().st_size
    assert events[-1] == Step("unpack", archive.name, size, size)
    assert [path.name for path in out.iterdir()] == ["set"]
    assert not (out / "set/a/1.jpg").stat().st_mode & (stat.S_ISUID | stat.S_ISGID)


@pytest.mark.parametrize("build", [tar, zipped])
def test_what_is_there_is_kept(tmp_path: Path, out: Path, build: Build) -> None:
    mine = out / "set" / "a" / "1.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"two" * 700)
    (out / "set" / "mine.txt").write_text("mine")
    for _ in range(2):
        unpack(build(tmp_path, SOUND), out)
        assert tree(out) == {**SOUND, "set/a/1.jpg": b"two" * 700, "set/mine.txt": b"mine"}


@pytest.mark.parametrize("build", [tar, zipped])
@pytest.mark.parametrize("kind", ["other size", "folder", "file for folder", "dangling link"])
def test_nothing_is_overwritten(tmp_path: Path, out: Path, build: Build, kind: str) -> None:
    mine = out / "set" / "list.txt"
    if kind == "file for folder":
        (out / "set").write_text("mine")
    elif kind == "folder":
        mine.mkdir(parents=True)
    else:
        mine.parent.mkdir()
        if kind == "dangling link":
            mine.symlink_to(tmp_path / "elsewhere")
        else:
            mine.write_bytes(b"mine")
    refused(build(tmp_path, SOUND), out, "is there and differs")


def test_links_to_folders_of_the_user_are_followed(tmp_path: Path, out: Path) -> None:
    (tmp_path / "disk").mkdir()
    (out / "set").symlink_to(tmp_path / "disk")
    unpack(tar(tmp_path, SOUND), out)
    assert tree(tmp_path / "disk") == {
        name.removeprefix("set/"): content for name, content in SOUND.items()
    }


def test_what_leads_out_of_the_folder_is_refused(tmp_path: Path, out: Path) -> None:
    refused(tar(tmp_path, SOUND, link("set/l", "../../x")), out)
    refused(tar(tmp_path, {**SOUND, "../up.txt": b"x"}), out, "outside")


@every_kind
@pytest.mark.parametrize("share", [0.0, 0.8])
def test_archives_that_are_cut_short(tmp_path: Path, out: Path, build: Build, share: float) -> None:
    archive = build(tmp_path, {name: os.urandom(3000) for name in SOUND})
    whole = archive.read_bytes().rstrip(b"\0")  # one of a tar's end blocks would do
    archive.write_bytes(whole[: int(share * len(whole))])
    refused(archive, out)


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path, out: Path) -> None:
    (out / ".a.tar.unpacking" / "set").mkdir(parents=True)
    (out / ".a.tar.unpacking" / "half").write_text("half")
    unpack(tar(tmp_path, SOUND), out)
    assert tree(out) == SOUND


@every_kind
def test_too_little_room(
    tmp_path: Path, out: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = build(tmp_path, SOUND)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=2000))
    with pytest.raises(DiskFullError, match=rf"{out}.*2.1 kB needed, 2.0 kB free"):
        unpack(archive, out)
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("build", [tar, zipped])
def test_a_disk_that_fills_up(
    tmp_path: Path, out: Path, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = build(tmp_path, SOUND)
    monkeypatch.setattr(tarfile, "copyfileobj", full)
    monkeypatch.setattr(shutil, "copyfileobj", full)
    with pytest.raises(DiskFullError, match="no room to unpack"):
        unpack(archive, out)
    assert list(out.iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path: Path, out: Path) -> None:
    def interrupt(event: Step | Note) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(tar(tmp_path, SOUND), out, interrupt)
    assert list(out.iterdir()) == []
