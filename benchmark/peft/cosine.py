"""Heads that compare features with class weights by their cosine."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class SigmaCosine(nn.Module):
    """Logits sigma cos(f, w_c) with one learnable factor sigma, which starts at 1.

    Parameters: weight [C, d], uniform in +-1 / sqrt(d); sigma [1].
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, width).uniform_(-1, 1) / width**0.5)
        self.sigma = nn.Parameter(torch.ones(1))

    def forward(self, features: Tensor) -> Tensor:
        """Logits [B, C] of features [B, d]."""
        return self.sigma * cosines(features, self.weight)


class CosFace(nn.Module):
    """Cosines of features and class weights, trained with `margin_loss`.

    Parameters: weight [C, d], from a normal distribution of deviation 0.02 cut at +-2.
    """

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(classes, width))
        nn.init.trunc_normal_(self.weight, std=0.02)

    def forward(self, features: Tensor) -> Tensor:
        """Cosines [B, C] of features [B, d]."""
        return cosines(features, self.weight)


def cosines(features: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Cosine [B, C] of each feature [B, d] and each row of `weight` [C, d].

    bias: must be None; it makes this a function like `torch.nn.functional.linear`.
    """
    if bias is not None:
        raise ValueError("a cosine head has no bias")
    return F.linear(F.normalize(features, dim=1), F.normalize(weight, dim=1))


def margin_loss(
    cosines: Tensor, labels: Tensor, scale: float = 20.0, margin: float = 0.0
) -> Tensor:
    """CosFace: cross-entropy of scale * cosines [B, C], the true class's less the margin.

    Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", CVPR 2018, eq. 4.
    """
    lowered = cosines - margin * F.one_hot(labels, cosines.shape[1])
    return F.cross_entropy(scale * lowered, labels)
