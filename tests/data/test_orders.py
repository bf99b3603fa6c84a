"""Class orders from files of any editor."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.base import DataError
from benchmark.data.orders import class_order, seed_of

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


# -- orders of published runs --------------------------------------------------------------------

TWO_HUNDRED = [f"class {index:03d}" for index in range(200)]


def test_the_order_of_seed_1993_is_that_of_inflora_s_log() -> None:
    found = class_order("shuffled:1993", TWO_HUNDRED)
    assert found[:3] == [168, 136, 51]  # in the official log
    state = np.random.get_state()
    np.random.seed(1993)
    assert found == np.random.permutation(200).tolist()  # as InfLoRA and LAMDA-PILOT draw it
    np.random.set_state(state)


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 1993])
def test_the_orders_of_coda_prompt_are_python_s(seed: int) -> None:
    state = random.getstate()
    random.seed(seed)
    expected = list(range(200))
    random.shuffle(expected)
    random.setstate(state)
    assert class_order(f"coda:{seed}", TWO_HUNDRED) == expected
    assert random.getstate() == state
    assert expected != class_order(f"shuffled:{seed}", TWO_HUNDRED)


def test_the_first_repeat_of_coda_prompt_is_not_shuffled() -> None:
    assert class_order("coda:0", TWO_HUNDRED) == list(range(200))


def test_an_order_of_coda_prompt_never_changes() -> None:
    assert class_order("coda:1", TWO_HUNDRED[:10]) == [6, 8, 9, 7, 5, 3, 0, 4, 1, 2]


@pytest.mark.parametrize("order", ["coda", "coda:", "coda:x", "coda:-1", "Coda:1", "code:1"])
def test_what_is_no_order_is_refused(order: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="natural, shuffled:SEED, coda:SEED"):
        class_order(order, TWO_HUNDRED)
    assert seed_of(order) is None


def test_a_seed_has_to_be_one() -> None:
    with pytest.raises(DataError, match="from 0 to 4294967295"):
        class_order(f"coda:{2**32}", TWO_HUNDRED)
