"""One registry finds entries of every kind: the project's files, plug-in files, this process."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import registry
from benchmark.data import DATASETS
from benchmark.registry import METHODS, PluginError, Registry, UnknownNameError, add_plugin

METHOD = (
    'from benchmark import Method, register\n\n\n@register("{0}")\nclass M(Method):\n    """A."""\n'
)


@pytest.fixture(autouse=True)
def _own_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugins", [])


@pytest.fixture
def kinds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[int]:
    """A registry whose folder is this test's own."""
    monkeypatch.setattr(registry, "_registries", {})
    monkeypatch.setattr(registry, "KINDS", ("THINGS",))
    made: Registry[int] = Registry("thing", variable="THINGS", package="", group="clbench.things")
    made.folder = tmp_path
    return made


def test_names_are_found_without_running_a_file(kinds: Registry[int], tmp_path: Path) -> None:
    text = 'raise SystemExit\nX = THINGS.add("one", 1)\n\n\n'
    text += '@THINGS.register("two")\ndef f():\n    "F."\n'
    (tmp_path / "things.py").write_text(text)
    (tmp_path / "_hidden.py").write_text('X = THINGS.add("three", 3)\n')
    found = kinds.sources()
    assert {name: found[name].summary for name in found} == {"one": "", "two": "F."}


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ("def M():\n    pass\n", "is for subclasses of Method, not <function M"),
        ("class M:\n    pass\n", "is for subclasses of Method, not <class"),
        ("class M(Method):\n    Config = dict\n", "M.Config must be a subclass of MethodConfig"),
    ],
)
def test_what_is_no_method_cannot_be_registered(body: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "odd.py"
    file.write_text(f'from benchmark import Method, register\n\n\n@register("odd")\n{body}')
    add_plugin(file)
    with pytest.raises(PluginError, match=rf"odd\.py, line 4: .*{fault}"):
        METHODS.get("odd")


def test_an_unknown_name_is_told_with_the_nearest_one() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'inflora'"):
        METHODS.get("inflorra")


def test_an_entry_of_this_process_needs_no_file(kinds: Registry[int]) -> None:
    kinds.add("here", 7)
    assert kinds.get("here") == 7
    assert kinds.names() == ["here"]


def test_one_name_in_two_files_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(METHOD.format("inflora"))
    with pytest.raises(PluginError, match="defined twice"):
        add_plugin(file)


def test_a_plugin_may_bring_several_kinds(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from benchmark.data import DATASETS\n"
        + METHOD.format("candidate")
        + '\n\nINFO = DATASETS.add("mine", object())\n'
    )
    assert {(s.registry, s.name) for s in add_plugin(file)} == {
        ("METHODS", "candidate"),
        ("DATASETS", "mine"),
    }
    assert "mine" in DATASETS
    assert METHODS.get("candidate").name == "candidate"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("x = 1\n", "nothing is registered"),
        ("def broken(:\n", "cannot be read"),
        ("x = 1 / 0\n" + METHOD.format("candidate"), "line 1: cannot be imported"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_named(text: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(PluginError, match=f"mine.py.*{fault}"):
        add_plugin(file)
        METHODS.get("candidate")


def test_helpers_of_two_plugins_with_one_name_are_not_confused(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "shared_helper_name.py").write_text("value = 1\n")
        text = "import shared_helper_name\n" + METHOD.format(f"candidate_{folder}")
        (tmp_path / folder / f"{folder}.py").write_text(text)
        add_plugin(tmp_path / folder / f"{folder}.py")
    METHODS.get("candidate_one")
    with pytest.raises(PluginError, match="rename the file next to the plug-in"):
        METHODS.get("candidate_two")
