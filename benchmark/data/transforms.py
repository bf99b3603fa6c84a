"""From uint8 images to what the backbone sees: crops and flips for whole batches on the device."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class InputRange:
    """Pixel range fed to the backbone: (x - mean) / std of x in [0, 1]."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def __call__(self, images: Tensor) -> Tensor:
        """float32 [B, 3, H, W] in [0, 1] -> the same shape in the backbone's range."""
        if self == InputRange():
            return images
        mean = images.new_tensor(self.mean).view(3, 1, 1)
        return (images - mean) / images.new_tensor(self.std).view(3, 1, 1)


def plain(images: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] -> float32 in [0, 1], nothing else."""
    return images.float().div_(255)


@dataclass(frozen=True)
class CropFlip:
    """Random resized crop and horizontal flip, one of each per image, back to the same size.

    The crop covers `scale` of the area at an aspect ratio drawn log-uniformly from `ratio`, as
    torchvision's RandomResizedCrop; the batch is resampled bilinearly by one affine map an image.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """uint8 [B, 3, H, W] -> float32 [B, 3, H, W] in [0, 1]; draws come from `generator`."""
        draws = torch.rand(5, len(images), generator=generator)
        area = self.scale[0] + draws[0] * (self.scale[1] - self.scale[0])
        low, high = (math.log(r) for r in self.ratio)
        aspect = (low + draws[1] * (high - low)).exp()
        width = (area * aspect).sqrt().clamp(max=1)
        height = (area / aspect).sqrt().clamp(max=1)
        # Normalised coordinates run from -1 to 1: a crop of width w has its centre within 1 - w.
        theta = torch.zeros(len(images), 2, 3)
        theta[:, 0, 0] = torch.where(draws[2] < self.flip, -width, width)
        theta[:, 1, 1] = height
        theta[:, 0, 2] = (2 * draws[3] - 1) * (1 - width)
        theta[:, 1, 2] = (2 * draws[4] - 1) * (1 - height)
        shape = list(images.shape)
        grid = F.affine_grid(theta.to(images.device), shape, align_corners=False)
        return F.grid_sample(plain(images), grid, padding_mode="border", align_corners=False)
