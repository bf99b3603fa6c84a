"""Ports: where small trained modules are plugged into a frozen network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from torch import Tensor, nn


class Port(Protocol):
    """A slot for one module, such as an `AdaptedQKV`.

    The modules belong to the method that plugs them in; they are not part of the backbone.
    """

    def use(self, module: Any, /) -> None:
        """Set the module in use; None restores the original network."""


class ParallelPort:
    """Computes host(x) + module(x) for the module in use.

    A forward hook, so that the host's parameters keep their names; a plain object, so that
    `deepcopy` copies it with the network.
    """

    def __init__(self, host: nn.Module) -> None:
        self.module: nn.Module | None = None
        host.register_forward_hook(self)

    def use(self, module: nn.Module | None, /) -> None:
        """Set the module in use, or None."""
        self.module = module

    def __call__(self, host: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Forward hook of the host: tokens [B, N, d] in, tokens [B, N, d] out."""
        if self.module is None:
            return output
        added: Tensor = output + self.module(inputs[0])
        return added


def plug(ports: Sequence[Port], modules: Iterable[nn.Module]) -> None:
    """Use one module in each port."""
    for port, module in zip(ports, modules, strict=True):
        port.use(module)
