"""Prefixes and input-token prompts for unmodified timm Vision Transformers, and LAE's prefix.

The backbone is not modified: its modules are called in order, and where a block has a prefix, the
prefix's keys and values precede the block's own in the attention. Blocks before the first prompted
one need no gradient and take no part in back-propagation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

# Keys and values, each [B, n, d] or, for a prefix all images share, [1, n, d].
Prefix = tuple[Tensor, Tensor]


def split_prefix(prompt: Tensor) -> Prefix:
    """A prompt [..., L, d] as a prefix: the first half are keys, the second half values."""
    half = prompt.shape[-2] // 2
    return prompt[..., :half, :], prompt[..., half:, :]


def join_prefixes(prefixes: Iterable[Prefix]) -> Prefix:
    """Several prefixes [B or 1, n_i, d] of one block as one."""
    first, *others = prefixes
    if not others:
        return first
    keys, values = zip(first, *others, strict=True)
    count = max(len(k) for k in keys)
    return (
        torch.cat([k.expand(count, -1, -1) for k in keys], dim=1),
        torch.cat([v.expand(count, -1, -1) for v in values], dim=1),
    )


def check_config(lengths: Mapping[str, int], layers: Mapping[str, Iterable[int]]) -> None:
    """Raise ValueError that names all odd lengths and all repeated or negative layers."""
    faults = [
        f"{name} must be even (half keys, half values), not {length}"
        for name, length in lengths.items()
        if length % 2
    ]
    for name, given in layers.items():
        indices = list(given)
        if not indices or min(indices) < 0 or len(set(indices)) < len(indices):
            faults.append(f"{name} must be different block numbers from 0 on, not {indices}")
    if faults:
        raise ValueError("; ".join(faults))


def check_backbone(backbone: VisionTransformer, layers: Iterable[int]) -> None:
    """Raise ValueError when a prefix cannot be put into these blocks of the backbone."""
    depth = len(backbone.blocks)
    for layer in layers:
        if layer >= depth:
            raise ValueError(f"a prefix is asked for in block {layer}, the backbone has {depth}")
        block = backbone.blocks[layer]
        attn = getattr(block, "attn", None)
        plain = (
            isinstance(block, Block)
            and isinstance(attn, Attention)
            and getattr(attn, "gate", None) is None
            and isinstance(getattr(attn, "norm", nn.Identity()), nn.Identity)
        )
        if not plain:
            raise ValueError(f"block {layer} has no plain timm attention to put a prefix into")


def prefix_attention(attn: Any, x: Tensor, prefix: Prefix, *, compensated: bool = False) -> Tensor:
    """Attention of timm's `attn` over normalised tokens [B, N, d] with a prefix: [B, N, d].

    Prefix keys and values are inserted after the projection, without W_k, W_v or a bias.

    compensated: after the joint softmax the prefix's weights are divided by their sum (LAE), the
    tokens' weights are not. This is the sum of two fused attentions: the joint one with zeros as
    the prefix's values, and one over the prefix alone.
    """
    batch, count, _ = x.shape
    qkv = attn.qkv(x).reshape(batch, count, 3, attn.num_heads, -1).permute(2, 0, 3, 1, 4)
    q, k, v = qkv.unbind(0)
    q, k = attn.q_norm(q), attn.k_norm(k)
    keys, values = _by_head(prefix[0], k), _by_head(prefix[1], v)
    joint = torch.zeros_like(values) if compensated else values
    dropout = attn.attn_drop.p if attn.training else 0.0
    y = F.scaled_dot_product_attention(
        q, torch.cat([keys, k], dim=2), torch.cat([joint, v], dim=2), dropout_p=dropout
    )
    if compensated:
        y = y + F.scaled_dot_product_attention(q, keys, values, dropout_p=dropout)
    out: Tensor = attn.proj_drop(attn.proj(y.transpose(1, 2).reshape(batch, count, -1)))
    return out


def _by_head(part: Tensor, like: Tensor) -> Tensor:
    """[B or 1, n, d] as [B, heads, n, d / heads], in the dtype of `like` [B, heads, N, ...]."""
    batch, heads, _, size = like.shape
    split = part.to(like.dtype).reshape(*part.shape[:2], heads, size)
    return split.transpose(1, 2).expand(batch, -1, -1, -1)


def prompted_tokens(
    backbone: VisionTransformer,
    images: Tensor,
    prefixes: Mapping[int, Prefix] | None = None,
    prompts: Tensor | None = None,
) -> Tensor:
    """All tokens after the final norm, [B, p + N, d], of images [B, 3, H, W].

    prefixes: by block number; prompts: p input tokens [B, p, d] put before the class token, after
    the position embedding. Without either, the result is that of the plain backbone.
    """
    prefixes = prefixes or {}
    x = backbone.patch_drop(backbone._pos_embed(backbone.patch_embed(images)))
    x = backbone.norm_pre(x)
    if prompts is not None:
        x = torch.cat([prompts.to(x.dtype), x], dim=1)
    block: Any
    for index, block in enumerate(backbone.blocks):
        prefix = prefixes.get(index)
        if prefix is None:
            x = block(x)
        else:
            y = prefix_attention(block.attn, block.norm1(x), prefix)
            x = x + block.drop_path1(block.ls1(y))
            x = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
    tokens: Tensor = backbone.norm(x)
    return tokens


class ScaledPrefix(nn.Module):
    """LAE's prefix: `length` keys and as many values, each times a learned scale, initially 1."""

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
    """Port for a prefix in the attention of a block, with LAE's compensation.

    Replaces the forward method of the attention, whose parameters keep their names.
    """

    def __init__(self, backbone: VisionTransformer, block: int) -> None:
        check_backbone(backbone, [block])
        self.host: Any = backbone.get_submodule(f"blocks.{block}.attn")
        self.prefix: nn.Module | None = None
        self.host.forward = self.attend

    def use(self, prefix: nn.Module | None, /) -> None:
        """Set the prefix in use, or None."""
        self.prefix = prefix

    def attend(self, x: Tensor, attn_mask: Tensor | None = None, **options: bool) -> Tensor:
        """Attention of tokens x [B, N, d] over themselves and the prefix: [B, N, d]."""
        if self.prefix is None:
            plain: Tensor = type(self.host).forward(self.host, x, attn_mask, **options)
            return plain
        if attn_mask is not None or any(options.values()):
            raise ValueError("attention with a prefix does not take a mask")
        return prefix_attention(self.host, x, self.prefix(), compensated=True)
