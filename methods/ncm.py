"""Nearest class mean on frozen features: continual learning without training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from benchmark import Method, MethodConfig, ParameterGroup, Task, TaskData, register, setting


@dataclass(frozen=True)
class NearestClassMeanConfig(MethodConfig):
    """Settings of `ncm`."""

    distance: str = setting(
        "cosine", "how features and means are compared", choices=("cosine", "euclidean")
    )


@register("ncm")
class NearestClassMean(Method[NearestClassMeanConfig]):
    """Assigns an image to the class whose mean frozen feature is nearest.

    Class means are computed over the unaugmented training images after each task and never change
    again; nothing is trained. Logits are the cosine similarity of feature and mean, or minus their
    squared Euclidean distance; both are computed in float64, also under autocast.

    Kept between tasks: one mean per class, C d numbers. Expanded parameters: 0.
    """

    Config = NearestClassMeanConfig
    role = "reference"
    frozen_features = True
    trains_backbone = False
    groups = ()
    loss_is_local = False
    meets_classes_once = True
    kept: ClassVar[dict[str, str]] = {"means": "class means"}
    means: Tensor

    def __init__(self, backbone: VisionTransformer, config: NearestClassMeanConfig) -> None:
        super().__init__(backbone, config)
        self.register_buffer("means", torch.zeros(0, backbone.num_features))  # [C, d]

    def grow(self, task: Task) -> None:
        """Make room for the means of the task's classes."""
        width = self.means.shape[1]
        self.means = torch.cat([self.means, self.means.new_zeros(len(task.classes), width)])

    def parameter_groups(self) -> list[ParameterGroup]:
        """Nothing is trained."""
        return []

    @torch.no_grad()
    def end_task(self, task: Task, data: TaskData) -> None:
        """Compute class means over the unaugmented training images."""
        sums = torch.zeros_like(self.means, dtype=torch.float64)
        counts = sums.new_zeros(task.seen)
        for batch in data.batches(augment=False):
            features = self._frozen(batch.images, batch.frozen)
            sums.index_add_(0, batch.labels, features)
            counts.index_add_(0, batch.labels, torch.ones_like(batch.labels, dtype=counts.dtype))
        means = sums / counts.clamp(min=1)[:, None]
        self.means[task.classes.start :] = means[task.classes.start :].to(self.means.dtype)

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """Similarity [B, C] to every class mean."""
        features, means = self._frozen(images, frozen), self.means.double()
        if self.config.distance == "cosine":
            similarity = F.normalize(features, dim=1) @ F.normalize(means, dim=1).T
        else:
            similarity = -(torch.cdist(features, means) ** 2)
        return similarity.to(self.means.dtype)

    def _frozen(self, images: Tensor, frozen: Tensor | None) -> Tensor:
        return (self.features(images) if frozen is None else frozen).double()
