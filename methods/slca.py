"""SLCA: a slow learner of all weights, with classifier alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark import Method, ParameterGroup, Task, TaskData, register, setting
from benchmark.peft.alignment import (
    AlignmentConfig,
    Gaussians,
    align,
    classifier,
    renew_final_norm_,
)


@dataclass(frozen=True)
class SLCAConfig(AlignmentConfig):
    """Settings of `slca`: the alignment's and the rate of the backbone."""

    slow: float = setting(0.01, "rate of the backbone as a share of the heads'", low=0, high=1)
    fresh_norm: bool = setting(True, "start from a fresh final LayerNorm (eps 1e-5)")


@register("slca")
class SLCA(Method[SLCAConfig]):
    """Fine-tunes the whole network a hundred times slower than the heads, then aligns the heads.

    Zhang et al., "SLCA: Slow Learner with Classifier Alignment for Continual Learning on a
    Pre-trained Model", ICCV 2023. Stage 1 (slow learner): every weight and the new head are
    trained with the cross-entropy over the task's classes; the final LayerNorm is reinitialised.
    Stage 2 (alignment): the heads of all tasks are trained on features drawn from one Gaussian per
    class, with normalised logits. Prediction uses the raw logits of the aligned heads; the next
    alignment starts from the unaligned ones.

    Kept between tasks: the model; mean and covariance of every class seen, C (d + d^2) numbers
    (the covariance as its Cholesky factor); the aligned heads beside the others, C (d + 1).
    Expanded parameters: 0 (but all of the backbone is trained).

    Deviations from the official code:
    - The task of a class is the true one; the code takes c // (size of the current task), which
      is wrong for tasks of unequal size.
    - Covariances are factored once, in float64, instead of in float32 at every epoch.
    - The code handles only the final LayerNorm of class-token models; with pooled tokens, the
      LayerNorm after pooling is replaced here.

    Sources: the recipe of the official code belongs to the suite: SGD of rate 0.01 (the backbone's
    0.0001), momentum 0.9, weight decay 5e-4, batch 128, 20 epochs divided by 10 at epoch 18
    (CIFAR100), 50 at 40 (ImageNet-R, CUB, Cars; `logit_norm` 0.05 on Cars); with MoCo weights
    90 epochs, divided at 80. Its inputs are normalised by the data set's mean and deviation.
    """

    Config = SLCAConfig
    meets_classes_once = True
    kept: ClassVar[dict[str, str]] = {
        "gaussians.mean": "class means",
        "gaussians.factor": "covariances",
    }
    aligned_weight: Tensor
    aligned_bias: Tensor

    def __init__(self, backbone: VisionTransformer, config: SLCAConfig) -> None:
        super().__init__(backbone, config)
        self.gaussians = Gaussians(backbone.num_features)
        if config.fresh_norm:
            renew_final_norm_(backbone)
        self.register_buffer("aligned_weight", torch.zeros(0, backbone.num_features))  # [C, d]
        self.register_buffer("aligned_bias", torch.zeros(0))  # [C]

    def grow(self, task: Task) -> None:
        """Add a head; make room for the aligned one and the statistics of the task's classes."""
        super().grow(task)
        self.gaussians.grow(len(task.classes))
        weight, bias = self.heads[-1].parameters()
        nn.init.trunc_normal_(weight, std=0.02)
        nn.init.zeros_(bias)
        old_weight, old_bias = self.aligned_weight, self.aligned_bias
        self.aligned_weight = torch.cat([old_weight, weight.detach().to(old_weight)])
        self.aligned_bias = torch.cat([old_bias, bias.detach().to(old_bias)])

    def parameter_groups(self) -> list[ParameterGroup]:
        """Stage 1: the whole backbone at a slow rate, the newest head at the recipe's."""
        groups = super().parameter_groups()
        for group in groups:
            if group["name"] == "body":
                group["lr_scale"] = self.config.slow
        return groups

    @torch.no_grad()
    def end_task(self, task: Task, data: TaskData) -> None:
        """Stage 2: statistics of the new classes over their plain images, then the alignment."""
        self.gaussians.collect(task.classes, self.features, data)
        # The heads themselves keep their trained weights.
        if task.index == 0:
            self.aligned_weight, self.aligned_bias = classifier(self.heads)
        else:
            aligned = align(self.heads, self.gaussians, self.config)
            self.aligned_weight, self.aligned_bias = aligned.weight, aligned.bias

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """Logits [B, C] of the aligned heads."""
        return F.linear(self.features(images), self.aligned_weight, self.aligned_bias)
