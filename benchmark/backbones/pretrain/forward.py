"""Class-token features of a ViT without the parts of the last block that nobody reads."""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn


def class_token_features(
    model: VisionTransformer, images: Tensor, kept: Tensor | None = None
) -> Tensor:
    """Gives the normalised class token, float32 [B, D], of images [B, 3, H, W].

    `kept`, int64 [B, K], names the patches each image shows; the others are dropped.

    Equal to `model(images)` of a class-token ViT without a head. The last block's queries,
    projection and MLP are computed for the class token alone: a tenth of the work of a small ViT.
    """
    tokens = model.patch_embed(images)  # [B, N, D]
    tokens = model.norm_pre(model._pos_embed(tokens))  # [B, 1 + N, D]
    if kept is not None:
        shown = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], dim=1)
        tokens = tokens.gather(1, shown[:, :, None].expand(-1, -1, tokens.shape[-1]))
    *blocks, last = cast("list[Block]", list(model.blocks))
    for block in blocks:
        tokens = block(tokens)
    features: Tensor = model.norm(_class_token_block(last, tokens))[:, 0]
    return features


def draw_kept(images: int, patches: int, drop: float, generator: torch.Generator) -> Tensor | None:
    """Gives random patches to keep, int64 [B, K], or None when none is to be dropped."""
    if drop == 0.0:
        return None
    keep = max(1, round(patches * (1.0 - drop)))
    return torch.rand(images, patches, generator=generator).argsort(dim=1)[:, :keep]


def _class_token_block(block: Block, tokens: Tensor) -> Tensor:
    """Gives the class token, [B, 1, D], after a plain pre-norm block on tokens [B, N, D]."""
    attention, width = cast(Attention, block.attn), tokens.shape[-1]
    normed = block.norm1(tokens)
    weight, bias = attention.qkv.weight, attention.qkv.bias
    query = F.linear(normed[:, :1], weight[:width], bias[:width])
    key, value = F.linear(normed, weight[width:], bias[width:]).chunk(2, dim=-1)
    query, key, value = (
        part.reshape(*part.shape[:2], attention.num_heads, -1).transpose(1, 2)
        for part in (query, key, value)
    )  # [B, heads, 1 or N, D / heads]
    weights = (query * attention.scale @ key.transpose(-2, -1)).softmax(dim=-1)
    attended = (weights @ value).transpose(1, 2).flatten(2)  # [B, 1, D]
    token = tokens[:, :1] + attention.proj(attended)
    result: Tensor = token + block.mlp(block.norm2(token))
    return result


@torch.no_grad()
def extract_features(model: nn.Module, images: Tensor, batch_size: int = 512) -> Tensor:
    """Gives a model's outputs, float32 [N, D], for uint8 images [N, H, W, 3], in eval mode."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    chunks = [
        model(chunk.to(device).permute(0, 3, 1, 2).float() / 255.0).float().cpu()
        for chunk in torch.split(images, batch_size)
    ]
    model.train(training)
    return torch.cat(chunks)
