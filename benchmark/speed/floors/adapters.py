"""Floor of the convolutional adapters beside attention and MLP."""

from __future__ import annotations

import math
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from benchmark.speed.floors.vit import Network, Step, make_step


def adapter_step(vit: VisionTransformer, classes: int, config: Any, average: float | None) -> Step:
    """s W2 phi(conv(phi(W1 x))) beside both sub-layers of the first blocks, moving average."""
    net = Network(vit)
    d, h, kernel = net.width, config.bottleneck, config.kernel
    blocks = min(config.blocks or net.depth, net.depth)
    side = math.isqrt(vit.patch_embed.num_patches)
    parts: dict[tuple[int, str], list[Tensor]] = {}
    for b in range(blocks):
        for sub in ("msa", "mlp"):
            parts[b, sub] = [
                net.new(h, d),
                net.new(h, zero=True),
                net.new(h, h, kernel, kernel),
                net.new(h, zero=True),
                net.new(d, h, zero=True),
                net.new(d, zero=True),
                net.new(1),
            ]

    def phi(z: Tensor) -> Tensor:
        return z * torch.sigmoid(1.702 * z)

    def beside(b: int, sub: str, x: Tensor) -> Tensor:
        w1, b1, conv, bias, w2, b2, scale = parts[b, sub]
        z = phi(F.linear(x, w1, b1))
        grid = z[:, 1:].transpose(1, 2).unflatten(2, (side, side))
        patches = F.conv2d(grid, conv, bias, padding=kernel // 2).flatten(2).transpose(1, 2)
        token = F.linear(z[:, :1], conv[:, :, kernel // 2, kernel // 2], bias)
        z = F.dropout(phi(torch.cat([token, patches], dim=1)), config.dropout)
        return F.linear(z, scale * w2, scale * b2)

    def adapted(b: int, sub: str, x: Tensor) -> Tensor:
        return beside(b, sub, x) if b < blocks else x.new_zeros(())

    trained = [p for part in parts.values() for p in part]
    moving = None
    if average is not None:
        moving = (average, [p.detach().clone() for p in trained], [p.detach() for p in trained])
    return make_step(
        net, classes, trained, lambda x: (net.tokens(x, beside=adapted)[:, 0], None), moving
    )
