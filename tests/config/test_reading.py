"""YAML as the project reads and writes it."""

from __future__ import annotations

from typing import Any

import pytest

from benchmark.config.reading import dump, parse


@pytest.mark.parametrize(
    ("text", "value"), [("1e-3", 0.001), ("2E5", 2e5), ("1.5e+2", 150.0), ("66e86672e18fb403",) * 2]
)
def test_numbers_with_an_exponent_are_numbers_and_nothing_else_is(text: str, value: Any) -> None:
    assert parse(text) == value
    assert type(parse(text)) is type(value)


@pytest.mark.parametrize("text", ["66e86672", "66e86672e18fb403", "1e-3", "0123", "yes", "1_000e2"])
def test_what_is_written_is_read_back(text: str) -> None:
    content = {"key": text, "values": [text, 1e-05, 3, None, True]}
    assert parse(dump(content)) == content
