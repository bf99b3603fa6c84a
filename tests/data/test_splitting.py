"""Our own split: the rule as it is written down, and what must not matter to it."""

from __future__ import annotations

import hashlib
import random
import unicodedata

import pytest

from benchmark.data.tree import held_count, rank, split_class

FILES = [f"art_{i}.jpg" for i in range(37)]


def by_the_rule(class_name: str, files: list[str]) -> tuple[set[str], set[str]]:
    """The documented rule once more, in other words."""
    ranked = sorted(files, key=lambda f: hashlib.sha256(f"{class_name}/{f}".encode()).digest())
    count = int(0.2 * len(files) + 0.5)
    if len(files) >= 2:
        count = max(count, 1)
    return set(ranked[count:]), set(ranked[:count])


@pytest.mark.parametrize("images", [1, 2, 3, 4, 7, 8, 12, 13, 37])
def test_it_is_the_documented_rule(images: int) -> None:
    train, test = split_class("n02165456", FILES[:images])
    assert (set(train), set(test)) == by_the_rule("n02165456", FILES[:images])
    assert len(train) + len(test) == images and not set(train) & set(test)


def test_it_never_changes() -> None:
    # Written down when the rule was made: results of other years must stay comparable.
    files = [f"{kind}_{i}.jpg" for kind in ("art", "sketch", "toy") for i in range(5)]
    assert split_class("n02165456", files)[1] == ["sketch_1.jpg", "art_3.jpg", "sketch_4.jpg"]
    assert rank("n02165456", "sketch_1.jpg").startswith("2e0b0525")  # by sha256sum


@pytest.mark.parametrize(
    ("images", "expected"),
    [(0, 0), (1, 0), (2, 1), (3, 1), (7, 1), (8, 2), (12, 2), (13, 3), (150, 30), (10**6, 200_000)],
)
def test_the_number_of_test_images(images: int, expected: int) -> None:
    assert held_count(images) == expected


def test_the_order_of_the_entries_does_not_matter() -> None:
    shuffled = FILES.copy()
    random.Random(3).shuffle(shuffled)
    assert split_class("a", shuffled) == split_class("a", FILES)


def test_the_class_is_part_of_the_rank() -> None:
    assert split_class("a", FILES) != split_class("b", FILES)


def test_case_counts() -> None:
    assert rank("a", "A.jpg") != rank("a", "a.jpg")
    assert rank("a", "a.JPG") != rank("a", "a.jpg")


def test_decomposed_names_of_a_mac_split_as_composed_ones() -> None:
    names = [f"é{i}_ü.jpg" for i in range(20)]
    other = [unicodedata.normalize("NFD", name) for name in names]
    assert not set(names) & set(other)
    for ours, theirs in zip(split_class("Ä", names), split_class("A\u0308", other), strict=True):
        assert ours == [unicodedata.normalize("NFC", name) for name in theirs]


def test_two_spellings_of_one_name_have_a_fixed_order() -> None:
    pair = ["\u00e9.jpg", "e\u0301.jpg"]
    assert split_class("a", pair) == split_class("a", pair[::-1])


def test_names_that_are_no_utf_8_have_a_rank() -> None:
    name = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    assert rank("a", name) == hashlib.sha256(b"a/caf\xe9.jpg").hexdigest()
