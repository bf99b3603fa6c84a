"""Downloads: continued where they broke, verified before they get their name."""

from __future__ import annotations

import errno
import hashlib
import io
import re
import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from file_server import FileServer

from benchmark.data.base import Remote
from benchmark.data.fetch.download import (
    ChecksumError,
    DiskFullError,
    FetchError,
    Note,
    Step,
    UnreachableError,
    download,
)

CONTENT = bytes(range(256)) * 1200  # 300 kB
OTHER = CONTENT[::-1]
NAME = "pictures.tar"


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses after broken transfers, instead of making them."""
    made: list[float] = []
    monkeypatch.setattr("benchmark.data.fetch.download.sleep", made.append)
    monkeypatch.setattr("urllib3.util.Retry.sleep", lambda *_: None)
    return made


def remote(server: FileServer, content: bytes = CONTENT, name: str = NAME, **more: Any) -> Remote:
    checks = {
        "md5": hashlib.md5(content).hexdigest(),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    return Remote(server.url("f"), name, **{**checks, **more})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_alone(server: FileServer, tmp_path: Path) -> None:
    server.files["f"] = CONTENT
    events: list[Step | Note] = []
    target = download(remote(server, name="txt/a.txt"), tmp_path / "new", events.append)
    assert target == tmp_path / "new" / "txt" / "a.txt"
    assert target.read_bytes() == CONTENT
    assert names(target.parent) == ["a.txt"]
    assert events[-1] == Step("fetch", "txt/a.txt", len(CONTENT), len(CONTENT))
    download(remote(server, name="txt/a.txt"), tmp_path / "new")
    assert server.asked("f") == [""], "what is there is not fetched again"


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_transfer_is_continued(
    server: FileServer, tmp_path: Path, pauses: list[float], ranges: bool
) -> None:
    server.files["f"], server.ranges = CONTENT, ranges
    server.cuts["f"] = [100_000, 150_000]
    target = download(remote(server), tmp_path)
    assert target.read_bytes() == CONTENT
    parts = ["bytes=100000-", "bytes=250000-" if ranges else "bytes=150000-"]
    assert server.asked("f") == ["", *parts]
    assert pauses == [1.0, 2.0]
    assert names(tmp_path) == [NAME]


def test_another_process_continues_what_one_gave_up(
    server: FileServer, tmp_path: Path, pauses: list[float]
) -> None:
    server.files["f"] = CONTENT
    server.cuts["f"] = [1000] * 6
    with pytest.raises(FetchError, match=rf"{server.url('f')}.*6 times in a row.*is kept"):
        download(remote(server), tmp_path)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert (tmp_path / f"{NAME}.part").read_bytes() == CONTENT[:6000]
    assert download(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked("f")[-1] == "bytes=6000-"
    assert names(tmp_path) == [NAME]


def test_pieces_that_do_not_fit_together_are_fetched_anew(
    server: FileServer, tmp_path: Path
) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(OTHER[:5000])
    server.files["f"] = CONTENT
    notes: list[Step | Note] = []
    assert download(remote(server), tmp_path, notes.append).read_bytes() == CONTENT
    assert server.asked("f") == ["bytes=5000-", ""]
    assert any(isinstance(note, Note) and "starting over" in note.text for note in notes)


def test_without_a_checksum_no_part_is_continued(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(OTHER[:5000])
    server.files["f"], server.cuts["f"] = CONTENT, [100_000]
    assert download(Remote(server.url("f"), NAME), tmp_path).read_bytes() == CONTENT
    assert server.asked("f") == ["", ""]


@pytest.mark.parametrize(
    ("part", "asked"),
    [(CONTENT, ["bytes=307200-"]), (CONTENT + b"x", ["bytes=307201-", ""]), (b"", [""])],
    ids=["complete", "too long", "empty"],
)
def test_odd_parts(server: FileServer, tmp_path: Path, part: bytes, asked: list[str]) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(part)
    server.files["f"] = CONTENT
    assert download(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked("f") == asked


def test_a_complete_part_of_known_size_needs_no_request(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(CONTENT)
    known = remote(server, bytes=len(CONTENT))
    assert download(known, tmp_path).read_bytes() == CONTENT
    assert server.requests == []


def test_a_server_that_does_not_tell_the_length(server: FileServer, tmp_path: Path) -> None:
    server.files["f"], server.length = CONTENT, False
    assert download(remote(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("which", ["md5", "sha256"])
def test_a_wrong_checksum_leaves_nothing(server: FileServer, tmp_path: Path, which: str) -> None:
    server.files["f"] = OTHER
    only = {"md5": "", "sha256": "", which: getattr(hashlib, which)(CONTENT).hexdigest()}
    found = getattr(hashlib, which)(OTHER).hexdigest()
    with pytest.raises(ChecksumError) as caught:
        download(remote(server, **only), tmp_path)
    for part in (server.url("f"), str(tmp_path / NAME), only[which], found):
        assert part in str(caught.value)
    assert names(tmp_path) == []


def test_a_login_page_is_called_one(server: FileServer, tmp_path: Path) -> None:
    server.files["f"], server.types["f"] = b"please sign in", "text/html; charset=utf-8"
    with pytest.raises(FetchError, match="web page"):
        download(remote(server), tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_size_is_noticed_before_fetching(server: FileServer, tmp_path: Path) -> None:
    server.files["f"] = CONTENT
    with pytest.raises(ChecksumError, match=r"has 307200 bytes, expected 7"):
        download(remote(server, bytes=7), tmp_path)
    assert names(tmp_path) == []


def test_a_missing_file_is_not_asked_for_again(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=rf"{server.url('f')}: the server answers 404"):
        download(remote(server), tmp_path / "new")
    assert len(server.requests) == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("status", [503, 429])
def test_a_busy_server_is_asked_again(server: FileServer, tmp_path: Path, status: int) -> None:
    server.files["f"] = CONTENT
    server.statuses["f"] = [status] * 5
    assert download(remote(server), tmp_path).read_bytes() == CONTENT
    server.statuses["f"] = [status] * 6
    with pytest.raises(FetchError, match=f"the server answers {status}"):
        download(remote(server, name="b"), tmp_path)


def test_progress_makes_patience_new(
    server: FileServer, tmp_path: Path, pauses: list[float]
) -> None:
    server.files["f"] = bytes(10 << 20)
    server.cuts["f"] = [1 << 20] * 9
    download(remote(server, server.files["f"]), tmp_path)
    assert pauses == [1.0] * 9


def test_redirections_are_followed_to_http_only(server: FileServer, tmp_path: Path) -> None:
    server.files["there"] = CONTENT
    server.redirects["f"] = server.url("there")
    assert download(remote(server), tmp_path).read_bytes() == CONTENT
    (tmp_path / "secret").write_bytes(CONTENT)
    server.redirects["f"] = (tmp_path / "secret").as_uri()
    with pytest.raises(FetchError, match=server.url("f")):
        download(remote(server, name="b"), tmp_path)


@pytest.mark.parametrize("address", ["file:///etc/passwd", "nothing", "http://[::1/x"])
def test_other_addresses_are_refused_by_name(address: str, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match=re.escape(address)):
        download(Remote(address, "c"), tmp_path)


def test_no_connection_fails_at_once(tmp_path: Path, pauses: list[float]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}/f"
    with pytest.raises(UnreachableError, match=r"no connection to 127\.0\.0\.1: .*refused"):
        download(Remote(url, NAME), tmp_path / "new")
    assert pauses == []
    assert not (tmp_path / "new").exists()


def test_a_server_that_falls_silent_is_asked_again(
    server: FileServer, tmp_path: Path, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmark.data.fetch.download.READ_SECONDS", 0.1)
    server.files["f"], server.gate = CONTENT, threading.Event()

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        server.gate = None

    monkeypatch.setattr("benchmark.data.fetch.download.sleep", sleep)
    assert download(remote(server), tmp_path).is_file()
    assert len(pauses) == 1
    assert server.asked("f")[1].startswith("bytes=")


def test_the_switch_refuses_every_download(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["f"] = CONTENT
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    with pytest.raises(UnreachableError, match="CLBENCH_OFFLINE"):
        download(remote(server), tmp_path / "new")
    assert server.requests == [] and not (tmp_path / "new").exists()
    monkeypatch.setenv("CLBENCH_OFFLINE", "0")
    assert download(remote(server), tmp_path).is_file()


@pytest.mark.parametrize("kind", ["other content", "folder", "dangling link"])
def test_a_users_file_is_never_changed(server: FileServer, tmp_path: Path, kind: str) -> None:
    server.files["f"] = CONTENT
    mine = tmp_path / NAME
    if kind == "folder":
        mine.mkdir()
    elif kind == "dangling link":
        mine.symlink_to("nowhere")
    else:
        mine.write_bytes(b"mine")
    with pytest.raises(ChecksumError, match=rf"{mine}: there, but .*left as it is"):
        download(remote(server), tmp_path)
    assert names(tmp_path) == [NAME] and server.requests == []
    if kind == "other content":
        assert mine.read_bytes() == b"mine"


def test_too_little_room_is_known_before_fetching(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["f"] = CONTENT
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
        with pytest.raises(DiskFullError) as caught:
            download(remote(server), tmp_path)
    for part in (str(tmp_path), "307.2 kB needed", "1.0 kB free"):
        assert part in str(caught.value)
    assert names(tmp_path) == []
    assert download(remote(server), tmp_path).is_file()


class _FullDisk(io.FileIO):
    """A file on a disk with room for 100,000 bytes."""

    def write(self, content: Any) -> int:
        room = 100_000 - self.tell()
        if not room:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().write(content[:room])


def test_a_disk_that_fills_up_keeps_what_was_fetched(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["f"] = CONTENT
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", lambda self, mode, buffering: _FullDisk(self, mode))
        with pytest.raises(DiskFullError) as caught:
            download(remote(server), tmp_path)
    for part in (str(tmp_path), "207.2 kB needed", "free"):
        assert part in str(caught.value)
    assert download(remote(server), tmp_path).read_bytes() == CONTENT
    assert server.asked("f") == ["", "bytes=100000-"]


def test_two_at_a_time_fetch_once(server: FileServer, tmp_path: Path) -> None:
    server.files["f"], server.gate = CONTENT, threading.Event()
    notes: list[str] = []

    def watch(event: Step | Note) -> None:
        if isinstance(event, Note):
            notes.append(event.text)
            assert server.gate is not None
            server.gate.set()  # the first one may end now that the second one waits for it

    failures: list[Exception] = []

    def work() -> None:
        try:
            download(remote(server), tmp_path, watch)
        except FetchError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert failures == []
    assert notes == [f"waiting for another process to fetch {NAME}"]
    assert server.asked("f") == [""]
    assert names(tmp_path) == [NAME]
