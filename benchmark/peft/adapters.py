"""Bottleneck adapters in parallel to a sub-layer of a ViT: linear and convolutional."""

from __future__ import annotations

import math
from typing import Literal

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.peft import anatomy
from benchmark.peft.ports import ParallelPort

SubLayer = Literal["msa", "mlp"]


class LinearAdapter(nn.Module):
    """s * (W2 gelu(W1 x + b1) + b2) with a learnable scale s; initially zero (W2 = b2 = 0)."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, bottleneck)  # weight: Kaiming-uniform with a = sqrt 5
        self.up = nn.Linear(bottleneck, width)
        self.scale = nn.Parameter(torch.ones(()))
        for silent in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(silent)

    def forward(self, x: Tensor) -> Tensor:
        """Branch output [..., width] for tokens x [..., width]."""
        return scaled_linear(F.gelu(self.down(x)), self.up, self.scale)

    @staticmethod
    def size(width: int, bottleneck: int) -> int:
        """Number of parameters."""
        return 2 * width * bottleneck + bottleneck + width + 1


class ConvAdapter(nn.Module):
    """Bottleneck with a dense convolution over the patch grid; its output is initially zero.

    s * (W2 phi(conv(phi(W1 x + b1))) + b2) with phi(z) = z sigmoid(1.702 z). The convolution
    starts as the identity (centre tap). The class token, and every other prefix token, passes
    through it as an image of 1 x 1 pixels, so that only the centre tap acts on it.
    """

    def __init__(
        self,
        width: int,
        bottleneck: int,
        kernel: int = 3,
        dropout: float = 0.1,
        prefix_tokens: int = 1,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"the kernel must have a centre: an odd size, not {kernel}")
        self.down = nn.Linear(width, bottleneck)
        self.conv = nn.Conv2d(bottleneck, bottleneck, kernel, padding=kernel // 2)
        self.up = nn.Linear(bottleneck, width)
        self.scale = nn.Parameter(torch.ones(()))
        self.dropout = nn.Dropout(dropout)
        self.prefix_tokens = prefix_tokens
        nn.init.xavier_uniform_(self.down.weight)
        nn.init.dirac_(self.conv.weight)
        for silent in (self.down.bias, self.conv.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(silent)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Branch output [B, N, width] for tokens x [B, N, width], N = prefix tokens + side ** 2.

        Raises ValueError when the patch tokens do not form a square.
        """
        z = _quick_gelu(self.down(x))
        patches = z.shape[1] - self.prefix_tokens
        side = math.isqrt(max(patches, 0))
        if side * side != patches or side == 0:
            raise ValueError(
                f"{z.shape[1]} tokens, {self.prefix_tokens} of them prefix tokens, leave "
                f"{patches} patches: no square grid to convolve"
            )
        patch_rows = z[:, self.prefix_tokens :].transpose(1, 2)
        grid = patch_rows.reshape(len(z), -1, side, side)
        z = torch.cat([self._centre(z), self.conv(grid).flatten(2).transpose(1, 2)], dim=1)
        return scaled_linear(self.dropout(_quick_gelu(z)), self.up, self.scale)

    def _centre(self, z: Tensor) -> Tensor:
        """The convolution of prefix tokens as single pixels: [B, N, h] -> [B, prefix, h]."""
        middle = self.conv.kernel_size[0] // 2
        tap = self.conv.weight[:, :, middle, middle]
        return F.linear(z[:, : self.prefix_tokens], tap, self.conv.bias)

    @staticmethod
    def size(width: int, bottleneck: int, kernel: int = 3) -> int:
        """Number of parameters."""
        linear = LinearAdapter.size(width, bottleneck)
        return linear + bottleneck**2 * kernel**2 + bottleneck


def beside(backbone: VisionTransformer, block: int, sublayer: SubLayer) -> ParallelPort:
    """Port parallel to a sub-layer f of block `block`: f(x) + adapter(x).

    Raises `UnsuitedError` where the block has no such sub-layer of its own.
    """
    find = anatomy.attention if sublayer == "msa" else anatomy.mlp
    return ParallelPort(find(backbone, block))


def scaled_linear(x: Tensor, layer: nn.Linear, scale: Tensor) -> Tensor:
    """Scale * layer(x); scales the weights, which are fewer than the outputs."""
    return F.linear(x, scale * layer.weight, scale * layer.bias)


def _quick_gelu(z: Tensor) -> Tensor:
    return z * torch.sigmoid(1.702 * z)
