"""Whatever names a class order, and whatever its file holds: an order or an error in words."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from benchmark.data.base import DataError
from benchmark.data.orders import class_order

SMALL = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
NAMES = ["café", "dog", " dog", "wide cat", "7"]


def check(order: str) -> list[int] | None:
    try:
        found = class_order(order, NAMES)
    except DataError as error:
        assert str(error).strip()
        return None
    assert sorted(found) == list(range(len(NAMES)))
    return found


@SMALL
@given(order=st.text(max_size=12) | st.text(max_size=12).map(lambda text: f"shuffled:{text}"))
@example(order="shuffled:²")
@example(order="shuffled:٣")
@example(order=f"shuffled:{2**32}")
@example(order="a\0b")
@example(order="a" * 5000)
@example(order="shuffled:" + "9" * 5000)
def test_any_name(order: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = check(order)
    assert found is None or order == "natural" or order.removeprefix("shuffled:").isascii()


@SMALL
@given(
    content=st.binary(max_size=40)
    | st.lists(st.sampled_from([*NAMES, "", "DOG", "\ufeffdog", "cafe\u0301"]), max_size=7).map(
        lambda names: "\n".join(names).encode()
    )
)
def test_any_content(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "order.txt"
    file.write_bytes(content)
    check(str(file))


@SMALL
@given(order=st.permutations(NAMES), ending=st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_permutation_is_read(order: list[str], ending: str, tmp_path: Path) -> None:
    file = tmp_path / "order.txt"
    file.write_bytes(ending.join(order).encode())
    assert check(str(file)) == [NAMES.index(name) for name in order]
