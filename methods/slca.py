"""SLCA: a slow learner of all weights, with classifier alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmark import Task, register, setting
from benchmark.peft.alignment import AlignedHeads, AlignmentSettings

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer
    from torch import Tensor

    from benchmark.method import ParameterGroup


@register("slca")
class SLCA(AlignedHeads):
    """Fine-tunes the whole network a hundred times slower than the heads, then aligns the heads.

    Zhang et al., "SLCA: Slow Learner with Classifier Alignment for Continual Learning on a
    Pre-trained Model", ICCV 2023. Stage 1 (slow learner): every weight and the new head are
    trained with the cross-entropy over the task's classes; the final LayerNorm starts afresh.
    Stage 2 (alignment): the heads of all tasks are trained on features drawn from one Gaussian per
    class, with normalised logits. Prediction uses the aligned heads and their raw logits, the next
    task's alignment starts from the heads before it.

    Kept between tasks: the model; mean and covariance of every class seen, C (d + d^2) numbers
    (the covariance as its Cholesky factor); the aligned heads beside the others, C (d + 1).
    Expanded parameters: 0 (but all of the backbone is trained).

    Recipe of the official code, which belongs to the suite: SGD of rate 0.01 (the backbone's
    0.0001), momentum 0.9, weight decay 5e-4, batch 128, 20 epochs divided by 10 at epoch 18
    (CIFAR100), 50 at 40 (ImageNet-R, CUB, Cars; `logit_norm` 0.05 on Cars); with MoCo weights
    90 epochs, divided at 80. Its inputs are normalised by the data set's mean and deviation.

    Deviations from the official code:
    - The task of a class is the true one; the code takes c // (size of the current task), which
      is wrong for tasks of unequal size.
    - Covariances are factored once, in float64, and not in float32 at every epoch.
    - Only the final LayerNorm of class-token models is known there; with pooled tokens the one
      that features come from is replaced.
    """

    aligned_weight: Tensor
    aligned_bias: Tensor

    @dataclass(frozen=True)
    class Config(AlignmentSettings):
        """Settings of `slca`."""

        slow: float = setting(0.01, "rate of the backbone as a share of the heads'", low=0)
        fresh_norm: bool = setting(True, "start from a fresh final LayerNorm (eps 1e-5)")

    def __init__(self, backbone: VisionTransformer, config: Any) -> None:
        super().__init__(backbone, config)
        self.register_buffer("aligned_weight", torch.zeros(0, backbone.num_features))
        self.register_buffer("aligned_bias", torch.zeros(0))

    def grow(self, task: Task) -> None:
        super().grow(task)
        head = self.heads[-1]
        assert isinstance(head, nn.Linear)
        nn.init.trunc_normal_(head.weight, std=0.02)
        nn.init.zeros_(head.bias)
        weight, bias = self.aligned_weight, self.aligned_bias
        self.aligned_weight = torch.cat([weight, head.weight.detach().to(weight)])
        self.aligned_bias = torch.cat([bias, head.bias.detach().to(bias)])

    def parameter_groups(self) -> list[ParameterGroup]:
        groups = super().parameter_groups()
        for group in groups:
            if group["name"] == "body":
                group["lr_scale"] = self.config.slow
        return groups

    def adopt(self, weight: Tensor, bias: Tensor) -> None:
        """Keep the aligned classifier apart: the heads stay those that training left behind."""
        self.aligned_weight, self.aligned_bias = weight, bias

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        return F.linear(self.features(images), self.aligned_weight, self.aligned_bias)
