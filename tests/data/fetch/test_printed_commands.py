"""The command that an error prints is the one that brings what is missing."""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import replace
from hashlib import md5, sha256
from pathlib import Path

import miniatures
import pytest
from file_server import FileServer

from benchmark.cli import main
from benchmark.data import cifar100, imagenet_a, imagenet_r
from benchmark.data.base import DataError, DataSource, MissingDataError


def printed(error: DataError) -> list[str]:
    (command,) = re.findall(r"`(clbench [^`]+)`", str(error))
    return shlex.split(command)[1:]


def archive_of(folder: Path, inner: str, form: str = "tar") -> bytes:
    made = shutil.make_archive(str(folder / "made"), form, folder, inner)
    content = Path(made).read_bytes()
    Path(made).unlink()
    return content


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder of data sets whose name a shell would not read as it stands."""
    return tmp_path / "my data"


def test_a_missing_archive(
    server: FileServer, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive_of(miniatures.imagenet_a(tmp_path, classes=2), "imagenet-a")
    server.files["a.tar"] = content
    served = replace(imagenet_a.ARCHIVE, url=server.url("a.tar"), md5=md5(content).hexdigest())
    monkeypatch.setattr(imagenet_a, "ARCHIVE", served)
    with pytest.raises(MissingDataError) as caught:
        imagenet_a.INFO.load(DataSource(root))
    assert main(printed(caught.value)) == 0
    assert len(imagenet_a.INFO.load(DataSource(root)).class_names) == 2


@pytest.mark.parametrize("damaged", [True, False])
def test_lists_of_a_split(
    damaged: bool, server: FileServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = miniatures.imagenet_r(root, classes=3)
    served = []
    for remote, file in zip(
        imagenet_r.CODA_LISTS, miniatures.imagenet_r_lists(home).values(), strict=True
    ):
        content = file.read_bytes()
        server.files[file.name] = content
        digest = sha256(content).hexdigest()
        served.append(replace(remote, url=server.url(file.name), sha256=digest, bytes=len(content)))
        file.unlink()
        if damaged:
            file.write_text("data: []\ntargets: []\n")
    monkeypatch.setattr(imagenet_r, "CODA_LISTS", tuple(served))
    source = DataSource(root, "coda")
    with pytest.raises(DataError) as caught:
        imagenet_r.INFO.load(source)
    assert ("remove it" in str(caught.value)) == damaged
    for file in home.glob("splits/*"):
        file.unlink()
    assert main(printed(caught.value)) == 0
    assert len(imagenet_r.INFO.load(source).class_names) == 3


def test_a_damaged_file_of_cifar100(
    server: FileServer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = miniatures.cifar100(root, train=1, test=1)
    files = home / "cifar-100-python"
    content = archive_of(home, "cifar-100-python", "gztar")
    miniatures.accept_cifar100(files, monkeypatch)
    server.files["c.tgz"] = content
    served = replace(cifar100._ARCHIVE, url=server.url("c.tgz"), md5=md5(content).hexdigest())
    monkeypatch.setattr(cifar100, "_ARCHIVE", served)
    (files / "meta").write_bytes(b"cut")
    with pytest.raises(DataError, match="move it away and run") as caught:
        cifar100.INFO.load(DataSource(root))
    (files / "meta").unlink()
    assert main(printed(caught.value)) == 0
    assert len(cifar100.INFO.load(DataSource(root)).train.labels) == 100


def test_an_archive_of_cifar100_in_the_folder_of_all_data_sets(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = miniatures.cifar100(root, train=1, test=1)
    miniatures.accept_cifar100(home / "cifar-100-python", monkeypatch)
    content = archive_of(home, "cifar-100-python", "gztar")
    shutil.rmtree(home)
    (root / "cifar-100-python.tar.gz").write_bytes(content)
    trusted = replace(cifar100._ARCHIVE, md5=md5(content).hexdigest())
    monkeypatch.setattr(cifar100, "_ARCHIVE", trusted)
    with pytest.raises(MissingDataError, match="not unpacked") as caught:
        cifar100.INFO.load(DataSource(root))
    assert main(printed(caught.value)) == 0
    assert len(cifar100.INFO.load(DataSource(root)).train.labels) == 100
