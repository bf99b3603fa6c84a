"""The glossary: every name in code that it gives exists."""

from __future__ import annotations

import importlib
import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

GLOSSARY = (Path(__file__).resolve().parents[2] / "docs" / "glossary.md").read_text("utf-8")
ROWS = re.findall(r"^\| \*\*(.+?)\*\* \|.*\| (?:`(\S+)` )?\|$", GLOSSARY, flags=re.MULTILINE)


def exists(name: str) -> bool:
    """Whether a dotted name is a module, or an attribute or dataclass field in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for part in parts[length:]:
            if is_dataclass(found) and part in {field.name for field in fields(found)}:
                return part == parts[-1]
            if not hasattr(found, part):
                return False
            found = getattr(found, part)
        return True
    return False


def test_every_term_is_explained_once() -> None:
    terms = [term for term, _ in ROWS]
    assert len(terms) == len(re.findall(r"^\| \*\*", GLOSSARY, flags=re.MULTILINE))
    assert len(terms) == len(set(terms)) >= 25


@pytest.mark.parametrize(("term", "name"), [row for row in ROWS if row[1]])
def test_the_name_in_code_exists(term: str, name: str) -> None:
    assert exists(name), f"{term}: docs/glossary.md names {name}"


def test_a_name_that_does_not_exist_is_noticed() -> None:
    assert not exists("benchmark.spec.RunSpec.nothing")
    assert not exists("benchmark.nothing")
