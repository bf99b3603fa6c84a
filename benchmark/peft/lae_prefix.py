"""LAE's prefix tuning: learned keys and values whose own attention weights sum to one."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.peft.prefix import check_backbone, prefix_attention


class ScaledPrefix(nn.Module):
    """`length` keys and as many values, each kind times a learnable scale that starts at 1."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(length, width).uniform_(0, 0.01))
        self.values = nn.Parameter(torch.empty(length, width).uniform_(0, 0.01))
        self.key_scale = nn.Parameter(torch.ones(()))
        self.value_scale = nn.Parameter(torch.ones(()))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Keys and values, each [1, length, width]: the same for all images."""
        return self.key_scale * self.keys[None], self.value_scale * self.values[None]

    @staticmethod
    def size(width: int, length: int) -> int:
        """Number of parameters."""
        return 2 * width * length + 2


class PrefixPort:
    """Where a prefix joins the attention of a block, with LAE's compensation.

    Stands in for the forward method of the attention, whose parameters and their names stay.
    """

    def __init__(self, backbone: VisionTransformer, block: int) -> None:
        check_backbone(backbone, [block])
        self.host: Any = backbone.get_submodule(f"blocks.{block}.attn")
        self.prefix: nn.Module | None = None
        self.host.forward = self.attend

    def use(self, prefix: nn.Module | None, /) -> None:
        """Use this prefix from now on, or none."""
        self.prefix = prefix

    def attend(self, x: Tensor, attn_mask: Tensor | None = None, **options: bool) -> Tensor:
        """Attention of tokens x [B, N, d] over themselves and the prefix: [B, N, d]."""
        if self.prefix is None:
            plain: Tensor = type(self.host).forward(self.host, x, attn_mask, **options)
            return plain
        if attn_mask is not None or any(options.values()):
            raise ValueError("attention with a prefix takes no mask")
        return prefix_attention(self.host, x, self.prefix(), compensated=True)
