"""The trees in which users have a data set: for each, the published images or one clear error.

Each line of the tables is a tree and what becomes of it. A command that an error prints in
backticks is run, and has to help.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import md5
from pathlib import Path

import miniatures
import pytest

from benchmark.cli import main
from benchmark.data import cub200, dataset_info, domainnet, imagenet_a, imagenet_r
from benchmark.data.base import DataError, DataSource, FileImages, MissingDataError
from benchmark.data.class_tree import FOLDERS
from benchmark.data.verify import Findings, verify

CLASSES = 4
MAKERS: dict[str, Callable[[Path], Path]] = {
    "imagenet_r": lambda root: miniatures.imagenet_r(root, images=10, classes=CLASSES),
    "imagenet_a": lambda root: miniatures.imagenet_a(root, images=10, classes=CLASSES),
    "cub200": lambda root: miniatures.cub200(root, train=2, test=2, classes=CLASSES),
    "domainnet": lambda root: miniatures.domainnet(root, train=1, test=1, classes=CLASSES),
}
ARCHIVES = {
    "imagenet_r": "imagenet-r.tar",
    "imagenet_a": "imagenet-a.tar",
    "cub200": "CUB_200_2011.tgz",
}
INNER = {"imagenet_r": "imagenet-r", "imagenet_a": "imagenet-a", "cub200": "CUB_200_2011"}
Change = Callable[[Path], None]  # of the data set's folder, `root/NAME`


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a miniature of every data set; not to be changed."""
    root = tmp_path_factory.mktemp("made")
    for make in MAKERS.values():
        make(root)
    return root


@pytest.fixture
def copied(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Copies a data set below `tmp_path`; gives its folder."""
    return lambda name: Path(shutil.copytree(made / name, tmp_path / name))


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("CLBENCH_OFFLINE", "1")


def top_of(home: Path) -> Path:
    """Where the class folders of the archive are."""
    inner = home / INNER[home.name]
    return inner / "images" if home.name == "cub200" else inner


def classes_of(top: Path) -> list[Path]:
    return sorted(path for path in top.iterdir() if path.is_dir() and path.name[0] in "n0")


def to_sides(home: Path, target: Path, names: tuple[str, str], test: frozenset[str]) -> None:
    """Move every image into one of two folders, by whether `<class>/<file>` is in `test`."""
    for folder in classes_of(top_of(home)):
        for file in sorted(folder.iterdir()):
            path = f"{folder.name}/{file.name}"
            goal = target / names[path in test] / path
            goal.parent.mkdir(parents=True, exist_ok=True)
            file.rename(goal)
        folder.rmdir()


def halves(home: Path) -> frozenset[str]:
    """Every other image of a class."""
    return frozenset(
        f"{folder.name}/{file.name}"
        for folder in classes_of(top_of(home))
        for file in sorted(folder.iterdir())[1::2]
    )


def sides(*names: str, below: str = "") -> Change:
    """All images in two folders of these names."""

    def change(home: Path) -> None:
        to_sides(home, home / (below or "."), names, halves(home))  # type: ignore[arg-type]

    return change


def linked_sides(home: Path) -> None:
    elsewhere = home.parent / "elsewhere"
    to_sides(home, elsewhere, ("train", "test"), halves(home))
    for side in ("train", "test"):
        (home / side).symlink_to(elsewhere / side)


def classes_to(below: str) -> Change:
    """The class folders somewhere else below the data set's folder."""

    def change(home: Path) -> None:
        (home / below).mkdir(parents=True, exist_ok=True)
        for folder in classes_of(top_of(home)):
            folder.rename(home / below / folder.name)

    return change


def linked_home(home: Path) -> None:
    home.rename(home.parent / "elsewhere")
    home.symlink_to(home.parent / "elsewhere")


def linked_classes(home: Path) -> None:
    """The folder of the class folders is a link."""
    top = top_of(home)
    top.rename(home.parent / "elsewhere")
    top.symlink_to(home.parent / "elsewhere")


def copies_beside(home: Path) -> None:
    top, copy = top_of(home), home.parent / "copy" / home.name
    shutil.copytree(home, copy)
    to_sides(copy, top, ("train", "test"), halves(copy))


def one_side(name: str) -> Change:
    def change(home: Path) -> None:
        sides("train", "test")(home)
        shutil.rmtree(home / {"train": "test", "test": "train"}[name])

    return change


def halfway(home: Path) -> None:
    """Some images were moved, the others lie in the class folders."""
    folder = classes_of(top_of(home))[0]
    for side, file in zip(("train", "test"), sorted(folder.iterdir()), strict=False):
        goal = top_of(home) / side / folder.name / file.name
        goal.parent.mkdir(parents=True)
        file.rename(goal)


def on_both_sides(home: Path) -> None:
    sides("train", "test")(home)
    file = next((home / "train").glob("*/*"))
    goal = home / "test" / file.parent.name / file.name
    shutil.copyfile(file, goal)


def third_side(home: Path) -> None:
    sides("train", "test")(home)
    folder = next((home / "test").iterdir())
    shutil.copytree(folder, home / "val" / folder.name)


def linked_class(home: Path) -> None:
    folder = classes_of(top_of(home))[1]
    folder.rename(home / "elsewhere")
    folder.symlink_to(home / "elsewhere")


def lost_class(home: Path) -> None:
    folder = classes_of(top_of(home))[1]
    shutil.rmtree(folder)
    folder.symlink_to(home / "nowhere")


def emptied_class(home: Path) -> None:
    for file in classes_of(top_of(home))[1].iterdir():
        file.unlink()


READ: dict[str, Change] = {
    "as unpacked": lambda home: None,
    "the data set's folder is a link": linked_home,
    "the folder of the class folders is a link": linked_classes,
    "class folders in the data set's folder": classes_to("."),
    "images/": classes_to("images"),
    "train/ and test/": sides("train", "test"),
    "Train/ and Val/": sides("Train", "Val"),
    "training/ and validation/": sides("training", "validation"),
    "train/ and test/ in the archive's folder": lambda home: sides(
        "train", "test", below=INNER[home.name]
    )(home),
    "links train/ and test/": linked_sides,
}
REFUSED: dict[str, tuple[Change, str]] = {
    "train/ alone": (one_side("train"), "are in train/, and there is no test/ beside it"),
    "test/ alone": (one_side("test"), "are in test/, and there is no train/ beside it"),
    "images moved halfway": (halfway, "2 images in train/ and test/ and not in .* halfway"),
    "an image on both sides": (on_both_sides, "1 image is in train/ and in test/ alike"),
    "test/ and val/": (third_side, "has test/ and val/, which mean the same side"),
    "a class that is a link": (linked_class, "a link to a folder, which is not followed"),
    "a class that is a dangling link": (lost_class, "a link that leads nowhere"),
    "a class without images": (emptied_class, "1 of 4 class folders hold no image"),
}
IMAGENETS = ("imagenet_r", "imagenet_a")


def hashed(name: str, root: Path, split: str = "default") -> str:
    return dataset_info(name).manifest_hash(DataSource(root, split))


@pytest.mark.parametrize("name", [*IMAGENETS, "cub200"])
@pytest.mark.parametrize("tree", READ)
def test_a_tree_is_the_published_data_set(
    name: str, tree: str, made: Path, tmp_path: Path, copied: Callable[[str], Path]
) -> None:
    READ[tree](copied(name))
    info = dataset_info(name)
    assert hashed(name, tmp_path) == hashed(name, made)
    theirs, ours = (info.load(DataSource(root)) for root in (tmp_path, made))
    assert theirs.class_names == ours.class_names
    for side in ("train", "test"):
        one, other = getattr(theirs, side), getattr(ours, side)
        assert (one.labels == other.labels).all() and one.domains == other.domains
        for index in range(len(one.images)):  # in the same order, image by image
            assert (one.images.read(index) == other.images.read(index)).all()
    assert verify(replace(info, classes=CLASSES), DataSource(tmp_path)).total == 0


@pytest.mark.parametrize("name", IMAGENETS)
@pytest.mark.parametrize("tree", REFUSED)
def test_a_tree_with_two_meanings_is_one_error(
    name: str, tree: str, tmp_path: Path, copied: Callable[[str], Path]
) -> None:
    change, words = REFUSED[tree]
    change(copied(name))
    with pytest.raises(DataError, match=words) as caught:
        dataset_info(name).load(DataSource(tmp_path))
    assert str(tmp_path / name) in str(caught.value)


def test_where_images_were_found_is_said(tmp_path: Path, copied: Callable[[str], Path]) -> None:
    sides("train", "test")(copied("imagenet_a"))
    source = DataSource(tmp_path)
    note = "4 classes found by their names in train/ and test/; every split but `folders`"
    assert any(note in one for one in imagenet_a.listing(source)[1].notes)
    assert note in "\n".join(verify(imagenet_a.INFO, source, quick=True).lines())


def test_copies_beside_the_class_folders_are_left_out_and_said(
    made: Path, tmp_path: Path, copied: Callable[[str], Path]
) -> None:
    copies_beside(copied("imagenet_r"))
    assert hashed("imagenet_r", tmp_path) == hashed("imagenet_r", made)
    left_out = imagenet_r.listing(DataSource(tmp_path))[1].left_out_in_words()
    assert "40 in train/ and test/, which the class folders hold as well" in left_out


def test_images_of_another_imagenet_are_refused(
    made: Path, tmp_path: Path, copied: Callable[[str], Path]
) -> None:
    copied("imagenet_r").rename(tmp_path / "imagenet_a")
    (tmp_path / "imagenet_a" / "imagenet-r").rename(tmp_path / "imagenet_a" / "imagenet-a")
    with pytest.raises(DataError, match="no image of ImageNet-A"):
        imagenet_a.INFO.load(DataSource(tmp_path))


# -- the split of the folders --------------------------------------------------------------------


@pytest.mark.parametrize("name", [*IMAGENETS, "cub200"])
@pytest.mark.parametrize("published", [True, False])
def test_the_division_of_the_folders(
    name: str, published: bool, made: Path, tmp_path: Path, copied: Callable[[str], Path]
) -> None:
    home, info = copied(name), dataset_info(name)
    default = info.load(DataSource(made))
    assert isinstance(default.test.images, FileImages)
    test = frozenset("/".join(path.split("/")[-2:]) for path in default.test.images.paths)
    chosen = test if published else frozenset(sorted(halves(home) | test)[:7])
    to_sides(home, home, ("train", "test"), chosen)
    source = DataSource(tmp_path, FOLDERS)
    dataset = info.load(source)
    assert isinstance(dataset.test.images, FileImages)
    assert {"/".join(p.split("/")[1:]) for p in dataset.test.images.paths} == chosen
    assert len(dataset.train.labels) + len(dataset.test.labels) == len(default.train.labels) + len(
        default.test.labels
    )
    (note,) = info.survey(source, print)[1].notes  # type: ignore[misc, union-attr]
    assert ("split `default`" in note) == published
    assert (info.manifest_hash(source) == hashed(name, made)) == published


@pytest.mark.parametrize("name", [*IMAGENETS, "cub200"])
def test_without_two_folders_there_is_no_such_split(name: str, made: Path) -> None:
    with pytest.raises(DataError, match=r"has none.*--set split=default"):
        dataset_info(name).load(DataSource(made, FOLDERS))


# -- what errors print ---------------------------------------------------------------------------


def commands(error: object) -> list[list[str]]:
    """The commands that an error prints, as words."""
    return [shlex.split(text)[1:] for text in re.findall(r"`(clbench [^`]+)`", str(error))]


def run_printed(error: object) -> None:
    (command,) = commands(error)
    assert main(command) == 0, command


def packed(home: Path, archive: Path, patch: pytest.MonkeyPatch) -> None:
    """Put what lies in the data set's folder into its archive, and trust that one."""
    name = home.name
    shutil.make_archive(str(home / "made"), "tar", home, INNER[name])
    shutil.rmtree(home / INNER[name])
    (home / "made.tar").rename(archive)
    module = {"imagenet_r": imagenet_r, "imagenet_a": imagenet_a, "cub200": cub200}[name]
    attribute = "_ARCHIVE" if name == "cub200" else "ARCHIVE"
    trusted = replace(getattr(module, attribute), md5=md5(archive.read_bytes()).hexdigest())
    patch.setattr(module, attribute, trusted)


@pytest.mark.parametrize("name", ARCHIVES)
@pytest.mark.parametrize("place", ["", "{}", "my data"])
def test_an_archive_that_is_there_is_unpacked_by_the_command_printed(
    name: str, place: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / place if " " in place else tmp_path
    home = Path(shutil.copytree(made / name, root / name))
    below = "" if " " in place else place.format(name)
    packed(home, root / below / ARCHIVES[name], monkeypatch)
    if not any(home.iterdir()):
        home.rmdir()
    with pytest.raises(MissingDataError, match="not unpacked") as caught:
        dataset_info(name).load(DataSource(root))
    run_printed(caught.value)
    assert hashed(name, root) == hashed(name, made)


def test_archives_of_domains_may_lie_in_the_root(
    made: Path, tmp_path: Path, copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = copied("domainnet")
    for domain in domainnet.DOMAINS:
        shutil.make_archive(str(tmp_path / domain), "zip", home, domain)
        shutil.rmtree(home / domain)
        digest = md5((tmp_path / f"{domain}.zip").read_bytes()).hexdigest()
        trusted = replace(domainnet.ARCHIVES[domain], md5=digest)
        monkeypatch.setitem(domainnet.ARCHIVES, domain, trusted)
    with pytest.raises(MissingDataError, match="not unpacked") as caught:
        domainnet.INFO.load(DataSource(tmp_path))
    run_printed(caught.value)
    assert hashed("domainnet", tmp_path) == hashed("domainnet", made)


def test_a_linked_domain_is_read(made: Path, tmp_path: Path, copied: Callable[[str], Path]) -> None:
    home = copied("domainnet")
    (home / "real").rename(tmp_path / "elsewhere")
    (home / "real").symlink_to(tmp_path / "elsewhere")
    assert hashed("domainnet", tmp_path) == hashed("domainnet", made)
    info = replace(domainnet.INFO, classes=CLASSES)
    assert verify(info, DataSource(tmp_path)).total == 0


def faults(found: Findings) -> list[str]:
    return [fault for kind in found.faults.values() for fault in kind]


ONE_FILE = {
    "imagenet_r": ("imagenet-r/n01443537/art_0.jpg", "n01443537/art_0.jpg"),
    "cub200": (
        "CUB_200_2011/images/001.Made_up_Bird_0/Made_Up_Bird_0_0001_1.jpg",
        "images/001.Made_up_Bird_0/Made_Up_Bird_0_0001_1.jpg",
    ),
    "domainnet": (
        "real/thing_000/real_001_000001.jpg",
        "real/thing_000/real_001_000001.jpg",
    ),
}


@pytest.mark.parametrize("name", ["cub200", "domainnet"])
def test_a_missing_image_is_one_error_everywhere(
    name: str, tmp_path: Path, copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    file, told = ONE_FILE[name]
    (copied(name) / file).unlink()
    info, source = replace(dataset_info(name), classes=CLASSES), DataSource(tmp_path)
    for ask in (info.load, info.manifest_hash):
        with pytest.raises(DataError, match=f"1 of .* listed images are missing: '{told}'") as one:
            ask(source)
    assert faults(verify(info, source)) == [told]
    (command,) = commands(one.value)  # names what is missing
    assert main([*command, "--quick"]) == 1 and told in capsys.readouterr().out
    assert main(["data", "prepare", name, "--root", str(tmp_path)]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("name", cub200.LISTS)
def test_a_missing_list_is_named_alone(
    name: str, tmp_path: Path, copied: Callable[[str], Path]
) -> None:
    lists = copied("cub200") / "CUB_200_2011"
    (lists / name).unlink()
    with pytest.raises(MissingDataError) as caught:
        cub200.INFO.load(DataSource(tmp_path))
    assert caught.value.lacking == (f"CUB_200_2011/{name}",)
    assert str(lists / name) in str(caught.value)
    assert not [other for other in cub200.LISTS if other != name and other in str(caught.value)]


def test_images_of_birds_without_lists(
    tmp_path: Path, copied: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    home = copied("cub200")
    (home / "CUB_200_2011" / "images").rename(tmp_path / "images")
    shutil.rmtree(home / "CUB_200_2011")
    (tmp_path / "images").rename(home / "images")
    with pytest.raises(MissingDataError) as caught:
        cub200.INFO.load(DataSource(tmp_path))
    fetch, alone = commands(caught.value)
    assert fetch == ["data", "prepare", "cub200", "--root", str(tmp_path)]
    assert main(alone) == 0 and "no faults" in capsys.readouterr().out
    sides_home = home / "images"
    for number, folder in enumerate(sorted(sides_home.iterdir())):
        for index, file in enumerate(sorted(folder.iterdir())):
            goal = home / ("train", "test")[index % 2] / folder.name / file.name
            goal.parent.mkdir(parents=True, exist_ok=True)
            file.rename(goal)
        folder.rmdir()
        assert number < CLASSES
    sides_home.rmdir()
    with pytest.raises(
        MissingDataError, match=f"split `{FOLDERS}` takes train/ and test/"
    ) as found:
        cub200.INFO.load(DataSource(tmp_path))
    assert commands(found.value)[1][-1] == FOLDERS
    assert main([*commands(found.value)[1], "--quick"]) in (0, 1)  # 4 classes, not 200


def test_missing_lists_of_a_split_are_asked_for_with_the_split(made: Path) -> None:
    with pytest.raises(MissingDataError) as caught:
        imagenet_r.INFO.load(DataSource(made, "coda"))
    (command,) = commands(caught.value)
    assert command == ["data", "prepare", "imagenet_r", "--root", str(made), "--split", "coda"]
