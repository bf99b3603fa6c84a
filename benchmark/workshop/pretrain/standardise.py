"""Standardises images during pre-training and folds that step into the weights afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Standardise:
    """Takes a mean from each channel and divides by a standard deviation, both float32 [3].

    Drawings on white are far from zero mean, which slows the first epochs down; the finished
    backbone shall nevertheless take plain images in [0, 1], so `fold_into` moves the step there.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, images: Tensor) -> Standardise:
        """Gives the statistics of images uint8 [N, H, W, 3], scaled to [0, 1]."""
        # Sums of integers are exact, whatever the number of threads.
        pixels = images.reshape(-1, 3).long()
        mean = pixels.sum(dim=0).double() / (255.0 * len(pixels))
        square = pixels.square().sum(dim=0).double() / (255.0**2 * len(pixels))
        std = (square - mean.square()).clamp(min=1e-4).sqrt()
        return cls(mean.float(), std.float())

    def __call__(self, images: Tensor) -> Tensor:
        """Gives standardised images, float32 [B, 3, H, W] in and out."""
        return (images - self.mean.view(3, 1, 1)) / self.std.view(3, 1, 1)

    @torch.no_grad()
    def fold_into(self, patch_projection: nn.Conv2d) -> None:
        """Changes an unpadded convolution so that it gives the same for plain images."""
        weight, bias = patch_projection.weight, patch_projection.bias
        if bias is None:
            raise ValueError("a projection without bias cannot take up a mean")
        weight.div_(self.std.view(1, 3, 1, 1))
        bias.sub_((weight * self.mean.view(1, 3, 1, 1)).sum(dim=(1, 2, 3)))
