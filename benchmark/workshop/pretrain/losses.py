"""The head, the losses and the teacher of self-distillation (DINO) with masked patches (iBOT)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class HeadSettings:
    """Sizes of the projection head."""

    hidden: int = 256
    bottleneck: int = 64
    prototypes: int = 512


class ProjectionHead(nn.Module):
    """Scores of features by prototypes: an MLP, the unit sphere, a weight-normed last layer.

    The last layer's rows have norm one (its gain is fixed), so scores are cosines in [-1, 1].
    """

    def __init__(self, width: int, settings: HeadSettings) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(width, settings.hidden),
            nn.GELU(),
            nn.Linear(settings.hidden, settings.hidden),
            nn.GELU(),
            nn.Linear(settings.hidden, settings.bottleneck),
        )
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=1.0 / math.sqrt(layer.in_features))
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.randn(settings.prototypes, settings.bottleneck))

    def forward(self, features: Tensor) -> Tensor:
        """Return scores [N, K] of features [N, D]."""
        projected = F.normalize(self.mlp(features), dim=-1)
        return F.linear(projected, F.normalize(self.prototypes, dim=-1))


def teacher_probabilities(scores: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """Return P_t = softmax((g_t - c) / tau_t), centred against one prototype taking all.

    Scores [N, K], centre [K]; the low temperature sharpens against the uniform distribution.
    """
    return torch.softmax((scores - centre) / temperature, dim=-1)


def balanced_probabilities(scores: Tensor, temperature: float, rounds: int = 3) -> Tensor:
    """Return P_t = N diag(u) exp(g_t / tau_t) diag(v): scores and result [N, K].

    Sinkhorn and Knopp's u and v make every prototype get the same share of the N rows and every
    row sum to one, which rules out both collapses whatever the features; it takes the place of the
    centre in SwAV and DINOv2. Rounds end with the rows, so each is a distribution.
    """
    powers = torch.exp((scores - scores.amax(dim=1, keepdim=True)) / temperature)
    for _ in range(rounds):
        powers = powers / powers.sum(dim=0, keepdim=True).clamp(min=1e-30)
        powers = powers / powers.sum(dim=1, keepdim=True).clamp(min=1e-30)
    return powers


def view_loss(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return the mean over images of H(P_t(x), P_s(x')) over all pairs of different views x, x'.

    H(a, b) = -sum_k a_k log b_k. Teacher probabilities [T, B, K] of the first T views, student
    scores [V, B, K] of all V views, with P_s = softmax(g_s / tau_s).
    """
    views, images = student.shape[:2]
    log_student = F.log_softmax(student / temperature, dim=-1)
    every = (teacher.sum(dim=0) * log_student.sum(dim=0)).sum()
    same = (teacher * log_student[: len(teacher)]).sum()
    return -(every - same) / (images * len(teacher) * (views - 1))


def patch_loss(teacher: Tensor, student: Tensor, temperature: float, masked: Tensor) -> Tensor:
    """Return the mean over views of (1 / |m|) sum_{i in m} H(P_t(u_i), P_s(u^_i)), m masked.

    Teacher probabilities and student scores [M, K] of the masked patches alone, in the order of
    `masked`, bool [views, patches]; a view without masked patches counts as zero.
    """
    log_student = F.log_softmax(student / temperature, dim=-1)
    cross_entropy = -(teacher * log_student).sum(dim=-1)
    counts = masked.sum(dim=1, keepdim=True).expand_as(masked)[masked]
    return (cross_entropy / counts).sum() / len(masked)


def spreading_loss(features: Tensor) -> Tensor:
    """Return KoLeo, -1/n sum_i log min_j |f_i - f_j| over unit features [N, D], of DINOv2.

    It keeps every feature away from its nearest neighbour. Balanced prototypes alone can be had
    by features on a line.
    """
    unit = F.normalize(features, dim=-1)
    with torch.no_grad():
        nearest = (unit @ unit.T).fill_diagonal_(-2.0).argmax(dim=1)
    squares = (unit - unit[nearest]).square().sum(dim=1)
    return -0.5 * torch.log(squares + 1e-8).mean()


@torch.no_grad()
def follow(teacher: Iterable[Tensor], student: Iterable[Tensor], momentum: float) -> None:
    """Move the teacher: theta_t <- lambda theta_t + (1 - lambda) theta_s."""
    for slow, fast in zip(teacher, student, strict=True):
        slow.lerp_(fast, 1.0 - momentum)


def teacher_momentum(base: float, decay_progress: float) -> float:
    """Return lambda: `base` on the plateau of the learning rate, then along a cosine to 1."""
    return 1.0 - (1.0 - base) * 0.5 * (1.0 + math.cos(math.pi * decay_progress))


def teacher_temperature(low: float, high: float, warmup_epochs: float, epoch: float) -> float:
    """Return tau_t after `epoch` (a fraction may have passed): linear from `low` to `high`."""
    return low + (high - low) * min(1.0, epoch / max(warmup_epochs, 1e-9))


def spread(features: Tensor) -> float:
    """Return sqrt(D) times the mean deviation of unit features [N, D].

    It is 1 for features that are spread out and 0 for collapsed ones.
    """
    unit = F.normalize(features, dim=1)
    deviation = unit.std(dim=0, unbiased=False).mean()
    return float(deviation * math.sqrt(features.shape[1]))


def used_prototypes(mean_probabilities: Tensor) -> float:
    """Return exp of the entropy of a mean distribution [K]: from 1 (collapsed) to K (all used)."""
    entropy = -(mean_probabilities * mean_probabilities.clamp(min=1e-12).log()).sum()
    return math.exp(float(entropy))
