"""The ViTs of pre-training: their start, class-token features, and the self-distilled network."""

from __future__ import annotations

import warnings
from dataclasses import asdict
from typing import cast

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.layers.pos_embed import resample_abs_pos_embed
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from benchmark.backbones.catalogue import VitShape
from benchmark.workshop.pretrain.distillation import lightly
from benchmark.workshop.pretrain.recipes import SelfSupervisedSettings


def new_backbone(shape: VitShape) -> VisionTransformer:
    """Return an untrained backbone, as the global random state decides, in training mode."""
    backbone = VisionTransformer(**asdict(shape), num_classes=0)
    for module in backbone.modules():
        if isinstance(module, Attention):
            # Slower than plain products for so few tokens.
            module.fused_attn = False  # type: ignore[misc]
    return backbone


def class_token_features(
    model: VisionTransformer, images: Tensor, kept: Tensor | None = None
) -> Tensor:
    """Return the normalised class token, float32 [B, D], of images or crops [B, 3, H, W].

    Equal to `model(images)` of a class-token ViT without a head. The last block's queries,
    projection and MLP are computed for the class token alone: a tenth of the work of a small ViT.

    Args:
        model: A class-token ViT without a head.
        images: Whole images, or crops smaller than the model's.
        kept: int64 [B, K], the patches each image shows; the others are dropped.
    """
    tokens = embed(model, images)
    if kept is not None:
        shown = torch.cat([torch.zeros_like(kept[:, :1]), kept + 1], dim=1)
        tokens = tokens.gather(1, shown[:, :, None].expand(-1, -1, tokens.shape[-1]))
    tokens = model.blocks[:-1](tokens)
    features: Tensor = model.norm(_class_token_block(cast(Block, model.blocks[-1]), tokens))[:, 0]
    return features


def embed(
    model: VisionTransformer,
    images: Tensor,
    masked: Tensor | None = None,
    mask_token: Tensor | None = None,
) -> Tensor:
    """Return the tokens [B, 1 + N, D] before the first block of images [B, 3, H, W].

    `masked`, bool [B, N], names the patches whose content is replaced by `mask_token`, [D].
    Images smaller than the model's are crops: their patches get resampled positions.
    """
    tokens = model.patch_embed.proj(images)  # [B, D, rows, columns]
    grid = list(tokens.shape[2:])
    tokens = tokens.flatten(2).transpose(1, 2)
    if masked is not None and mask_token is not None:
        tokens = torch.where(masked[:, :, None], mask_token, tokens)
    class_token = cast(Tensor, model.cls_token).expand(len(tokens), -1, -1)
    positions = resample_abs_pos_embed(cast(Tensor, model.pos_embed), grid)
    tokens = torch.cat([class_token, tokens], dim=1) + positions
    return cast(Tensor, model.norm_pre(tokens))


def draw_kept(images: int, patches: int, drop: float, generator: torch.Generator) -> Tensor | None:
    """Draw the patches to keep, int64 [B, K]; None when none is to be dropped."""
    if drop == 0.0:
        return None
    keep = max(1, round(patches * (1.0 - drop)))
    return torch.rand(images, patches, generator=generator).argsort(dim=1)[:, :keep]


def _class_token_block(block: Block, tokens: Tensor) -> Tensor:
    """Return the class token, [B, 1, D], after a plain pre-norm block on tokens [B, N, D]."""
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


class DistilledNetwork(nn.Module):
    """A backbone, its head for class tokens and patches alike, and what stands for a mask."""

    def __init__(self, settings: SelfSupervisedSettings) -> None:
        super().__init__()
        self.backbone: VisionTransformer = new_backbone(settings.shape)
        head = settings.head
        with warnings.catch_warnings():  # it uses a function that torch has renamed
            warnings.simplefilter("ignore", FutureWarning)
            self.head = lightly("models.modules.heads").DINOProjectionHead(
                settings.shape.embed_dim, head.hidden, head.bottleneck, head.prototypes
            )
        _spread_initial_weights(self, settings.initial_positions)
        self.mask_token = None
        if settings.masks is not None:
            self.mask_token = nn.Parameter(torch.zeros(settings.shape.embed_dim))

    def features(self, views: Tensor, kept: Tensor | None = None) -> Tensor:
        """Return the class tokens [B, D] of views [B, 3, H, W] or of their patches kept."""
        return class_token_features(self.backbone, views, kept)

    def scores(self, views: Tensor) -> Tensor:
        """Return the class tokens' scores [B, K] of views [B, 3, H, W]."""
        return cast(Tensor, self.head(self.features(views)))

    def features_with_patches(
        self, views: Tensor, masked: Tensor, hide: bool
    ) -> tuple[Tensor, Tensor]:
        """Return class tokens [B, D] and the patches masked, bool [B, N], of views: [M, D].

        `hide` replaces the masked patches by the mask token; otherwise they are only singled out.
        """
        hidden = masked if hide else None
        tokens = embed(self.backbone, views, hidden, self.mask_token)
        tokens = self.backbone.norm(self.backbone.blocks(tokens))
        return tokens[:, 0], tokens[:, 1:][masked]


@torch.no_grad()
def _spread_initial_weights(network: DistilledNetwork, positions: float) -> None:
    """Draw matrices by Glorot's rule, positions and the class token with a deviation of their own.

    The libraries' deviation of 0.02 is meant for widths around 1,000: at a width of 128 the first
    blocks would pass on next to nothing, and a training would take long to get going.
    """
    for part in (network.backbone, network.head.layers):
        for module in part.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
    for parameter in (network.backbone.pos_embed, network.backbone.cls_token):
        nn.init.trunc_normal_(cast(Tensor, parameter), std=positions)
