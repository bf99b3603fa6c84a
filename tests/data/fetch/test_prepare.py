"""Preparing a data set: what is missing is fetched and unpacked, and nothing else is touched."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import shutil
import socket
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import miniatures
import pytest
from file_server import FileServer

from benchmark.cli import main
from benchmark.cli.console import Progress, progress
from benchmark.cli.data import TransferProgress
from benchmark.data import domainnet
from benchmark.data.base import (
    DataError,
    DatasetInfo,
    DataSource,
    MissingDataError,
    Remote,
)
from benchmark.data.fetch.download import ChecksumError, Note, Step
from benchmark.data.fetch.prepare import NotFetchedError, check, find_missing, prepare
from benchmark.data.fetch.unpack import ArchiveError
from benchmark.data.location import find_folder, is_there, report_missing


def packed(files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


SERVED = {
    "art.tgz": packed({"art/1.jpg": b"1" * 5000, "art/2.jpg": b"2"}),
    "real.tgz": packed({"real/1.jpg": b"3"}),
    "list.txt": b"art/1.jpg 0\n",
    "other.txt": b"art/2.jpg 0\n",
}


def remote(server: FileServer, name: str, *unpacked: str, folder: str = "", **more: Any) -> Remote:
    md5 = hashlib.md5(SERVED[name]).hexdigest()
    return Remote(server.url(name), folder + name, **{"md5": md5, "unpacked": unpacked, **more})


def data_set(*files: Remote, other: tuple[Remote, ...] = ()) -> DatasetInfo:
    """A data set that asks for its files as the real ones do."""

    def class_names(source: DataSource) -> list[str]:
        wanted = [*files, *(other if source.split == "other" else ())]
        folder = find_folder(source, ["pictures", "Pictures"], ["art"])
        report_missing("pictures", folder, [f for f in wanted if not is_there(folder, f)])
        return ["one"]

    def unused(source: DataSource) -> Any:
        raise AssertionError("preparing needs no images")

    return DatasetInfo(
        "pictures", "", 1, 1, class_names, unused, unused, splits=("default", "other"),
        files=files, split_files=tuple(("other", file) for file in other),
    )  # fmt: skip


@pytest.fixture
def info(server: FileServer) -> DatasetInfo:
    server.files |= SERVED
    return data_set(
        remote(server, "art.tgz", "art/"),
        remote(server, "real.tgz", "real/"),
        remote(server, "list.txt", folder="txt/"),
        other=(remote(server, "other.txt", folder="txt/"),),
    )


def missing(info: DatasetInfo, source: DataSource) -> tuple[Remote, ...]:
    found = find_missing(info, source)
    return () if found is None else (*found.absent, *found.packed)


def tree(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


WHOLE = ["art/1.jpg", "art/2.jpg", "real/1.jpg"]
ARCHIVES = ["art.tgz", "real.tgz"]


def test_everything_is_fetched_once(server: FileServer, info: DatasetInfo, tmp_path: Path) -> None:
    source = DataSource(tmp_path / "data")
    assert missing(info, source) == info.files
    notes: list[Step | Note] = []
    prepare(info, source, notes.append)
    assert tree(tmp_path / "data" / "pictures") == sorted([*WHOLE, *ARCHIVES, "txt/list.txt"])
    first = notes[0]
    assert isinstance(first, Note)
    assert f"3 files to fetch into {tmp_path / 'data' / 'pictures'}; " in first.text
    assert missing(info, source) == ()
    prepare(info, source)
    assert len(server.requests) == 3
    other = DataSource(tmp_path / "data", "other")
    assert missing(info, other) == (info.split_files[0][1],)
    prepare(info, other)
    assert missing(info, other) == () and len(server.requests) == 4


def test_only_archives_fetched_here_are_discarded(
    server: FileServer, info: DatasetInfo, tmp_path: Path
) -> None:
    folder = tmp_path / "Pictures"
    folder.mkdir()
    (folder / "art.tgz").write_bytes(SERVED["art.tgz"])
    prepare(info, DataSource(tmp_path), discard_archives=True)
    assert tree(folder) == sorted([*WHOLE, "art.tgz", "txt/list.txt"])
    assert server.asked("art.tgz") == [], "it was there"
    assert not (tmp_path / "pictures").exists()


def test_trees_that_are_there_are_used_as_they_are(
    server: FileServer, info: DatasetInfo, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    (folder / "art").mkdir(parents=True)
    (folder / "art" / "mine.jpg").write_bytes(b"mine")
    (folder / "txt").mkdir()
    (folder / "txt" / "list.txt").write_bytes(b"another list")
    prepare(info, DataSource(tmp_path))
    assert [name for name, _ in server.requests] == ["real.tgz"]
    assert (folder / "txt" / "list.txt").read_bytes() == b"another list"
    assert tree(folder / "art") == ["mine.jpg"]


def test_an_archive_of_the_user_is_verified_and_left(
    server: FileServer, info: DatasetInfo, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ARCHIVES:
        (folder / name).write_bytes(SERVED[name])
    (folder / "art.tgz").write_bytes(SERVED["real.tgz"])
    with pytest.raises(ChecksumError, match=rf"{folder / 'art.tgz'}: there, but its MD5"):
        prepare(info, DataSource(tmp_path))
    assert (folder / "art.tgz").read_bytes() == SERVED["real.tgz"]
    assert not (folder / "art").exists()


def test_archives_that_are_there_need_no_network(
    server: FileServer, info: DatasetInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    folder = tmp_path / "pictures"
    (folder / "txt").mkdir(parents=True)
    for name in (*ARCHIVES, "list.txt"):
        (folder / ("txt" if "txt" in name else "") / name).write_bytes(SERVED[name])
    assert missing(info, DataSource(tmp_path)) == info.files[:2]
    with pytest.raises(MissingDataError, match="not unpacked"):
        check(info, DataSource(tmp_path))
    prepare(info, DataSource(tmp_path), download=False)
    assert tree(folder / "art") == ["1.jpg", "2.jpg"]


@pytest.mark.parametrize("why", ["refused", "switch", "not asked for"])
def test_without_a_network_every_file_is_named_at_once(
    info: DatasetInfo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    files = [
        dataclasses.replace(file, url=f"http://127.0.0.1:{port}/{file.name}") for file in info.files
    ]
    if why == "switch":
        monkeypatch.setenv("CLBENCH_OFFLINE", "yes")
    started = time.monotonic()
    with pytest.raises(NotFetchedError) as caught:
        prepare(data_set(*files), DataSource(tmp_path / "data"), download=why != "not asked for")
    assert time.monotonic() - started < 1
    for file in files:
        for part in (file.url, file.md5, str(tmp_path / "data" / "pictures" / file.name)):
            assert part in str(caught.value)
    reason = {"refused": "no connection to 127.0.0.1", "switch": "CLBENCH_OFFLINE"}.get(why, "")
    assert reason in caught.value.reason
    assert not (tmp_path / "data").exists(), "nothing was made"


def test_one_missing_file_does_not_keep_the_others_from_coming(
    server: FileServer, info: DatasetInfo, tmp_path: Path
) -> None:
    del server.files["art.tgz"]
    server.files["real.tgz"] = b"something else"
    with pytest.raises(NotFetchedError) as caught:
        prepare(info, DataSource(tmp_path))
    assert caught.value.files == info.files[:2]
    for part in ("answers 404", "MD5", info.files[0].url, info.files[1].md5):
        assert part in str(caught.value)
    assert tree(tmp_path) == ["pictures/txt/list.txt"]
    server.files |= SERVED
    prepare(info, DataSource(tmp_path))
    assert missing(info, DataSource(tmp_path)) == ()


def test_an_archive_without_what_it_is_for(server: FileServer, tmp_path: Path) -> None:
    server.files |= SERVED
    wrong = data_set(remote(server, "real.tgz", "art/"))
    with pytest.raises(ArchiveError, match=r"real\.tgz: unpacked, but it does not hold art/"):
        prepare(wrong, DataSource(tmp_path))


def test_a_split_that_does_not_exist(info: DatasetInfo, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean 'other'"):
        prepare(info, DataSource(tmp_path, "othr"))


def test_two_at_a_time_fetch_once(server: FileServer, info: DatasetInfo, tmp_path: Path) -> None:
    server.gate = threading.Event()
    notes: list[str] = []
    failures: list[DataError] = []

    def watch(event: Step | Note) -> None:
        if isinstance(event, Note) and "waiting" in event.text:
            notes.append(event.text)
            assert server.gate is not None
            server.gate.set()

    def work() -> None:
        try:
            prepare(info, DataSource(tmp_path), watch)
        except DataError as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert (failures, len(notes), len(server.requests)) == ([], 1, 3)
    assert not [path for path in (tmp_path / "pictures").iterdir() if path.name.startswith(".")]


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def served_domainnet(server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A miniature DomainNet on the server, in the place of the real one; gives the data root."""
    made = miniatures.domainnet_archives(tmp_path / "served", train=1, test=1, classes=3)
    for table in (domainnet.ARCHIVES, domainnet.LISTS):
        for key, file in table.items():
            content = (made / file.name).read_bytes()
            server.files[file.name] = content
            md5 = hashlib.md5(content).hexdigest()
            file = dataclasses.replace(file, url=server.url(file.name), md5=md5)
            monkeypatch.setitem(table, key, file)  # type: ignore[arg-type]
    files = (*domainnet.ARCHIVES.values(), *domainnet.LISTS.values())
    info = dataclasses.replace(domainnet.INFO, files=files)
    monkeypatch.setattr("benchmark.data.dataset_info", lambda name: info)
    shutil.rmtree(made)
    return tmp_path / "root"


def test_the_command_completes_a_data_set(
    server: FileServer, served_domainnet: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = served_domainnet
    command = ["data", "prepare", "domainnet", "--root", str(root)]
    assert main([*command, "--check-only"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("clbench: error: data set domainnet is not complete")
    for file in (*domainnet.ARCHIVES.values(), *domainnet.LISTS.values()):
        assert all(part in error for part in (file.url, file.md5, str(root / "domainnet")))
    assert not root.exists() and server.requests == []
    assert main([*command, "--discard-archives"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"domainnet: 18 files to fetch into {root / 'domainnet'}")
    assert lines[1].startswith("fetched clipart.zip: ")
    assert lines[2].startswith("unpacked clipart.zip: ")
    assert lines[-1] == "domainnet: complete"
    assert len(lines) == 1 + 18 + 6 + 1, "each file is told once"
    dataset = domainnet.INFO.load(DataSource(root))
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (18, 18)
    assert dataset.train.images.read(0).ndim == 3
    assert main([*command, "--check-only"]) == 0
    assert not list(root.rglob("*.zip")) and len(server.requests) == 18


def test_the_root_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLBENCH_DATA", str(tmp_path / "mine"))
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")
    assert main(["data", "prepare", "icons,cifar100,imagenet_a"]) == 2
    shown = capsys.readouterr()
    assert "icons: complete" in shown.out
    assert shown.err.startswith("clbench: 2 errors:\n  data set cifar100 is not complete")
    for name in ("cifar100/cifar-100-python.tar.gz", "imagenet_a/imagenet-a.tar"):
        assert str(tmp_path / "mine" / name) in shown.err
    assert not (tmp_path / "mine").exists()
    assert main(["data", "prepare", "cifar10"]) == 2
    assert "did you mean 'cifar100'" in capsys.readouterr().err


def test_long_transfers_show_signs_of_life() -> None:
    lines: list[str] = []
    now = 0.0
    show = TransferProgress(Progress(lines.append, 60, lambda: now))
    for second in range(101):
        now = float(second)
        show(Step("fetch", "real.zip", (100 + second) * 10**6, 200 * 10**6))
    show(Note("a note"))
    assert lines == [
        "fetching real.zip: 160.0 MB of 200.0 MB, 1.0 MB/s, 40 s left",
        "fetched real.zip: 200.0 MB in 1 min 40 s",
        "a note",
    ]


def test_live_bars(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with progress() as shown:
        watch = TransferProgress(shown)
        for total in (0, 10**6):
            watch(Step("fetch", "a[b].zip", 10, total))
            watch(Step("fetch", "a[b].zip", 500_000, total))
        watch(Note("[note]"))
        watch(Step("unpack", "a[b].zip", 1, 2))
        watch(Step("fetch", "a[b].zip", 10**6, 10**6))
    text = capsys.readouterr().out
    assert "[note]" in text and "fetched a[b].zip: 1.0 MB in 0 s" in text
