"""Layouts of a user's tree: the usual ones are recognised, what may be two things is refused."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trees import picture

from benchmark.data import folder
from benchmark.data.base import DataError, DataSource, Listing
from benchmark.data.layout import TEST_NAMES, TRAIN_NAMES

PLACE = DataSource(Path("not used"))


def tree(top: Path, *paths: str) -> Path:
    for number, path in enumerate(paths):
        picture(top / path, number)
    return top


def both_sides(train: str, test: str) -> list[str]:
    return [f"{side}/{name}/{side[-1]}.jpg" for side in (train, test) for name in ("cat", "dog")]


def read(top: Path) -> Listing:
    return folder.read_tree(top)[1]


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "valid"),
        ("Train", "Test"),
        ("TRAIN", "VAL"),
        ("training", "testing"),
        ("Training", "Validation"),
        ("wrapped/train", "wrapped/test"),
        ("a/b/Train", "a/b/Valid"),
        ("train/train", "test/test"),
    ],
)
def test_the_usual_names_of_a_split_are_recognised(train: str, test: str, tmp_path: Path) -> None:
    listing = read(tree(tmp_path / "top", *both_sides(train, test)))
    assert listing.class_names == ("cat", "dog")
    assert (len(listing.train), len(listing.test)) == (2, 2)
    assert all("/train" in f"/{entry.path.lower()}" for entry in listing.train)


def test_one_folder_around_the_classes_is_looked_through(tmp_path: Path) -> None:
    top = tree(tmp_path / "top", *(f"photos/{c}/{i}.jpg" for c in "ab" for i in range(5)))
    given, listing = folder.read_tree(top)
    assert given == top / "photos" and listing.class_names == ("a", "b")
    assert listing == read(top / "photos")


@pytest.mark.parametrize(
    "paths",
    [
        ["train/cat/1.jpg", "Train/cat/1.jpg", "test/cat/1.jpg"],
        ["train/cat/1.jpg", "training/cat/1.jpg", "test/cat/1.jpg"],
        ["train/cat/1.jpg", "val/cat/1.jpg", "valid/cat/1.jpg"],
        ["train/cat/1.jpg", "test/cat/1.jpg", "birds/1.jpg"],
        ["train/cat/1.jpg", "extra/1.jpg"],
        ["val/cat/1.jpg", "test/cat/1.jpg"],
        ["wrapped/Train/cat/1.jpg", "wrapped/Train/dog/1.jpg"],
        ["seg_train/cat/1.jpg", "seg_test/cat/1.jpg"],
        ["training_set/cat/1.jpg", "test_set/cat/1.jpg"],
    ],
)
def test_what_may_be_two_things_is_refused(paths: list[str], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"{tmp_path / 'top'}.*(split|side)"):
        folder.info(tree(tmp_path / "top", *paths))


def test_a_class_may_sound_like_a_side(tmp_path: Path) -> None:
    top = tree(tmp_path / "top", "bullet_train/1.jpg", "test tube/1.jpg", "train/1.jpg")
    assert read(top).class_names == ("bullet_train", "test tube", "train")


def test_one_class_in_two_spellings_of_unicode(tmp_path: Path) -> None:
    top = tree(tmp_path / "top", "train/caf\u00e9/1.jpg", "test/cafe\u0301/1.jpg")
    listing = read(top)
    assert listing.class_names == ("caf\u00e9",) and listing.test[0].label == 0
    with pytest.raises(DataError, match="Unicode"):
        read(tree(tmp_path / "both", "caf\u00e9/1.jpg", "cafe\u0301/1.jpg"))


def test_what_is_left_out_is_counted_with_the_reason(tmp_path: Path) -> None:
    top = tree(
        tmp_path / "top",
        *("a/1.jpg", "b/1.jpg", "stray.jpg", ".thumbnails/x/1.jpg", "a/@eaDir/2.jpg"),
        *("a/@eaDir/3.jpg", "__MACOSX/1.jpg", "b/._1.jpg"),
    )
    for name in ("a/notes.txt", "b/1.heic", "a/.DS_Store"):
        (top / name).touch()
    listing = read(top)
    assert len(listing.train) + len(listing.test) == 2
    assert sum(listing.left_out.values()) == 8 and len(listing.left_out) == 7
    assert "8 files left out" in listing.left_out_in_words()
    assert not read(tree(tmp_path / "tidy", "a/1.jpg", "b/1.jpg")).left_out_in_words()


def test_a_second_test_side_is_counted(tmp_path: Path) -> None:
    top = tree(tmp_path / "top", *both_sides("train", "test"), "val/cat/1.jpg", "val/dog/1.jpg")
    assert sum(read(top).left_out.values()) == 2


def test_a_path_that_is_no_text_is_refused(tmp_path: Path) -> None:
    top = tree(tmp_path / "caf\udce9", "a/1.jpg", "b/1.jpg")
    with pytest.raises(DataError, match="UTF-8"):
        folder.info(top)


def test_what_lies_around_a_wrapped_tree_is_counted(tmp_path: Path) -> None:
    top = tree(tmp_path / "top", ".x/1.jpg", "photos/a/1.jpg", "photos/b/1.jpg")
    (top / "README").touch()
    assert sum(read(top).left_out.values()) == 2


@pytest.mark.parametrize("wrap", ["", "photos/"])
def test_every_link_is_told_of_once(wrap: str, tmp_path: Path) -> None:
    top = tree(tmp_path / "top", f"{wrap}a/1.jpg", f"{wrap}b/1.jpg")
    (top / "link").symlink_to(tmp_path, target_is_directory=True)
    told: list[str] = []
    folder.read_tree(top, told.append)
    assert len(told) == 1 and "link" in told[0]


NAMES = st.sampled_from(
    [*TRAIN_NAMES, *TEST_NAMES[0], *TEST_NAMES[1], "Train", "TEST", "cat", "dog", ".x", "@eaDir"]
)
PATHS = st.lists(st.lists(NAMES, min_size=0, max_size=4), min_size=1, max_size=8)


@settings(max_examples=60, deadline=None)
@given(PATHS)
def test_no_picture_of_any_tree_is_lost_without_a_word(paths: list[list[str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        for number, parts in enumerate(paths):
            here = top.joinpath(*parts)
            here.mkdir(parents=True, exist_ok=True)
            (here / f"{number}.jpg").touch()
        try:
            listing = read(top)
        except DataError as error:
            assert str(top) in str(error)
            return
        used = [entry.path for entry in (*listing.train, *listing.test)]
        assert max(Counter(used).values()) == 1
        assert len(used) + sum(listing.left_out.values()) == len(paths)
        assert len(listing.class_names) == len(set(listing.class_names))
