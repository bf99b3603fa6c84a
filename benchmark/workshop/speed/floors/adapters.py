"""Floors of the adapters beside attention and MLP, linear and convolutional."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.workshop.speed.floors.floor import Floor, Start
from benchmark.workshop.speed.floors.vit import Beside, Extra


def adapter_floor(start: Start, msa: str, mlp: str, average: float | None = None) -> Floor:
    """Adapters ("conv", "linear" or "none") beside the sub-layers of the first blocks.

    average: decay of a moving average of them.
    """
    kinds = [(sub, kind) for sub, kind in (("msa", msa), ("mlp", mlp)) if kind != "none"]
    beside: dict[tuple[int, str], Beside] = {}
    for i in range(start.count("online")):
        sub, kind = kinds[i % len(kinds)]
        new = _conv if kind == "conv" else _linear
        beside[i // len(kinds), sub] = new(start, f"online.{i}")
    return Floor(start, lambda x: (start.net.tokens(x, beside=beside)[:, 0], None), average)


def _linear(start: Start, name: str) -> Beside:
    """s (W2 gelu(W1 h + b1) + b2)."""
    w1, b1, w2, b2, scale = _tensors(start, name)

    def beside(h: Tensor) -> Extra:
        z = F.gelu(F.linear(h, w1, b1))
        return Extra(z.flatten(0, 1), scale * w2, scale * b2)

    return beside


def _conv(start: Start, name: str) -> Beside:
    """s (W2 phi(conv(phi(W1 h + b1))) + b2), the class token an image of one pixel."""
    w1, b1, w2, b2, scale = _tensors(start, name)
    kernel, bias = start[f"{name}.conv.weight"], start[f"{name}.conv.bias"]
    middle, share = kernel.shape[-1] // 2, start.config.dropout

    def beside(h: Tensor) -> Extra:
        z = _phi(F.linear(h, w1, b1))
        side = math.isqrt(z.shape[1] - 1)
        grid = z[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        patches = F.conv2d(grid, kernel, bias, padding=middle).flatten(2).transpose(1, 2)
        token = F.linear(z[:, :1], kernel[:, :, middle, middle], bias)
        z = F.dropout(_phi(torch.cat([token, patches], dim=1)), share)
        return Extra(z.flatten(0, 1), scale * w2, scale * b2)

    return beside


def _tensors(start: Start, name: str) -> list[Any]:
    parts = ("down.weight", "down.bias", "up.weight", "up.bias", "scale")
    return [start[f"{name}.{part}"] for part in parts]


def _phi(z: Tensor) -> Tensor:
    return z * torch.sigmoid(1.702 * z)
