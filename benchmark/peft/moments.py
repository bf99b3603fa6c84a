"""Second moments of layer inputs, accumulated by forward hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from types import TracebackType

import torch
from torch import Tensor, nn


class _ForwardStoppedError(Exception):
    """Ends a forward pass of `InputMoments.gather` at the input of the last layer."""


class InputMoments:
    """Context manager that sums x x^T over all tokens entering the layers, in forward order.

    Products are one matrix product per batch on the layer's device, in float32 (float64 for a
    float64 model) also under autocast, and are summed in float64.

    counts: tokens seen per layer; matrices(): the means x x^T / n, float64 [d, d] per layer.
    """

    def __init__(self, layers: Iterable[nn.Module]) -> None:
        self._layers = list(layers)
        self._sums: list[Tensor | None] = [None] * len(self._layers)
        self._hooks: list[torch.utils.hooks.RemovableHandle] = []
        self._stop = False
        self.counts = [0] * len(self._layers)

    def gather(self, forward: Callable[[Tensor], Tensor], images: Tensor) -> None:
        """Run `forward(images)` up to the last of the layers."""
        self._stop = True
        with suppress(_ForwardStoppedError):
            forward(images)
        self._stop = False

    def __enter__(self) -> InputMoments:
        self._hooks = [
            layer.register_forward_pre_hook(self._hook(index))
            for index, layer in enumerate(self._layers)
        ]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for hook in self._hooks:
            hook.remove()

    def matrices(self) -> list[Tensor]:
        """Mean of x x^T of every layer, float64 [d, d]."""
        found = []
        for total, count in zip(self._sums, self.counts, strict=True):
            if total is None:
                raise ValueError("no input reached a layer: the task has no training images")
            mean = total / count
            found.append((mean + mean.T) / 2)  # exactly symmetric despite rounding
        return found

    def _hook(self, index: int) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def add(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            tokens = inputs[0].detach().reshape(-1, inputs[0].shape[-1])
            if tokens.dtype != torch.float64:
                tokens = tokens.float()
            # Autocast would turn the product itself into bfloat16.
            with torch.autocast(tokens.device.type, enabled=False):
                product = tokens.T @ tokens
            total = self._sums[index]
            if total is None:
                self._sums[index] = product.double()
            else:
                total += product
            self.counts[index] += len(tokens)
            if self._stop and index == len(self._layers) - 1:
                raise _ForwardStoppedError

        return add
