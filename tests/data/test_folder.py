"""Any class-per-folder tree as a data set."""

from __future__ import annotations

from pathlib import Path

import pytest
from trees import copy_in_another_order, picture, shuffle_directories

from benchmark.data import dataset_info, folder
from benchmark.data.base import DataError, DataSource
from benchmark.data.tree import split_class

PLACE = DataSource(Path("not used"))


def tree(top: Path, *paths: str) -> Path:
    for number, path in enumerate(paths):
        picture(top / path, number)
    return top


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """Two classes, seven images each, no split."""
    paths = [f"{name}/{i}.jpg" for name in ("dog", "Cat") for i in range(7)]
    return tree(tmp_path / "plain", *paths)


@pytest.fixture
def given(tmp_path: Path) -> Path:
    """Two classes with a split of their own."""
    return tree(
        tmp_path / "given",
        *("train/dog/1.jpg", "train/dog/2.jpg", "train/cat/1.jpg", "test/dog/1.jpg"),
        "test/cat/9.jpg",
    )


def test_class_folders_are_split_by_our_rule(plain: Path) -> None:
    dataset = folder.info(plain).load(PLACE)
    assert dataset.class_names == ("Cat", "dog") and dataset.name == f"folder:{plain}"
    for label, name in enumerate(dataset.class_names):
        train, test = split_class(name, [f"{i}.jpg" for i in range(7)])
        for split, files in ((dataset.train, train), (dataset.test, test)):
            mine = [p for p, k in zip(split.images.paths, split.labels, strict=True) if k == label]
            assert sorted(mine) == sorted(f"{name}/{file}" for file in files)


@pytest.mark.parametrize("side", ["test", "val", "validation"])
def test_a_split_of_its_own_is_kept(side: str, given: Path) -> None:
    (given / "test").rename(given / side)
    dataset = folder.info(given).load(PLACE)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.train.images.paths == ("train/cat/1.jpg", "train/dog/1.jpg", "train/dog/2.jpg")
    assert dataset.test.images.paths == (f"{side}/cat/9.jpg", f"{side}/dog/1.jpg")
    assert dataset.train.labels.tolist() == [0, 1, 1] and dataset.test.labels.tolist() == [0, 1]


def test_test_comes_before_val(given: Path) -> None:
    tree(given, "val/dog/7.jpg")
    assert folder.info(given).load(PLACE).test.images.paths[0].startswith("test/")


def test_every_usual_format_is_read(tmp_path: Path) -> None:
    endings = ("jpg", "jpeg", "png", "bmp", "webp", "gif", "tif", "JPG", "Png")
    top = tree(tmp_path / "top", *(f"a/{i}.{e}" for i, e in enumerate(endings)), "b/1.jpg")
    dataset = folder.info(top).load(PLACE)
    images = [split.images for split in (dataset.train, dataset.test)]
    assert sum(map(len, images)) == len(endings) + 1
    for split in images:
        assert all(split.read(i).shape[2] == 3 for i in range(len(split)))


def test_hidden_and_other_files_are_passed_over(plain: Path) -> None:
    before = folder.info(plain).manifest_hash(PLACE)
    tree(plain, ".thumbs/1.jpg", "dog/.8.jpg", "dog/.cache/1.jpg", "stray.jpg")
    (plain / "dog" / "labels.csv").touch()
    assert folder.info(plain).manifest_hash(PLACE) == before


def test_images_further_below_belong_to_the_class(plain: Path) -> None:
    tree(plain, "dog/puppies/young/1.jpg")
    dataset = folder.info(plain).load(PLACE)
    paths = [*dataset.train.images.paths, *dataset.test.images.paths]
    assert "dog/puppies/young/1.jpg" in paths and len(paths) == 15


@pytest.mark.parametrize(
    ("classes", "tasks"),
    [(1, 1), (2, 1), (3, 1), (4, 2), (7, 3), (10, 5), (15, 5), (23, 10), (40, 10), (64, 8)],
)
def test_the_number_of_tasks_suits_the_classes(classes: int, tasks: int, tmp_path: Path) -> None:
    top = tree(tmp_path / "top", *(f"c{i:02d}/1.jpg" for i in range(classes)))
    info = folder.info(top)
    assert (info.classes, info.default_tasks) == (classes, tasks)


# --- where it lies -----------------------------------------------------------------------------


def test_the_name_carries_the_path(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert dataset_info(f"folder:{plain}").class_names(PLACE) == ["Cat", "dog"]
    monkeypatch.chdir(plain.parent)
    assert folder.info("plain").class_names(PLACE) == ["Cat", "dog"]
    monkeypatch.setenv("HOME", str(plain.parent))
    assert folder.info("~/plain").class_names(PLACE) == ["Cat", "dog"]


def test_two_machines_have_the_same_split_and_hash(
    plain: Path, given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = [folder.read_tree(top)[1] for top in (plain, given)]
    for top in (plain, given):
        copy_in_another_order(top, tmp_path / "elsewhere" / top.name)
    shuffle_directories(monkeypatch)
    for listing, top in zip(expected, (plain, given), strict=True):
        other = tmp_path / "elsewhere" / top.name
        assert folder.read_tree(other)[1] == listing
        assert folder.info(other).manifest_hash(PLACE) == folder.info(top).manifest_hash(PLACE)


# --- what cannot be used -----------------------------------------------------------------------


def test_empty_class_folders_are_named(plain: Path, given: Path) -> None:
    for name in ("ant", "bee"):
        (plain / name).mkdir()
    (plain / "bee" / "notes.txt").touch()
    with pytest.raises(DataError, match=r"2 of 4 class folders hold no image.*'ant', 'bee'"):
        folder.info(plain)
    (given / "test" / "cat" / "9.jpg").unlink()
    with pytest.raises(DataError, match=r"test: 1 of 2 class folders.*'cat'"):
        folder.info(given)


def test_a_test_class_without_training_images_is_named(given: Path) -> None:
    tree(given, "test/bird/1.jpg")
    with pytest.raises(DataError, match=r"class 'bird'.*every test class needs training images"):
        folder.info(given)


def test_a_training_class_without_test_images_is_kept(given: Path) -> None:
    tree(given, "train/bird/1.jpg")
    assert folder.info(given).load(PLACE).class_names == ("bird", "cat", "dog")


@pytest.mark.parametrize("side", ["train", "test", "val"])
def test_half_a_split_is_told(side: str, tmp_path: Path) -> None:
    top = tree(tmp_path / "top", f"{side}/dog/1.jpg", f"{side}/cat/1.jpg")
    with pytest.raises(DataError, match=f"{side}/ is .*80/20"):
        folder.info(top)
    assert folder.info(top / side).classes == 2


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    top = tree(tmp_path / "top", "train/1.jpg", "car/1.jpg", "plane/1.jpg")
    assert folder.info(top).class_names(PLACE) == ["car", "plane", "train"]


@pytest.mark.parametrize("paths", [[], ["1.jpg", "2.jpg"]])
def test_a_folder_without_class_folders_is_told(paths: list[str], tmp_path: Path) -> None:
    (tmp_path / "top").mkdir()
    with pytest.raises(DataError, match="one folder of images for each class"):
        folder.info(tree(tmp_path / "top", *paths))
    (tmp_path / "both" / "train").mkdir(parents=True)
    (tmp_path / "both" / "test").mkdir()
    with pytest.raises(DataError, match="train: no folders in it"):
        folder.info(tmp_path / "both")


def test_no_folder_at_all_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "none", picture(tmp_path / "file.jpg")):
        with pytest.raises(DataError, match=f"{path}: no such folder"):
            folder.info(path)


@pytest.mark.parametrize("link", ["bird", "dog/more"])
def test_links_to_folders_are_not_followed(link: str, plain: Path, tmp_path: Path) -> None:
    outside = tree(tmp_path / "outside", "1.jpg")
    (plain / link).symlink_to(outside, target_is_directory=True)
    with pytest.raises(DataError, match=f"{link}: a link to a folder, which is not followed"):
        folder.info(plain)


def test_linked_images_are_used_and_dangling_ones_missed(plain: Path, tmp_path: Path) -> None:
    (plain / "dog" / "8.jpg").symlink_to(picture(tmp_path / "elsewhere.jpg"))
    dataset = folder.info(plain).load(PLACE)
    assert len(dataset.train.images) + len(dataset.test.images) == 15
    (plain / "dog" / "9.jpg").symlink_to(tmp_path / "gone.jpg")
    with pytest.raises(DataError, match=r"1 of 16 listed images are missing: 'dog/9.jpg'"):
        folder.info(plain).load(PLACE)


def test_a_folder_that_cannot_be_read_is_named(
    plain: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match="plain: cannot be read: Permission denied"):
        folder.info(plain)
