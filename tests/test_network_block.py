"""The tests' own guard: nothing leaves the machine."""

from __future__ import annotations

import socket

import pytest


def test_connecting_elsewhere_raises() -> None:
    with socket.socket() as plain, pytest.raises(RuntimeError, match="may not reach the network"):
        plain.connect(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match="may not reach the network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)


def test_loopback_is_open() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        socket.create_connection(server.getsockname(), timeout=5).close()
