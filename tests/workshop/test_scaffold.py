"""The template is a method that passes its exam."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import registry
from benchmark.workshop.exam import exam
from benchmark.workshop.scaffold import ScaffoldError, new_method


def test_template_passes_the_exam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugins", [])
    monkeypatch.chdir(tmp_path)
    path = new_method("my_idea")
    assert path == tmp_path / "my_idea.py"
    assert [source.name for source in registry.add_plugin(path)] == ["my_idea"]
    failed = [verdict for verdict in exam("my_idea") if not verdict.passed]
    assert not failed


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "idea.py"
    path.write_text("mine")
    with pytest.raises(ScaffoldError, match="exists already"):
        new_method("idea", path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("name", ["My", "my-idea", "class", "1st"])
def test_names_that_cannot_be_used(tmp_path: Path, name: str) -> None:
    with pytest.raises(ScaffoldError, match="cannot name a method"):
        new_method(name, tmp_path / "x.py")
