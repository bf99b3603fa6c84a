"""Draws the crops and the masks of self-distillation, whole batches at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmark.workshop.pretrain.augment import AugmentSettings, augment

GLOBAL_VIEWS = 2


# Beyond position and size, icons of one thing differ in the weight of their strokes and in being
# filled or drawn as outlines. They differ little in colour, but shade, colour and the amount of ink
# tell two views of an icon from those of others without a look at its shape: views of an icon that
# agree in none of them leave the shape to go by.
_STYLE = AugmentSettings(
    stretch=0.12, rotation=0.15, grey=0.5, recolour=0.8, tint=0.8, stroke=0.7, outline=0.3
)
_WHOLE = replace(_STYLE, scale=(0.85, 1.35), shift=0.15)
_PART = replace(_STYLE, scale=(1.2, 1.9), shift=0.35)


@dataclass(frozen=True)
class ViewSettings:
    """Two global views of the model's image size and smaller local views of parts."""

    local_views: int = 4
    local_size: int = 16
    whole: AugmentSettings = _WHOLE
    part: AugmentSettings = _PART


@dataclass(frozen=True)
class MaskSettings:
    """Which patches of a global view the student does not see."""

    share: tuple[float, float] = (0.1, 0.5)  # of the patches of a view
    views: float = 0.5  # probability that a view is masked at all


def draw_views(
    images: Tensor, settings: ViewSettings, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Gives global views [2B, 3, H, W] and local views [LB, 3, h, w] of images [B, 3, H, W].

    View after view: the first B are every image's first view.
    """
    whole = augment(images.repeat(GLOBAL_VIEWS, 1, 1, 1), settings.whole, generator)
    if not settings.local_views:
        size = settings.local_size
        return whole, images.new_zeros(0, images.shape[1], size, size)
    repeated = images.repeat(settings.local_views, 1, 1, 1)
    return whole, augment(repeated, settings.part, generator, settings.local_size)


def draw_masks(views: int, side: int, settings: MaskSettings, generator: torch.Generator) -> Tensor:
    """Gives the masked patches, bool [views, side * side], in connected lumps of random shapes.

    Every masked view has at least one masked and one visible patch.
    """
    patches = side * side
    low, high = settings.share
    share = low + (high - low) * torch.rand(views, generator=generator)
    count = (share * patches).round().clamp(1, max(1, patches - 1)).long()
    count[torch.rand(views, generator=generator) >= settings.views] = 0
    # Smoothed noise has its peaks side by side, so the patches of largest noise form blocks.
    noise = torch.rand(views, 1, side, side, generator=generator)
    noise = F.avg_pool2d(noise, 3, stride=1, padding=1, count_include_pad=False) + 0.3 * noise
    rank = noise.flatten(1).argsort(dim=1, descending=True).argsort(dim=1)
    return rank < count[:, None]
