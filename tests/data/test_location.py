"""Finding a data set's folder below a data root, and saying what is missing there."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from benchmark.data import dataset_info
from benchmark.data.base import DataError, DataSource, MissingDataError, Remote
from benchmark.data.location import check_split, find_folder, is_there, report_missing

NAMES = ("domainnet", "DomainNet")
ARCHIVE = Remote("http://host/a.zip", "a.zip", md5="1" * 32, unpacked=("a/",))
LIST = Remote("http://host/a.txt", "txt/a.txt", sha256="2" * 64)


def made(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).mkdir(parents=True)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_usual_spellings_are_found(name: str, tmp_path: Path) -> None:
    made(tmp_path, f"{name}/real", "other")
    assert find_folder(DataSource(tmp_path), NAMES, ["real", "sketch"]) == tmp_path / name


def test_the_root_may_be_the_data_set(tmp_path: Path) -> None:
    made(tmp_path, "real")
    assert find_folder(DataSource(tmp_path), NAMES, ["real", "sketch"]) == tmp_path


def test_the_folder_that_holds_most_is_the_one(tmp_path: Path) -> None:
    made(tmp_path, "domainnet/real", "DomainNet/real", "DomainNet/sketch")
    assert find_folder(DataSource(tmp_path), NAMES, ["real", "sketch"]) == tmp_path / "DomainNet"


def test_its_own_name_wins_a_tie_and_is_the_answer_when_nothing_is_there(tmp_path: Path) -> None:
    assert (
        find_folder(DataSource(tmp_path / "none"), NAMES, ["real"]) == tmp_path / "none/domainnet"
    )
    assert find_folder(DataSource(tmp_path), NAMES, ["real"]) == tmp_path / "domainnet"
    made(tmp_path, "DomainNet")
    assert find_folder(DataSource(tmp_path), NAMES, ["real"]) == tmp_path / "DomainNet"
    made(tmp_path, "domainnet")
    assert find_folder(DataSource(tmp_path), NAMES, ["real"]) == tmp_path / "domainnet"


def test_an_archive_is_not_needed_once_it_is_unpacked(tmp_path: Path) -> None:
    assert not is_there(tmp_path, ARCHIVE) and not is_there(tmp_path, LIST)
    (tmp_path / "a.zip").touch()
    assert not is_there(tmp_path, ARCHIVE)
    made(tmp_path, "a", "txt")
    assert is_there(tmp_path, ARCHIVE)
    (tmp_path / "txt" / "a.txt").touch()
    assert is_there(tmp_path, LIST)


def test_what_is_missing_is_named_with_address_checksum_and_place(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError) as caught:
        report_missing("some", tmp_path / "some", [ARCHIVE, LIST])
    text = str(caught.value)
    assert f"{tmp_path}/some/a.zip  from http://host/a.zip  (MD5 {'1' * 32})" in text
    assert f"{tmp_path}/some/txt/a.txt  from http://host/a.txt  (SHA-256 {'2' * 64})" in text
    assert f"clbench data prepare some --root {tmp_path}" in text


@pytest.mark.parametrize("name", ["cifar100", "cub200", "domainnet", "imagenet_a", "imagenet_r"])
def test_every_data_set_names_what_it_lacks(name: str, tmp_path: Path) -> None:
    info, source = dataset_info(name), DataSource(tmp_path)
    for ask in (info.load, info.class_names, info.manifest_hash):
        with pytest.raises(MissingDataError) as caught:
            ask(source)
        assert caught.value.files == info.files
        for file in info.files:
            line = f"{tmp_path / name / file.name}  from {file.url}  (MD5 {file.md5})"
            assert line in str(caught.value)
    for file in info.files:
        (tmp_path / name / file.name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name / file.name).touch()
    with pytest.raises(MissingDataError, match=f"not unpacked: .*data prepare {name}"):
        info.load(source)


def test_an_archive_that_is_there_is_not_said_to_be_missing(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    with pytest.raises(MissingDataError) as caught:
        report_missing("some", tmp_path, [ARCHIVE, LIST])
    assert caught.value.files == (ARCHIVE, LIST)
    assert "a.txt  from" in str(caught.value) and "a.zip  from" not in str(caught.value)
    with pytest.raises(MissingDataError, match=r"not unpacked: .*a\.zip.*data prepare") as packed:
        report_missing("some", tmp_path, [ARCHIVE])
    assert packed.value.files == (ARCHIVE,)
    assert str(pickle.loads(pickle.dumps(packed.value))) == str(packed.value)
    report_missing("some", tmp_path, [])


def test_an_unknown_split_is_told_with_the_nearest(tmp_path: Path) -> None:
    check_split("some", DataSource(tmp_path, "coda"), ("default", "coda"))
    with pytest.raises(DataError, match=r"split of some 'code'.*did you mean 'coda'"):
        check_split("some", DataSource(tmp_path, "code"), ("default", "coda"))
