"""Class orders from files of any editor."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from benchmark.data.base import DataError
from benchmark.data.orders import class_order

NAMES = ["café", "dog", "wide cat"]
TEXT = "dog\nwide cat\ncafé\n"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode(),
        b"\xef\xbb\xbf" + TEXT.encode(),
        TEXT.replace("\n", "\r\n").encode(),
        unicodedata.normalize("NFD", TEXT).encode(),
        b"  dog \n\n\twide cat  \ncaf\xc3\xa9",
    ],
    ids=["plain", "mark", "windows", "decomposed", "spaces"],
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_the_names_are_found_however_they_are_written(
    content: bytes, form: str, tmp_path: Path
) -> None:
    file = tmp_path / "order.txt"
    file.write_bytes(content)
    names = [unicodedata.normalize(form, name) for name in NAMES]
    assert class_order(str(file), names) == [1, 2, 0]


@pytest.mark.parametrize("content", [TEXT.encode("latin-1"), TEXT.encode("utf-16")])
def test_another_encoding_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "order.txt"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"order\.txt"):
        class_order(str(file), NAMES)


def test_names_that_differ_in_outer_spaces_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "order.txt"
    file.write_text(" a\na\n")
    assert class_order(str(file), ["a", " a"]) == [1, 0]
    file.write_text("a \na\n")
    with pytest.raises(DataError, match="line 1"):
        class_order(str(file), ["a", " a"])
    file.write_text("b\na\n")
    assert class_order(str(file), ["a", " b"]) == [1, 0]
