"""Places in a frozen network where a small trained module is plugged in and exchanged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from torch import Tensor, nn


class Port(Protocol):
    """A place for one module, such as an `AdaptedQKV`.

    The modules belong to the method that plugs them in; they are no part of the backbone.
    """

    def use(self, module: Any, /) -> None:
        """Use this module from now on; None leaves the network as it was."""


class ParallelPort:
    """Adds to a host's output what the module in use makes of the host's input.

    A hook of the host, which keeps its parameters and their names; a plain object, so that it is
    copied along with the network by `deepcopy`.
    """

    def __init__(self, host: nn.Module) -> None:
        self.module: nn.Module | None = None
        host.register_forward_hook(self)

    def use(self, module: nn.Module | None, /) -> None:
        """Use this module from now on, or none."""
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
