"""CUB-200-2011 from its four lists: sides, labels, places, and faults with file and line."""

from __future__ import annotations

import shutil
from pathlib import Path

import miniatures
import numpy as np
import pytest

from benchmark.data import dataset_info
from benchmark.data.base import DataError, DataSource, FileImages, MissingDataError
from benchmark.data.cub200 import listing
from benchmark.spec import Augmentation, Evaluation

INFO = dataset_info("cub200")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    miniatures.cub200(tmp_path, train=2, test=1, classes=3)
    return tmp_path / "cub200" / "CUB_200_2011"


def _set_line(file: Path, number: int, text: str) -> None:
    lines = file.read_text().splitlines()
    lines[number - 1 :] = [text, *lines[number:]]
    file.write_text("\n".join(lines) + "\n")


def test_the_lists_decide_side_and_label(folder: Path, tmp_path: Path) -> None:
    data = INFO.load(DataSource(tmp_path))
    assert data.class_names == tuple(f"00{c + 1}.Made_up_Bird_{c}" for c in range(3))
    assert (INFO.evaluation, INFO.augmentation) == (Evaluation(), Augmentation())
    columns = [
        dict(line.split() for line in (folder / f"{name}.txt").read_text().splitlines())
        for name in ("images", "image_class_labels", "train_test_split")
    ]
    listed = {
        (side, f"images/{columns[0][n]}", int(columns[1][n]) - 1) for n, side in columns[2].items()
    }
    found = set()
    for side, split in (("1", data.train), ("0", data.test)):
        assert isinstance(split.images, FileImages)
        assert split.labels.dtype == np.int64
        assert split.images.folder == folder
        found |= {
            (side, path, int(label))
            for path, label in zip(split.images.paths, split.labels, strict=True)
        }
    assert found == listed
    assert (len(data.train.labels), len(data.test.labels)) == (6, 3)
    assert data.train.images.read(0).shape[2] == 3


def test_it_is_found_wherever_it_is_usually_put(folder: Path, tmp_path: Path) -> None:
    expected = INFO.manifest_hash(DataSource(tmp_path))
    assert INFO.manifest_hash(DataSource(tmp_path / "cub200")) == expected
    assert INFO.manifest_hash(DataSource(folder)) == expected
    for other in ("a/CUB_200_2011", "b/CUB200/CUB_200_2011", "c/cub200"):
        shutil.copytree(folder, tmp_path / other)
        assert INFO.manifest_hash(DataSource(tmp_path / other.partition("/")[0])) == expected


def test_the_order_of_lines_and_their_ends_do_not_count(folder: Path, tmp_path: Path) -> None:
    expected = INFO.manifest_hash(DataSource(tmp_path))
    for file in folder.glob("*.txt"):
        lines = file.read_text().splitlines()
        file.write_bytes("\r\n".join([*reversed(lines), "", ""]).encode())
    assert INFO.manifest_hash(DataSource(tmp_path)) == expected


@pytest.mark.parametrize("name", ["images.txt", "classes.txt", "train_test_split.txt"])
def test_without_a_list_the_folder_is_incomplete(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(MissingDataError):
        INFO.load(DataSource(tmp_path))


BIRD = "001.Made_up_Bird_0/Made_Up_Bird_0_0002_2.jpg"
FAULTS = {
    "no value": ("images.txt", 2, "2", "images.txt, line 2: '2' is not"),
    "no number": ("images.txt", 2, f"two {BIRD}", "images.txt, line 2"),
    "huge number": ("images.txt", 2, f"{'9' * 5000} {BIRD}", "images.txt, line 2"),
    "twice": ("images.txt", 2, f"1 {BIRD}", "images.txt, line 2: number 1 is also in line 1"),
    "outside": ("images.txt", 2, "2 ../../x.jpg", "images.txt, line 2: '../../x.jpg'"),
    "absolute": ("images.txt", 2, "2 /etc/passwd", "images.txt, line 2: '/etc/passwd'"),
    "no folder": ("images.txt", 2, "2 x.jpg", "images.txt, line 2: 'x.jpg'"),
    "no label": ("image_class_labels.txt", 2, "", "image 2 is not in image_class_labels.txt"),
    "no side": ("train_test_split.txt", 2, "", "image 2 is not in train_test_split.txt"),
    "no image": ("images.txt", 2, "", "image_class_labels.txt, line 2: image 2 is not in images"),
    "side": ("train_test_split.txt", 2, "2 2", "train_test_split.txt, line 2: '2' is neither"),
    "class": ("image_class_labels.txt", 2, "2 4", "labels.txt, line 2: class '4'; .* 1 to 3"),
    "class zero": ("image_class_labels.txt", 2, "2 0", "labels.txt, line 2: class '0'"),
    "no class": ("image_class_labels.txt", 2, "2 x", "labels.txt, line 2: class 'x'"),
    "other class": (
        "image_class_labels.txt",
        2,
        "2 3",
        "images.txt, line 2: .* its class is '003.Made_up_Bird_2' by .*labels.txt, line 2",
    ),
    "class name": ("classes.txt", 3, "3 001.Made_up_Bird_0", "classes.txt, line 3: class '001"),
    "class number": ("classes.txt", 3, "7 003.Made_up_Bird_2", "classes.txt, line 3: class 7 of 3"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_faults_name_file_and_line(folder: Path, tmp_path: Path, case: str) -> None:
    name, number, text, told = FAULTS[case]
    _set_line(folder / name, number, text)
    with pytest.raises(DataError, match=told) as caught:
        INFO.load(DataSource(tmp_path))
    assert str(folder) in str(caught.value)
    assert len(str(caught.value)) < 600
    noted: list[str] = []
    listing(DataSource(tmp_path), noted.append)  # `data verify` reads past it
    assert noted[0] == str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\xfa"])
def test_a_list_without_text_is_named(folder: Path, tmp_path: Path, content: bytes) -> None:
    (folder / "images.txt").write_bytes(content)
    with pytest.raises(DataError, match=r"images\.txt"):
        INFO.load(DataSource(tmp_path))
