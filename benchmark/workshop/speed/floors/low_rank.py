"""Floors of the methods with low-rank branches beside queries, keys or values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from benchmark.workshop.speed.floors.floor import Floor, Start
from benchmark.workshop.speed.floors.vit import Projection


def lora_floor(start: Start, branches: str, average: float | None = None) -> Floor:
    """Branches on keys and values of the first blocks; average: decay of a moving average."""
    projections = _projections(start, branches, "kv")
    return Floor(start, lambda x: (start.net.tokens(x, projections)[:, 0], None), average)


def c_lora_floor(start: Start) -> Floor:
    """Branches on the targets of all blocks, and penalty * ||past o (U D)||^2 over all of them.

    As U D is dense in any case, nothing is gained by taking the past sum apart into its factors:
    the entrywise product of two matrices of rank r has rank r^2, more than the width.
    """
    config = start.config
    projections = _projections(start, "lora", config.targets)
    pairs = [(start[f"lora.{b}.up"], start[f"lora.{b}.down"]) for b in range(start.net.depth)]
    squares = config.penalty * start["past"].square()  # constant while a task is trained
    if start.task.index == 0 or config.penalty == 0:
        return Floor(start, lambda x: (start.net.tokens(x, projections)[:, 0], None))

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        parts = [_Reuse.apply(s, up, down) for s, (up, down) in zip(squares, pairs, strict=True)]
        return start.net.tokens(images, projections)[:, 0], torch.stack(parts).sum()

    return Floor(start, features)


def _projections(start: Start, branches: str, targets: str) -> dict[int, Projection]:
    """Every adapted block's projection with its branch."""
    places = ["qkv".index(target) for target in targets]
    found: dict[int, Projection] = {}
    for b in range(start.count(branches)):
        merged = start.net.of[f"blocks.{b}.attn.qkv.weight"].clone()
        down, up = start[f"{branches}.{b}.down"], start[f"{branches}.{b}.up"]
        found[b] = _projection(down, up, start.get(f"{branches}.{b}.scale"), merged, places)
    return found


def _projection(
    down: Tensor, up: Tensor, scale: Tensor | None, merged: Tensor, places: Sequence[int]
) -> Projection:
    def project(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        scaled = up if scale is None else up * scale[:, None, None]
        out: Tensor = _Merged.apply(h, weight, bias, down, scaled, merged, places)
        return out

    return project


class _Merged(torch.autograd.Function):
    """h (W + U D)^T + b with gradients for h, U [m, d, r] and D [1 or m, r, d], W frozen.

    The change is written into a copy of the weight, which costs 2 d^2 r operations a target where
    a branch on N tokens costs 4 N d r and passes over the output. The gradient of W, that of U D,
    is never formed: g^T h D^T is g^T (h D^T).
    """

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        merged: Tensor,
        places: Sequence[int],
    ) -> Tensor:
        frozen, changed = (m.view(3, -1, m.shape[1]) for m in (weight, merged))
        for i, place in enumerate(places):
            torch.addmm(frozen[place], up[i], down[min(i, len(down) - 1)], out=changed[place])
        out = F.linear(h, merged, bias)
        ctx.save_for_backward(h, down, up)
        ctx.merged, ctx.places = merged, places
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, down, up = ctx.saved_tensors
        grad_down = None
        # Autocast is off in backward passes: mixed precision goes on as it began.
        with torch.autocast(grad.device.type, grad.dtype, enabled=grad.dtype == torch.bfloat16):
            grad_h = grad @ ctx.merged if ctx.needs_input_grad[0] else None
            rows, h = grad.flatten(0, 1), h.flatten(0, 1)
            hidden = F.linear(h, down.flatten(0, 1)).view(len(h), len(down), -1)
            parts = [rows.chunk(3, dim=1)[place] for place in ctx.places]
            last = len(down) - 1
            grad_up = torch.stack([p.T @ hidden[:, min(i, last)] for i, p in enumerate(parts)])
            if ctx.needs_input_grad[3]:
                hidden_grads = [part @ u for part, u in zip(parts, up, strict=True)]
                grad_down = torch.stack([g.T @ h for g in hidden_grads])
        return grad_h, None, None, grad_down, grad_up, None, None


class _Reuse(torch.autograd.Function):
    """sum of S o (U D)^2 for S [m, d, d], U [m, d, r], D [m, r, d], differentiable in U and D.

    With T = S o (U D), one pass over a dense product, the gradients are 2 T D^T and 2 U^T T, and
    the value itself is the inner product of U and T D^T: it is quadratic in U.
    """

    @staticmethod
    def forward(ctx: Any, squares: Tensor, up: Tensor, down: Tensor) -> Tensor:
        with torch.autocast(squares.device.type, enabled=False):
            slope = torch.bmm(up, down).mul_(squares)
            grad_up, grad_down = torch.bmm(slope, down.mT), torch.bmm(up.mT, slope)
            ctx.save_for_backward(grad_up, grad_down)
            return torch.dot(up.flatten(), grad_up.flatten())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_up, grad_down = ctx.saved_tensors
        return None, 2 * grad * grad_up, 2 * grad * grad_down
