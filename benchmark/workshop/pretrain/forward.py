"""Class-token features of a ViT without the parts of the last block that nobody reads."""

from __future__ import annotations

from dataclasses import asdict
from typing import cast

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from benchmark.backbones.catalogue import VitShape


def new_backbone(shape: VitShape) -> VisionTransformer:
    """Gives an untrained backbone, as the global random state decides, in training mode."""
    backbone = VisionTransformer(**asdict(shape), num_classes=0)
    for module in backbone.modules():
        if isinstance(module, Attention):
            # Slower than plain products for so few tokens.
            module.fused_attn = False  # type: ignore[misc]
    return backbone


@torch.no_grad()
def spread_initial_weights(backbone: VisionTransformer, positions: float) -> None:
    """Draws matrices by Glorot's rule, positions and the class token with a deviation of their own.

    timm's deviation of 0.02 is meant for widths around 1,000: at a width of 128 the first blocks
    would pass on next to nothing, and a self-supervised training would take long to get going.
    """
    for module in backbone.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
    for parameter in (backbone.pos_embed, backbone.cls_token):
        nn.init.trunc_normal_(cast(Tensor, parameter), std=positions)


def class_token_features(
    model: VisionTransformer, images: Tensor, kept: Tensor | None = None
) -> Tensor:
    """Gives the normalised class token, float32 [B, D], of images or crops [B, 3, H, W].

    `kept`, int64 [B, K], names the patches each image shows; the others are dropped.

    Equal to `model(images)` of a class-token ViT without a head. The last block's queries,
    projection and MLP are computed for the class token alone: a tenth of the work of a small ViT.
    """
    tokens = embed(model, images)
    if kept is not None:
        shown = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], dim=1)
        tokens = tokens.gather(1, shown[:, :, None].expand(-1, -1, tokens.shape[-1]))
    *blocks, last = cast("list[Block]", list(model.blocks))
    for block in blocks:
        tokens = block(tokens)
    features: Tensor = model.norm(_class_token_block(last, tokens))[:, 0]
    return features


def embed(
    model: VisionTransformer,
    images: Tensor,
    masked: Tensor | None = None,
    mask_token: Tensor | None = None,
) -> Tensor:
    """Gives the tokens [B, 1 + N, D] before the first block of images [B, 3, H, W].

    `masked`, bool [B, N], names the patches whose content is replaced by `mask_token`, [D].
    Images smaller than the model's are crops: their patches get resampled positions.
    """
    tokens = model.patch_embed.proj(images)  # [B, D, rows, columns]
    rows, columns = tokens.shape[2:]
    tokens = tokens.flatten(2).transpose(1, 2)
    if masked is not None and mask_token is not None:
        tokens = torch.where(masked[:, :, None], mask_token, tokens)
    class_token = cast(Tensor, model.cls_token).expand(len(tokens), -1, -1)
    tokens = torch.cat([class_token, tokens], dim=1) + _positions(model, rows, columns)
    return cast(Tensor, model.norm_pre(tokens))


def _positions(model: VisionTransformer, rows: int, columns: int) -> Tensor:
    """Gives the positions [1, 1 + rows * columns, D] of a class token and a grid of patches."""
    positions = cast(Tensor, model.pos_embed)
    grid = cast("tuple[int, int]", model.patch_embed.grid_size)
    if (rows, columns) == tuple(grid):
        return positions
    table = positions[:, 1:].reshape(1, *grid, -1).permute(0, 3, 1, 2)
    table = F.interpolate(table, (rows, columns), mode="bicubic", antialias=True)
    return torch.cat([positions[:, :1], table.flatten(2).transpose(1, 2)], dim=1)


def all_token_features(model: VisionTransformer, tokens: Tensor) -> Tensor:
    """Gives the normalised features [B, 1 + N, D] of embedded tokens, patches included."""
    for block in cast("list[Block]", list(model.blocks)):
        tokens = block(tokens)
    return cast(Tensor, model.norm(tokens))


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
