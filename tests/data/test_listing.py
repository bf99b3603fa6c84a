"""Lists of images: reading and writing them, their hash, and files that are not there."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trees import picture

from benchmark.data.base import DataError, Entry, Listing
from benchmark.data.listing import ClassNames, Line, is_safe, read_list

TRAIN = [Entry("a/1.jpg", 0, "x"), Entry("a/2.jpg", 0, "y"), Entry("b/1.jpg", 1, "x")]
TEST = [Entry("a/3.jpg", 0, "x"), Entry("b/2.jpg", 1, "x")]
LISTING = Listing.of(["a", "b"], TRAIN, TEST)


def test_the_order_of_the_entries_does_not_matter() -> None:
    assert Listing.of(["a", "b"], TRAIN[::-1], TEST[::-1]) == LISTING


def test_the_hash_never_changes() -> None:
    # As `printf "class\0a\0...test\0b/2.jpg\0" | sha256sum` gives it.
    expected = "f7dd95453af02d852dd2b04937e56dd8dfbb1daf1f72cde2616428b06fd60744"
    assert LISTING.names_hash() == expected


@pytest.mark.parametrize(
    "other",
    [
        Listing.of(["a", "c"], TRAIN, TEST),
        Listing.of(["b", "a"], TRAIN, TEST),
        Listing.of(["a", "b"], TRAIN[:-1], TEST),
        Listing.of(["a", "b"], TRAIN[:-1], [*TEST, TRAIN[-1]]),
        Listing.of(["a", "b"], [*TRAIN, TRAIN[0]], TEST),
        Listing.of(["a", "b"], [*TRAIN[:-1], Entry("b/1.JPG", 1, "x")], TEST),
        Listing.of(["a", "b"], [*TRAIN[:-1], Entry("b/1.jpg", 0, "x")], TEST),
        Listing.of(["a", "b"], [*TRAIN[:-1], Entry("b/1.jpg", 1, "y")], TEST),
        Listing.of(["a", "b", "c"], TRAIN, TEST),
    ],
)
def test_the_hash_changes_with_every_name_label_domain_and_side(other: Listing) -> None:
    assert other.names_hash() != LISTING.names_hash()


def test_names_cannot_be_shifted_between_fields() -> None:
    one = Listing.of(["a"], [Entry("p", 1, "1d")], [])
    assert one.names_hash() != Listing.of(["a"], [Entry("p", 11, "d")], []).names_hash()
    assert one.names_hash() != Listing.of(["a"], [Entry("p1", 1, "d")], []).names_hash()


def test_the_hash_is_that_of_the_composed_names() -> None:
    hashes = {
        Listing.of([form("é")], [Entry(form("é/ü.jpg"), 0, "")], []).names_hash()
        for form in (
            lambda name: unicodedata.normalize("NFC", name),
            lambda name: unicodedata.normalize("NFD", name),
        )
    }
    assert len(hashes) == 1


def test_names_with_spaces_and_letters_of_any_alphabet_are_read(tmp_path: Path) -> None:
    names = ["a/1.jpg", "b c/d  e.jpg", "é/\u00fc.png"]
    text = "".join(f"{name} {i}\n" for i, name in enumerate(names))
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    assert [line[:2] for line in read_list(tmp_path / "list.txt")] == [
        (name, i) for i, name in enumerate(names)
    ]


def test_lists_of_other_systems_are_read(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_bytes(b"\xef\xbb\xbfa/1.jpg 0\r\n\r\nb/2.jpg\t7 \r\n")
    assert read_list(file) == [Line("a/1.jpg", 0, file, 1), Line("b/2.jpg", 7, file, 3)]


@pytest.mark.parametrize(
    "line",
    [
        "a/1.jpg",
        "3",
        "a/1.jpg x",
        "a/1.jpg -1",
        "a/1.jpg 1.5",
        "a/1.jpg ٣",
        "a/1.jpg 99999999999999",
        "/etc/passwd 0",
        "../a/1.jpg 0",
        "a//1.jpg 0",
    ],
)
def test_a_malformed_line_is_named(line: str, tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text(f"a/1.jpg 0\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"list\.txt, line 2: .*<path> <label>"):
        read_list(file)


@given(st.text(alphabet="a./\\ \0é", max_size=12))
def test_no_path_of_a_list_leads_out_of_its_folder(path: str) -> None:
    parts = path.split("/")
    leads_out = bool({"", ".", ".."} & set(parts)) or "\\" in path or "\0" in path
    assert is_safe(path) == (not leads_out)


def test_names_that_only_begin_with_dots_are_good(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("..a/b..c/...x 0\n")
    assert read_list(tmp_path / "list.txt")[0].path == "..a/b..c/...x"


def test_a_list_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"caf\xe9 0\n")
    with pytest.raises(DataError, match=r"list\.txt: .*UTF-8"):
        read_list(tmp_path / "list.txt")
    with pytest.raises(DataError, match=r"nothing\.txt: cannot be read: No such file"):
        read_list(tmp_path / "nothing.txt")


# --- class names -------------------------------------------------------------------------------


def test_class_names_come_in_the_order_of_their_labels(tmp_path: Path) -> None:
    names = ClassNames(3)
    for number, (label, name) in enumerate([(2, "c"), (0, "Z"), (2, "c"), (1, "a")], start=1):
        names.add(Line("", label, tmp_path / "l.txt", number), name)
    assert names.in_order(tmp_path) == ("Z", "a", "c")


@pytest.mark.parametrize(
    ("label", "name", "fault"),
    [
        (0, "b", r"two\.txt, line 9: label 0 is class 'b'.*'a' in .*one\.txt, line 4"),
        (1, "a", r"two\.txt, line 9: class 'a' has label 1.*0 in .*one\.txt, line 4"),
        (3, "c", r"two\.txt, line 9: label 3; labels go from 0 to 2"),
    ],
)
def test_lists_that_disagree_are_both_named(
    label: int, name: str, fault: str, tmp_path: Path
) -> None:
    names = ClassNames(3)
    names.add(Line("", 0, tmp_path / "one.txt", 4), "a")
    with pytest.raises(DataError, match=fault):
        names.add(Line("", label, tmp_path / "two.txt", 9), name)


def test_a_label_left_out_is_named(tmp_path: Path) -> None:
    names = ClassNames(3)
    with pytest.raises(DataError, match="no image"):
        names.in_order(tmp_path)
    names.add(Line("", 0, tmp_path / "l.txt", 1), "a")
    names.add(Line("", 2, tmp_path / "l.txt", 2), "c")
    with pytest.raises(DataError, match="label 1 has no image"):
        names.in_order(tmp_path)


# --- files -------------------------------------------------------------------------------------


def test_files_are_decoded_on_demand(tmp_path: Path) -> None:
    for number, entry in enumerate([*TRAIN, *TEST]):
        picture(tmp_path / entry.path, number)
    dataset = LISTING.to_dataset("some", tmp_path)
    assert (dataset.name, dataset.class_names) == ("some", ("a", "b"))
    assert dataset.train.labels.tolist() == [0, 0, 1] and dataset.train.labels.dtype == np.int64
    assert dataset.train.domains == ("x", "y", "x")
    image = dataset.test.images.read(1)
    assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3


def test_missing_files_are_counted_and_the_first_named(tmp_path: Path) -> None:
    entries = [Entry(f"a/{i}.jpg", 0, "") for i in range(8)]
    listing = Listing.of(["a"], entries[:6], entries[6:])
    for i in (0, 4):
        picture(tmp_path / f"a/{i}.jpg")
    (tmp_path / "a" / "5.jpg").mkdir()  # a folder is no file
    (tmp_path / "a" / "6.jpg").symlink_to("gone.jpg")
    with pytest.raises(DataError, match=r"6 of 8 listed images.*'a/1.jpg', 'a/2.jpg', 'a/3.jpg',"):
        listing.to_dataset("some", tmp_path)


def test_a_missing_folder_is_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"5 of 5 listed images are missing: 'a/1.jpg'"):
        LISTING.to_dataset("some", tmp_path)
    (tmp_path / "a").write_text("a file where a folder should be")
    with pytest.raises(DataError, match="5 of 5"):
        LISTING.to_dataset("some", tmp_path)


def test_letters_of_another_case_are_another_file(tmp_path: Path) -> None:
    for entry in [*TRAIN, *TEST]:
        picture(tmp_path / entry.path)
    listing = Listing.of(["a", "b"], [Entry("a/1.JPG", 0, "")], TEST)
    assert listing.missing_files(tmp_path) == ["a/1.JPG"]
