"""A server for every test, and no proxy or switch of the machine in the way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer, serve

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # miniatures.py


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "CLBENCH_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with serve() as running:
        yield running
