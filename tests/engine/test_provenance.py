"""A method runs again when anything changes that its behaviour can come from, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import registry, sources
from benchmark.engine import provenance
from benchmark.registry import METHODS, ROOT, add_plugin

LAE = {"lae", "lae_conv", "lae_ties", "lae_conv_ties"}
INFLORA = {name for name in METHODS.names() if name.startswith("inflora")}
ALL = set(METHODS.names())
PLUGIN = '''"""A method with a helper file."""

from clbench import Method, register
from helper_of_the_plugin import scale


@register("candidate")
class Candidate(Method):
    """Trains everything."""

    factor = scale()
'''
HELPER = '"""Helps."""\nfrom deeper_helper import value\n\n\ndef scale():\n    return value\n'


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch):
    """Let a source file read as if an edit had been made in it."""

    def make(file: Path, old: str, new: str) -> None:
        original = sources.read

        def read(path: Path) -> str:
            text = original(path)
            if path != file:
                return text
            assert old in text, f"{file} has no {old!r}"
            return text.replace(old, new)

        monkeypatch.setattr(sources, "read", read)
        provenance._runner_modules.cache_clear()

    yield make
    provenance._runner_modules.cache_clear()


def keys() -> dict[str, str]:
    return {name: provenance.method_hash(source) for name, source in METHODS.sources().items()}


def moved(before: dict[str, str]) -> set[str]:
    after = keys()
    return {name for name in after if after[name] != before[name]}


@pytest.mark.parametrize(
    ("module", "old", "new", "expected"),
    [
        pytest.param("benchmark/method.py", "F.cross_entropy(", "2 * F.cross_entropy(", ALL,
                     id="the contract"),
        pytest.param("benchmark/peft/subspace.py", "import torch\n", "import torch\nX=1\n", INFLORA,
                     id="a building block"),
        pytest.param("methods/inflora.py", "import torch\n", "import torch\nX=1\n", INFLORA,
                     id="a method others build on"),
        pytest.param("methods/sequential.py", "@register", "X = 1\n\n\n@register", {"sequential"},
                     id="a method alone"),
        pytest.param("benchmark/peft/merging.py", "import torch\n", "import torch\nX=1\n", LAE,
                     id="a building block behind another module"),
        pytest.param("benchmark/registry.py", "import ast\n", "import ast\nX = 1\n", set(),
                     id="the registry"),
        pytest.param("benchmark/engine/trainer.py", "import torch\n", "import torch\nX=1\n", set(),
                     id="the trainer: its version is in the specification"),
        pytest.param("benchmark/report/build.py", "from __future__", "X=1\nfrom __future__", set(),
                     id="the report"),
        pytest.param("benchmark/method.py", '"""The whole', '"""The, whole', set(),
                     id="a comma in a docstring"),
        pytest.param("methods/inflora.py", "import torch\n", "import torch  # why\n\n\n", set(),
                     id="a comment and empty lines"),
    ],
)  # fmt: skip
def test_what_moves_when_one_line_changes(
    module: str, old: str, new: str, expected: set[str], edit
) -> None:
    before = keys()
    edit(ROOT / module, old, new)
    assert moved(before) == expected


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Writes a plug-in of three files into a folder and makes it available."""

    def make(folder: str) -> Path:
        place = tmp_path / folder
        place.mkdir()
        (place / "candidate.py").write_text(PLUGIN)
        (place / "helper_of_the_plugin.py").write_text(HELPER)
        (place / "deeper_helper.py").write_text("value = 1\n")
        monkeypatch.setattr(registry, "_plugins", [])
        add_plugin(place / "candidate.py")
        return place

    return make


@pytest.mark.parametrize(
    ("file", "old", "new", "moves"),
    [
        ("candidate.py", "factor = scale()", "factor = -scale()", True),
        ("helper_of_the_plugin.py", "return value", "return -value", True),
        ("deeper_helper.py", "value = 1", "value = 2", True),
        ("helper_of_the_plugin.py", "Helps", "Helps, much", False),
    ],
)
def test_files_beside_a_plugin_count(file, old, new, moves, plugin, edit) -> None:
    place = plugin("here")
    before = keys()
    edit(place / file, old, new)
    assert moved(before) == ({"candidate"} if moves else set())


def test_a_plugin_that_imports_the_public_names_alone_has_the_contract_in_its_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit
) -> None:
    file = tmp_path / "bare.py"
    file.write_text(PLUGIN.replace("from helper_of_the_plugin import scale\n", "scale = int\n"))
    monkeypatch.setattr(registry, "_plugins", [])
    add_plugin(file)
    before = keys()
    assert "benchmark.method" in provenance.source_hashes(METHODS.source("candidate"))
    edit(ROOT / "benchmark/method.py", "F.cross_entropy(", "2 * F.cross_entropy(")
    assert moved(before) >= {"candidate", "sequential", "joint", "linear_probe"}


@pytest.mark.parametrize(
    ("file", "statement"),
    [
        ("tools/__init__.py", "from tools.deep.part import x"),
        ("tools/deep/part.py", "from tools.deep.part import x"),
        ("tools/deep/part.py", "import tools.deep.part as part"),
        ("tools/deep/other.py", "def late():\n    from tools.deep import other"),
        ("tools/deep/beside.py", "from tools.deep import part"),  # by a relative import
    ],
)
def test_a_package_beside_a_plugin_counts(
    file: str, statement: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edit
) -> None:
    for name in ("__init__", "deep/__init__", "deep/part", "deep/other", "deep/beside"):
        path = tmp_path / "tools" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("from . import beside\nx = 1\n" if name == "deep/part" else "x = 1\n")
    (tmp_path / "mine.py").write_text(
        PLUGIN.replace("from helper_of_the_plugin import scale", f"scale = int\n{statement}")
    )
    monkeypatch.setattr(registry, "_plugins", [])
    add_plugin(tmp_path / "mine.py")
    before = keys()
    edit(tmp_path / file, "x = 1", "x = 2")
    assert moved(before) == {"candidate"}


def test_where_a_plugin_lies_does_not_count(plugin) -> None:
    plugin("here")
    before = keys()["candidate"]
    plugin("there")
    assert keys()["candidate"] == before


def test_modules_of_a_package_count_with_relative_imports(tmp_path: Path) -> None:
    package = tmp_path / "my_package"
    (package / "parts").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "parts" / "__init__.py").write_text("")
    (package / "parts" / "math.py").write_text("value = 1\n")
    (package / "method.py").write_text(
        "from typing import TYPE_CHECKING\nimport torch\nfrom .parts import math\n"
        "if TYPE_CHECKING:\n    from my_package import unused\n"
    )
    (package / "unused.py").write_text("")
    found = sources.closure("my_package.method", package / "method.py")
    assert set(found) == {"my_package", "my_package.method", "my_package.parts",
                          "my_package.parts.math"}  # fmt: skip


def test_libraries_beside_an_installed_package_are_not_followed(tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    (packages / "other_library").mkdir(parents=True)
    (packages / "other_library" / "__init__.py").write_text("")
    (packages / "mine.py").write_text("import other_library\n")
    assert set(sources.closure("mine", packages / "mine.py")) == {"mine"}


def test_recorded_sources_name_the_runner_the_contract_and_the_method() -> None:
    recorded = provenance.source_hashes(METHODS.source("inflora"))
    assert recorded.keys() >= {
        "benchmark.engine.trainer", "benchmark.data.stream", "benchmark.method",
        "benchmark.peft.lora", "methods.inflora",
    }  # fmt: skip


def test_recorded_sources_see_a_change_of_the_runner(edit) -> None:
    before = provenance.source_hashes(METHODS.source("ncm"))
    edit(ROOT / "benchmark/engine/trainer.py", "import torch\n", "import torch\nX=1\n")
    after = provenance.source_hashes(METHODS.source("ncm"))
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {"benchmark.engine.trainer"}
