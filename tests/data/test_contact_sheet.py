"""The contact sheet: every class has a row with its own images, and `data show` files them."""

from __future__ import annotations

from pathlib import Path

import miniatures
import numpy as np
import pytest
from PIL import Image

from benchmark.cli import main
from benchmark.data.base import ArrayImages, FileImages
from benchmark.data.contact_sheet import FAULT, FRAME, GAP, contact_sheet


def test_each_class_shows_its_own_images() -> None:
    labels = np.repeat(np.arange(5), [1, 3, 20, 2, 0])
    images = np.broadcast_to(
        (40 * labels + 20).astype(np.uint8)[:, None, None, None], (26, 8, 8, 3)
    )
    names = ["a", "bb", "a long name", "d", "empty"]
    sheet = np.asarray(
        contact_sheet(
            ArrayImages(images), labels, names, per_class=3, columns=2, side=16
        )  # enlarged
    )
    rows = 3  # five classes in two columns
    assert sheet.shape[0] == rows * (16 + GAP) + GAP
    for label, shown in enumerate([1, 3, 3, 2, 0]):
        top = GAP + label % rows * (16 + GAP)
        half = sheet[top : top + 16]
        half = half[:, : sheet.shape[1] // 2] if label < rows else half[:, sheet.shape[1] // 2 :]
        pixels = (half == 40 * label + 20).all(axis=(0, 2)).sum()
        assert pixels == shown * 16


def _files(folder: Path, sizes: list[tuple[int, int]]) -> FileImages:
    names = []
    for number, size in enumerate(sizes):
        names.append(f"{number}.png")
        Image.new("RGB", size, (10, 20, 30)).save(folder / names[-1])
    return FileImages(folder, tuple(names))


def _area(sheet: Image.Image, colour: tuple[int, int, int]) -> int:
    return int((np.asarray(sheet) == colour).all(axis=2).sum())


@pytest.mark.parametrize(
    ("size", "area"), [((80, 40), 800), ((40, 80), 800), ((20, 10), 800), ((1000, 1), 40)]
)
def test_images_keep_their_shape(tmp_path: Path, size: tuple[int, int], area: int) -> None:
    sheet = contact_sheet(_files(tmp_path, [size]), np.array([0]), ["a"], side=40)
    assert _area(sheet, (10, 20, 30)) == area
    assert _area(sheet, FRAME) == 40 * 40 - area


def test_only_what_is_drawn_is_decoded(tmp_path: Path) -> None:
    images = _files(tmp_path, [(8, 8)] * 21)
    for number in range(21):
        if number % 10:
            (tmp_path / f"{number}.png").write_bytes(b"no image")
    sheet = contact_sheet(images, np.zeros(21, np.int64), ["a"], per_class=3, side=16)
    assert _area(sheet, (10, 20, 30)) == 3 * 16 * 16


def test_what_cannot_be_read_is_crossed_out(tmp_path: Path) -> None:
    images = _files(tmp_path, [(8, 8), (8, 8)])
    (tmp_path / "1.png").write_bytes(b"no image")
    sheet = contact_sheet(images, np.array([0, 1]), ["a", "b"], side=16)
    assert _area(sheet, FAULT) > 16


def test_many_classes_make_a_sheet_that_fits_a_screen_when_halved() -> None:
    images = ArrayImages(np.zeros((3450, 4, 4, 3), np.uint8))
    labels = np.arange(3450) % 345
    sheet = contact_sheet(images, labels, [f"class number {c}" for c in range(345)], side=56)
    assert 1 < sheet.width / sheet.height < 2
    assert sheet.width < 4000


# --- the command -------------------------------------------------------------------------------


@pytest.fixture
def _root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A CIFAR100 of one image a class, and a DomainNet of two classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CLBENCH_DATA", str(tmp_path))
    made = miniatures.cifar100(tmp_path, train=1, test=1)
    miniatures.accept_cifar100(made / "cifar-100-python", monkeypatch)
    miniatures.domainnet(tmp_path, train=1, test=1, classes=2)


@pytest.mark.usefixtures("_root")
def test_one_file_for_each_domain(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "show", "domainnet", "--split", "test"]) == 0
    domains = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
    files = [f"domainnet_{domain}_test.png" for domain in domains]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == files
    assert len({(tmp_path / name).read_bytes() for name in files}) == 6
    assert "2 classes, 2 test images" in capsys.readouterr().out


@pytest.mark.usefixtures("_root")
def test_one_domain_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["data", "show", "domainnet", "--root", str(tmp_path), "--domain"]
    assert main([*command, "real", "--out", "here/a.png"]) == 0
    assert [path.name for path in tmp_path.glob("here/*")] == ["a.png"]
    assert main([*command, "rael"]) == 2
    assert "did you mean 'real'" in capsys.readouterr().err


@pytest.mark.usefixtures("_root")
def test_data_without_domains_have_one_file(tmp_path: Path) -> None:
    assert main(["data", "show", "cifar100", "--per-class", "1"]) == 0
    assert [path.name for path in tmp_path.glob("*.png")] == ["cifar100_train.png"]
    assert main(["data", "show", "folder:domainnet/real", "--split", "test"]) == 0
    assert (tmp_path / "real_test.png").is_file()
