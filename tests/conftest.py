"""What every test shares: no network, and a cache of its own."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from typing import Any

import pytest

# Programs that the tests start are kept from the network by the libraries' own switches.
os.environ["HF_HUB_OFFLINE"] = "1"
_cache = tempfile.TemporaryDirectory(prefix="clbench-cache-")
os.environ["CLBENCH_CACHE"] = _cache.name


class NetworkBlockedError(RuntimeError):
    """A test tried to leave the machine."""


def _check(address: Any) -> None:
    if not isinstance(address, tuple):  # a socket of this machine's file system
        return
    host = str(address[0])
    try:
        local = ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        local = host in ("localhost", "")
    if not local:
        raise NetworkBlockedError(f"tests may not reach the network: {host}")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Any:
    """Only the loopback address can be reached."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            original = getattr(socket.socket, name)

            def guarded(self: socket.socket, address: Any, _original: Any = original) -> Any:
                _check(address)
                return _original(self, address)

            patch.setattr(socket.socket, name, guarded)
        yield
