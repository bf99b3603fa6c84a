"""Commands are given in an empty folder, and plug-ins are forgotten after the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark import registry


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_plugins", [])
