"""Whatever a plug-in file holds: a method, or an error that names the file and the line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark import registry
from benchmark.method import Method
from benchmark.registry import METHODS, PluginError, add_plugin

SMALL = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
LINES = [
    "from benchmark import Method, MethodConfig, register, setting",
    "import torch",
    "import nowhere",
    '@register("any")',
    "@register(3)",
    "class M(Method):",
    "class M:",
    "def M():",
    '    """A method."""',
    "    Config = 3",
    "    Config = MethodConfig",
    "    pass",
    "X = METHODS.add('any', 3)",
    "raise OSError('disk')",
    "raise SystemExit",
    "1 / 0",
]


@SMALL
@given(lines=st.lists(st.sampled_from(LINES), max_size=7))
def test_any_lines(lines: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _load(("\n".join(lines) + "\n").encode(), tmp_path, monkeypatch)


@SMALL
@given(content=st.binary(max_size=80))
def test_any_bytes(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _load(content, tmp_path, monkeypatch)


def _load(content: bytes, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = folder / "any_plugin.py"
    file.write_bytes(content)
    monkeypatch.setattr(registry, "_plugins", [])
    monkeypatch.delitem(METHODS._loaded, "any", raising=False)
    try:
        for source in add_plugin(file):
            if source.registry == "METHODS":
                assert issubclass(METHODS.get(source.name), Method)
    except PluginError as error:
        assert "any_plugin.py" in str(error)
