"""Floors of the methods with low-rank branches."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from benchmark.speed.floors.vit import Network, Step, make_step


def lora_step(
    vit: VisionTransformer,
    classes: int,
    rank: int,
    blocks: int,
    train_down: bool,
    average: float | None = None,
) -> Step:
    """Low-rank branches on keys and values of the first blocks.

    A frozen down projection is the same for both (InfLoRA), a trained one is each its own.
    average: decay of a moving average of the branches (LAE).
    """
    net = Network(vit)
    d, rows = net.width, (2 if train_down else 1) * rank
    down = [net.new(rows, d).requires_grad_(train_down) for _ in range(min(blocks, net.depth))]
    up = [net.new(2, rank, d, zero=True) for _ in down]

    def branch(b: int, h: Tensor, qkv: Tensor) -> Tensor:
        if b >= len(down):
            return qkv
        z = F.linear(h, down[b])  # [B, N, rows]
        if not train_down:
            qkv[..., d:] += z @ torch.cat([up[b][0], up[b][1]], dim=1)
            return qkv
        z_k, z_v = z.split(rank, dim=-1)
        qkv[..., d : 2 * d] += z_k @ up[b][0]
        qkv[..., 2 * d :] += z_v @ up[b][1]
        return qkv

    trained = [*up, *down] if train_down else up
    moving = None
    if average is not None:
        moving = (average, [p.detach().clone() for p in trained], [p.detach() for p in trained])
    return make_step(net, classes, trained, lambda x: (net.tokens(x, branch)[:, 0], None), moving)


def c_lora_step(vit: VisionTransformer, classes: int, rank: int, targets: str) -> Step:
    """Branches on the targets of all blocks, and ||past o (U D)||^2 over all of them."""
    net = Network(vit)
    d, places = net.width, ["qkv".index(target) for target in targets]
    shape = (net.depth, len(places))
    down, up = net.new(*shape, rank, d), net.new(*shape, d, rank, zero=True)
    past = torch.randn(*shape, d, d, device=net.device)

    def branch(b: int, h: Tensor, qkv: Tensor) -> Tensor:
        z = F.linear(h, down[b].flatten(0, 1)).split(rank, dim=-1)
        for i, place in enumerate(places):
            qkv[..., place * d : (place + 1) * d] += F.linear(z[i], up[b, i])
        return qkv

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        return net.tokens(images, branch)[:, 0], (past * (up @ down)).square().sum()

    return make_step(net, classes, [down, up], features)
