"""Digests of files: of their content, read once, and never wrong for the sake of speed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from trees import picture

from benchmark.data import digests, folder
from benchmark.data.base import DataError, DataSource
from benchmark.data.digests import cache_folder, file_digests

PLACE = DataSource(Path("not used"))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache, for which every file is old enough."""
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(digests, "SETTLED_NS", -(10**15))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read from here on."""
    names: list[str] = []
    original = digests._digest

    def note(path: Path) -> bytes:
        names.append(path.name)
        return original(path)

    monkeypatch.setattr(digests, "_digest", note)
    return names


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """Two classes of three images."""
    for number in range(6):
        picture(tmp_path / "top" / "ab"[number % 2] / f"{number}.png", number)
    return tmp_path / "top"


def test_a_second_start_reads_nothing(top: Path, reads: list[str]) -> None:
    first = folder.info(top).manifest_hash(PLACE)
    assert sorted(reads) == [f"{n}.png" for n in range(6)]
    reads.clear()
    assert folder.info(top).manifest_hash(PLACE) == first and not reads


def test_only_a_changed_file_is_read_again(top: Path, reads: list[str]) -> None:
    before = folder.info(top).manifest_hash(PLACE)
    reads.clear()
    picture(top / "a" / "0.png", 77)
    assert folder.info(top).manifest_hash(PLACE) != before and reads == ["0.png"]


def test_a_file_replaced_with_the_size_and_date_of_the_old_is_found(
    top: Path, tmp_path: Path
) -> None:
    file = top / "a" / "0.bmp"
    picture(file, 1)
    before, status = folder.info(top).manifest_hash(PLACE), file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    (tmp_path / "new").write_bytes(content)
    os.utime(tmp_path / "new", ns=(status.st_atime_ns, status.st_mtime_ns))
    (tmp_path / "new").replace(file)
    assert file.stat().st_mtime_ns == status.st_mtime_ns
    assert folder.info(top).manifest_hash(PLACE) != before


def test_a_file_changed_just_now_is_not_trusted_to_stay(
    top: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "SETTLED_NS", 3600 * 10**9)
    for _ in range(2):
        folder.info(top).manifest_hash(PLACE)
    assert len(reads) == 12


def test_content_decides_and_not_the_place(top: Path, tmp_path: Path) -> None:
    shutil.copytree(top, tmp_path / "elsewhere" / "copy")
    copy = folder.info(tmp_path / "elsewhere" / "copy")
    assert copy.manifest_hash(PLACE) == folder.info(top).manifest_hash(PLACE)
    wrapped = folder.info(tmp_path / "elsewhere")  # as an archive unpacks it
    assert wrapped.manifest_hash(PLACE) == copy.manifest_hash(PLACE)


@pytest.mark.parametrize("damage", ["cut", "flipped", "nonsense", "unwritable"])
def test_the_cache_is_never_a_fault(
    damage: str, top: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    expected = folder.info(top).manifest_hash(PLACE)
    (file,) = (cache_folder() / "digests").glob("*.npz")
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        for place in range(0, len(content), 97):
            content[place] ^= 4
    file.write_bytes({"cut": content[:-40], "nonsense": b"no archive"}.get(damage, content))
    if damage == "unwritable":
        (tmp_path / "file").touch()
        monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path / "file"))
    reads.clear()
    assert folder.info(top).manifest_hash(PLACE) == expected and len(reads) == 6


def test_nothing_is_written_beside_the_files(top: Path) -> None:
    before = sorted(top.rglob("*"))
    folder.info(top).manifest_hash(PLACE)
    assert sorted(top.rglob("*")) == before


def test_what_was_read_before_an_interruption_is_kept(
    top: Path, reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(digests, "_PART", 1)

    def stop(_what: str, done: int, _total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        folder.info(top).manifest_hash(DataSource(Path(), on_progress=stop))
    reads.clear()
    folder.info(top).manifest_hash(PLACE)
    assert len(reads) == 3


def test_progress_tells_how_many_are_read(top: Path) -> None:
    told: list[tuple[int, int]] = []
    source = DataSource(Path(), on_progress=lambda _, done, total: told.append((done, total)))
    folder.info(top).manifest_hash(source)
    assert told[-1] == (6, 6)
    told.clear()
    folder.info(top).manifest_hash(source)
    assert not told


def test_a_missing_file_is_named(top: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png"):
        file_digests(top, ["a/gone.png"])
