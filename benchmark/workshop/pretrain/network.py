"""The network of self-distillation: backbone, projection head, mask token."""

from __future__ import annotations

from typing import cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.workshop.pretrain.distillation import ProjectionHead
from benchmark.workshop.pretrain.forward import (
    all_token_features,
    class_token_features,
    embed,
    new_backbone,
    spread_initial_weights,
)
from benchmark.workshop.pretrain.recipes import SelfSupervisedSettings


class Network(nn.Module):
    """A backbone, its head for class tokens and patches alike, and what stands for a mask."""

    def __init__(self, settings: SelfSupervisedSettings) -> None:
        super().__init__()
        self.backbone: VisionTransformer = new_backbone(settings.shape)
        spread_initial_weights(self.backbone, settings.initial_positions)
        self.head = ProjectionHead(settings.shape.embed_dim, settings.head)
        self.mask_token = None
        if settings.masks is not None:
            self.mask_token = nn.Parameter(torch.zeros(settings.shape.embed_dim))

    def features(self, views: Tensor, kept: Tensor | None = None) -> Tensor:
        """Gives the class tokens [B, D] of views [B, 3, H, W] or of their patches kept."""
        return class_token_features(self.backbone, views, kept)

    def scores(self, views: Tensor) -> Tensor:
        """Gives the class tokens' scores [B, K] of views [B, 3, H, W]."""
        return cast(Tensor, self.head(self.features(views)))

    def features_with_patches(
        self, views: Tensor, masked: Tensor, hide: bool
    ) -> tuple[Tensor, Tensor]:
        """Gives class tokens [B, D] and the patches masked, bool [B, N], of views: [M, D].

        `hide` replaces the masked patches by the mask token; otherwise they are only singled out.
        """
        hidden = masked if hide else None
        tokens = all_token_features(
            self.backbone, embed(self.backbone, views, hidden, self.mask_token)
        )
        return tokens[:, 0], tokens[:, 1:][masked]
