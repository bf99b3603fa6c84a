"""`clbench data verify`: every planted fault is found and named, and nothing in clean data."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import miniatures
import pytest
from PIL import Image

from benchmark.cli import main
from benchmark.data import dataset_info
from benchmark.data.base import DataError, DatasetInfo, DataSource
from benchmark.data.verify import SHOWN, Fault, Findings, verify

CLASS_COUNT = 5
MAKERS: dict[str, Callable[[Path], Path]] = {
    "domainnet": lambda root: miniatures.domainnet(root, train=2, test=2, classes=CLASS_COUNT),
    "imagenet_r": lambda root: miniatures.imagenet_r(root, images=6, classes=CLASS_COUNT),
    "cub200": lambda root: miniatures.cub200(root, train=2, test=2, classes=CLASS_COUNT),
    "cifar100": lambda root: miniatures.cifar100(root, classes=CLASS_COUNT),
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A root with a miniature of every data set; copy before writing."""
    root = tmp_path_factory.mktemp("clean")
    for make in MAKERS.values():
        make(root)
    with pytest.MonkeyPatch.context() as patch:
        miniatures.accept_cifar100(root / "cifar100" / "cifar-100-python", patch)
        yield root


class Tree:
    """A copy of a miniature that faults are planted in."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def file(self, number: int, pattern: str) -> Path:
        """One of the images, `pattern` below the data set's folder."""
        found = sorted(p for p in self.top.glob(pattern) if p.suffix in (".jpg", ".png"))
        return found[number]

    def lines(self, name: str) -> list[str]:
        return (self.top / name).read_text().splitlines()

    def change_lines(self, name: str, lines: list[str]) -> None:
        (self.top / name).write_text("".join(f"{line}\n" for line in lines))

    def add_line(self, name: str, line: str) -> str:
        self.change_lines(name, [*self.lines(name), line])
        return line


@pytest.fixture
def copied(clean: Path, tmp_path: Path) -> Callable[[str], Tree]:
    """Copies a miniature below `tmp_path`, to plant faults in."""
    return lambda name: Tree(Path(shutil.copytree(clean / name, tmp_path / name)))


def _info(name: str) -> DatasetInfo:
    return replace(dataset_info(name), classes=CLASS_COUNT)


def _kinds(report: Findings) -> set[Fault]:
    return {kind for kind, found in report.faults.items() if found}


def _text(report: Findings) -> str:
    return "\n".join(report.lines(shown=1000))


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_is_found_in_clean_data(clean: Path, name: str) -> None:
    report = verify(_info(name), DataSource(clean))
    assert _text(report).endswith("no faults")
    assert report.total == 0
    assert any(note.startswith("not ") for note in report.notes)  # of fewer images than published


# --- what is planted ---------------------------------------------------------------------------


Plant = Callable[[Tree], str]  # gives what the report must name


def _cut(pattern: str, keep: int = 200) -> Plant:
    """Cut a picture; keep: bytes of it, or how many from the end are lost if negative."""

    def plant(tree: Tree) -> str:
        path = tree.file(3, pattern)
        path.write_bytes(path.read_bytes()[:keep])
        return path.name

    return plant


def _overwrite(pattern: str, content: bytes) -> Plant:
    def plant(tree: Tree) -> str:
        path = tree.file(2, pattern)
        path.write_bytes(content)
        return path.name

    return plant


def _remove(pattern: str) -> Plant:
    def plant(tree: Tree) -> str:
        path = tree.file(1, pattern)
        path.unlink()
        return path.name

    return plant


def _stray(pattern: str, name: str = "stray_000001.jpg") -> Plant:
    def plant(tree: Tree) -> str:
        (tree.file(0, pattern).parent / name).write_bytes(miniatures.picture_file(0, 0, 99, ".jpg"))
        return name

    return plant


def _copied(source: str, target: str, change: Callable[[bytes], bytes] = bytes) -> Plant:
    """Put the picture of a training image into a test image; both by their list."""

    def plant(tree: Tree) -> str:
        from_file, to_file = (tree.top / f for f in (source, target))
        to_file.write_bytes(change(from_file.read_bytes()))
        return to_file.name

    return plant


def _again(content: bytes) -> bytes:
    """The same pixels in another file format."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(content)) as image:
        image.convert("RGB").save(stream, format="BMP")
    return stream.getvalue()


TREE_R, TREE_D = "imagenet-r/*/*", "[cipqrs]*/*/*"
CLIPART = "clipart/thing_002/clipart_003_00000"


def _domainnet_again(side: str) -> Plant:
    """List a training image once more."""

    def plant(tree: Tree) -> str:
        line = tree.lines("txt/real_train.txt")[3]
        return tree.add_line(f"txt/real_{side}.txt", line).split()[0]

    return plant


def _domainnet_relabel(tree: Tree) -> str:
    lines = tree.lines("txt/real_test.txt")
    path = lines[4].split()[0]
    tree.change_lines("txt/real_test.txt", [*lines[:4], f"{path} 0", *lines[5:]])
    return "real_test.txt, line 5"


def _domainnet_without_test(tree: Tree) -> str:
    for domain in miniatures.DOMAINS:
        lines = tree.lines(f"txt/{domain}_test.txt")
        for line in lines:
            if line.endswith(" 4"):
                (tree.top / line.split()[0]).unlink()
        tree.change_lines(f"txt/{domain}_test.txt", [x for x in lines if not x.endswith(" 4")])
    return "thing_004: no test image"


def _domainnet_seventh_class(tree: Tree) -> str:
    folder = tree.top / "sketch" / "extra"
    folder.mkdir()
    for side, number in (("train", 1), ("test", 2)):
        (folder / f"{number}.jpg").write_bytes(miniatures.picture_file(9, 5, number, ".jpg"))
        tree.add_line(f"txt/sketch_{side}.txt", f"sketch/extra/{number}.jpg 5")
    return "6, expected 5"


def _cub_bad_side(tree: Tree) -> str:
    lines = tree.lines("CUB_200_2011/train_test_split.txt")
    tree.change_lines("CUB_200_2011/train_test_split.txt", [lines[0], "2 2", *lines[2:]])
    return "train_test_split.txt"


def _cub_twice(tree: Tree) -> str:
    """The same file under a second number."""
    path = tree.lines("CUB_200_2011/images.txt")[0].split()[1]
    tree.add_line("CUB_200_2011/images.txt", f"99 {path}")
    tree.add_line("CUB_200_2011/image_class_labels.txt", "99 1")
    tree.add_line("CUB_200_2011/train_test_split.txt", "99 0")
    return path


def _cub_no_training(tree: Tree) -> str:
    path = "CUB_200_2011/train_test_split.txt"
    lines = [line.split() for line in tree.lines(path)]
    tree.change_lines(path, [f"{n} {0 if 5 <= int(n) <= 8 else side}" for n, side in lines])
    return "002.Made_up_Bird_1: no training image"


def _link(tree: Tree) -> str:
    (tree.file(0, TREE_R).parent / "toy_9.jpg").symlink_to("nowhere.jpg")
    return "toy_9.jpg"


def _empty_class(tree: Tree) -> str:
    folder = tree.top / "imagenet-r" / "n01443537"
    shutil.rmtree(folder)
    folder.mkdir()
    return "n01443537"


def _lost_class(tree: Tree) -> str:
    shutil.rmtree(tree.top / "imagenet-r" / "n01443537")
    return "4, expected 5"


def _linked_class(tree: Tree) -> str:
    folder = tree.top / "imagenet-r" / "n01443537"
    folder.rename(tree.top / "elsewhere")
    folder.symlink_to(tree.top / "elsewhere")
    return "n01443537: a link to a folder"


def _imagenet_copied(tree: Tree) -> str:
    """The pixels of a training image in place of those of a test image."""
    data = dataset_info("imagenet_r").load(DataSource(tree.top))
    folder = tree.top / "imagenet-r"
    train, test = (split.images.paths[-1] for split in (data.train, data.test))  # type: ignore[attr-defined]
    shutil.copyfile(folder / train, folder / test)
    return f"{test} is {train}"


def _cifar_bytes(side: str, change: Callable[[bytes], bytes]) -> Plant:
    def plant(tree: Tree) -> str:
        path = tree.top / "cifar-100-python" / side
        path.write_bytes(change(path.read_bytes()))
        return str(path)

    return plant


PLANTED: dict[str, tuple[Plant, set[Fault]]] = {
    "domainnet: truncated JPEG": (_cut("clipart/*/*"), {Fault.UNREADABLE}),
    "domainnet: last byte of a PNG": (_cut("quickdraw/*/*", keep=-1), {Fault.UNREADABLE}),
    "domainnet: last byte of a JPEG": (_cut("real/*/*", keep=-1), {Fault.UNREADABLE}),
    "domainnet: text": (_overwrite("sketch/*/*", b"404 not found"), {Fault.UNREADABLE}),
    "domainnet: zero bytes": (_overwrite(TREE_D, b""), {Fault.EMPTY}),
    "domainnet: missing": (_remove(TREE_D), {Fault.MISSING}),
    "domainnet: stray": (_stray("infograph/*/*"), {Fault.UNLISTED}),
    "domainnet: twice in a list": (_domainnet_again("train"), {Fault.TWICE}),
    "domainnet: in both lists": (_domainnet_again("test"), {Fault.TWICE}),
    "domainnet: copy": (_copied(CLIPART + "1.jpg", CLIPART + "3.jpg"), {Fault.SHARED}),
    "domainnet: copy in another format, name and domain": (
        _copied(CLIPART + "2.jpg", "real/thing_000/real_001_000004.jpg", _again),
        {Fault.SHARED},
    ),
    "domainnet: label": (_domainnet_relabel, {Fault.LISTS}),
    "domainnet: label out of range": (
        lambda t: t.add_line("txt/real_test.txt", "real/other/x.jpg 345") and "label 345",
        {Fault.LISTS, Fault.MISSING},
    ),
    "domainnet: no test images": (_domainnet_without_test, {Fault.ONE_SIDED}),
    "domainnet: a class too many": (_domainnet_seventh_class, {Fault.CLASSES}),
    "imagenet_r: stray": (_stray(TREE_R, "IMG 001.jpg"), {Fault.LISTS}),
    "imagenet_r: dangling link": (_link, {Fault.MISSING}),
    "imagenet_r: empty class": (_empty_class, {Fault.LISTS, Fault.ONE_SIDED}),
    "imagenet_r: lost class": (_lost_class, {Fault.CLASSES}),
    "imagenet_r: linked class": (_linked_class, {Fault.LISTS, Fault.CLASSES}),
    "imagenet_r: copy": (_imagenet_copied, {Fault.SHARED}),
    "cub200: twice": (_cub_twice, {Fault.TWICE}),
    "cub200: side": (_cub_bad_side, {Fault.LISTS, Fault.UNLISTED}),
    "cub200: class named twice": (
        lambda t: t.add_line("CUB_200_2011/classes.txt", "6 001.Made_up_Bird_0") and "line 6",
        {Fault.LISTS, Fault.CLASSES, Fault.ONE_SIDED},
    ),
    "cub200: no training images": (_cub_no_training, {Fault.ONE_SIDED}),
    "cifar100: truncated": (_cifar_bytes("train", lambda content: content[:5000]), {Fault.LISTS}),
    "cifar100: names": (
        _cifar_bytes("meta", lambda content: content.replace(b"fine_00", b"fine_01")),
        {Fault.LISTS},
    ),
}


@pytest.mark.parametrize("case", PLANTED)
def test_planted_faults_are_found(copied: Callable[[str], Tree], tmp_path: Path, case: str) -> None:
    plant, kinds = PLANTED[case]
    name = case.partition(":")[0]
    named = plant(copied(name))
    report = verify(_info(name), DataSource(tmp_path))
    assert _kinds(report) == kinds, _text(report)
    assert any(named in one for found in report.faults.values() for one in found), _text(report)


def test_all_faults_are_told_at_once(copied: Callable[[str], Tree], tmp_path: Path) -> None:
    tree = copied("domainnet")
    planted = [one for case, one in PLANTED.items() if case.startswith("domainnet")]
    named = [plant(tree) for plant, _ in planted]
    report = verify(_info("domainnet"), DataSource(tmp_path))
    assert _kinds(report) == set.union(*(kinds for _, kinds in planted))
    for one in named:
        assert one in _text(report)


def test_quick_reads_no_image(copied: Callable[[str], Tree], tmp_path: Path) -> None:
    tree = copied("domainnet")
    for name in ("truncated JPEG", "zero bytes", "missing", "copy"):
        PLANTED[f"domainnet: {name}"][0](tree)
    report = verify(_info("domainnet"), DataSource(tmp_path), quick=True)
    assert _kinds(report) == {Fault.MISSING, Fault.EMPTY}
    assert "--quick" in _text(report)


@pytest.mark.parametrize(
    ("plant", "note"),
    [
        (_copied(CLIPART + "1.jpg", CLIPART + "2.jpg"), "1 images are repeated"),
        (_stray("painting/*/*", "painting_301_000006.jpg"), "painting_301_000006.jpg: in no list"),
    ],
)
def test_repeats_within_a_side_and_known_faults_are_notes(
    plant: Plant, note: str, copied: Callable[[str], Tree], tmp_path: Path
) -> None:
    plant(copied("domainnet"))
    report = verify(_info("domainnet"), DataSource(tmp_path))
    assert report.total == 0
    assert any(note in line for line in report.notes)


def test_an_archive_beside_published_data_must_be_the_published_one(
    copied: Callable[[str], Tree], tmp_path: Path
) -> None:
    (copied("cub200").top / "CUB_200_2011.tgz").write_bytes(b"half a download")
    report = verify(_info("cub200"), DataSource(tmp_path))
    assert report.total == 0  # of a miniature it cannot be
    assert "CUB_200_2011.tgz" in _text(report)
    complete = replace(_info("cub200"), images=(10, 10))
    assert _kinds(verify(complete, DataSource(tmp_path))) == {Fault.ARCHIVES}
    assert not verify(complete, DataSource(tmp_path), quick=True).total


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\n\n"])
def test_lists_without_content(
    copied: Callable[[str], Tree], tmp_path: Path, content: bytes
) -> None:
    for path in (copied("domainnet").top / "txt").iterdir():
        path.write_bytes(content)
    report = verify(_info("domainnet"), DataSource(tmp_path))
    assert {Fault.LISTS, Fault.CLASSES} <= _kinds(report)


def test_a_data_set_that_cannot_be_surveyed_is_loaded(clean: Path) -> None:
    def load(_source: DataSource) -> Any:
        raise DataError("images.bin: corrupt")

    info = replace(_info("cub200"), survey=None, load=load)
    assert "images.bin: corrupt" in _text(verify(info, DataSource(clean)))


def test_the_report_shortens_long_lists() -> None:
    report = Findings("a data set")
    report.faults[Fault.MISSING] += [f"{i}.jpg" for i in range(100)]
    lines = report.lines()
    assert len(lines) == 1 + 1 + SHOWN + 1 + 1
    assert f"and {100 - SHOWN} more" in lines[-2]
    assert lines[-1].strip() == "100 faults of 1 kind"


# --- the command -------------------------------------------------------------------------------


def test_the_command_tells_by_its_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = miniatures.cifar100(tmp_path, train=2, test=1)
    miniatures.accept_cifar100(made / "cifar-100-python", monkeypatch)
    command = ["data", "verify", "cifar100", "--root", str(tmp_path)]
    assert main(command) == 0
    assert "no faults" in capsys.readouterr().out
    assert main([*command[:3], "--data-root", str(tmp_path / "nothing")]) == 2
    assert "cifar-100-python.tar.gz" in capsys.readouterr().err
    _cifar_bytes("meta", lambda content: content[:50])(Tree(tmp_path / "cifar100"))
    assert main(command) == 1
    assert "FAULT" in capsys.readouterr().out
    assert main([*command, "--split", "other"]) == 2
    assert main(["data", "verify", "cifar10"]) == 2
    assert "'cifar100'" in capsys.readouterr().err
