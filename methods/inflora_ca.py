"""InfLoRA+CA: InfLoRA with classifier alignment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark import Task, TaskData, register, setting
from benchmark.peft.alignment import (
    AlignmentConfig,
    Gaussians,
    align,
    load_classifier_,
    renew_final_norm_,
)
from methods.inflora import InfLoRA, InfLoRAConfig


@dataclass(frozen=True)
class InfLoRACAConfig(AlignmentConfig, InfLoRAConfig):
    """Settings of `inflora_ca`: those of `inflora` with other defaults, and the alignment."""

    lamb: float = setting(0.95, "share of energy to protect after the first task", low=0, high=1)
    memory: str = setting("gpm", "kind of gradient memory", choices=("dualgpm", "gpm"))


@register("inflora_ca")
class InfLoRACA(InfLoRA):
    """InfLoRA whose heads are aligned after every task, on features from class Gaussians.

    Liang and Li, CVPR 2024, the InfLoRA+CA of the comparison with SLCA. A task is trained as in
    `inflora`. Then the mean and covariance of each of its classes are computed under W_t over
    unaugmented images, and from the second task on the heads of all tasks are trained on sampled
    features. The next alignment starts from the aligned heads (SLCA returns to the unaligned ones).
    Old statistics are never updated; the shrinking of old means and the normalised logits come from
    SLCA's code and are not mentioned in the paper. Prediction uses the raw logits.

    Kept between tasks: what InfLoRA keeps, and mean and covariance of every class seen, C (d + d^2)
    numbers (the covariance as its Cholesky factor).
    Expanded parameters: those of `inflora`, blocks * 2 * (2 * width) * rank.

    Deviations from the official code, in addition to those of `inflora`: weight decay does not
    affect the branches of past tasks (there it keeps shrinking them, as their gradient is zero, not
    None); tasks may differ in size; covariances are factored once, in float64.

    Sources: the official code has two learners, both with a plain GPM and thresholds from 0.95; the
    recipes belong to the suite. ImageNet-R (the defaults here): rank 10, SGD of rate 1e-3 for
    branches and heads, momentum 0.9, no decay, cosine over 50 epochs. CIFAR100: rank 5,
    `fresh_norm` (frozen, without the pre-trained affine part), SGD of rate 1e-3 and 1e-2 for the
    heads, weight decay 1e-3, 20 epochs divided by 10 at epoch 18; its plain learner would switch
    `logit_norm` off on CIFAR100 (0 here), the one behind the released setting has 0.1.
    """

    Config = InfLoRACAConfig
    config: InfLoRACAConfig
    meets_classes_once = True
    kept: ClassVar[dict[str, str]] = {
        **InfLoRA.kept,
        "gaussians.mean": "class means",
        "gaussians.factor": "covariances",
    }

    def __init__(self, backbone: VisionTransformer, config: InfLoRACAConfig) -> None:
        super().__init__(backbone, config)
        self.gaussians = Gaussians(backbone.num_features)
        if config.fresh_norm:
            renew_final_norm_(backbone)

    def grow(self, task: Task) -> None:
        """Add a head, and make room for the statistics of the task's classes."""
        super().grow(task)
        self.gaussians.grow(len(task.classes))

    @torch.no_grad()
    def end_task(self, task: Task, data: TaskData) -> None:
        """InfLoRA's end of a task, the statistics of its classes, then the alignment."""
        super().end_task(task, data)
        self.gaussians.collect(task.classes, self.features, data)
        if task.index > 0:
            aligned = align(self.heads, self.gaussians, self.config)
            load_classifier_(self.heads, aligned.weight, aligned.bias)
