"""Two methods with and without settings, for the tests of suites."""

from __future__ import annotations

import pytest

from benchmark import registry

PLUGIN = '''
"""Two methods for the tests of the configuration."""
from dataclasses import dataclass
from benchmark import Method, register, setting
from benchmark.method import MethodConfig


@register("toy_rank")
class ToyRank(Method):
    """Has settings of every kind."""

    @dataclass(frozen=True)
    class Config(MethodConfig):
        rank: int = setting(4, "width", low=1)
        scale: float = setting(0.5, "factor", low=0)
        mode: str = setting("plain", "form", choices=("plain", "fancy"))
        layers: tuple[int, ...] = setting((0, 1), "which")


@register("toy_plain")
class ToyPlain(Method):
    """Has no settings."""
'''


@pytest.fixture
def toy_methods(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugins", [])
    file = tmp_path_factory.mktemp("plugin") / "toy_methods.py"
    file.write_text(PLUGIN)
    registry.add_plugin(file)
