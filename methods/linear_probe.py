"""Linear heads on the frozen backbone: how far the pre-trained features go by themselves."""

from __future__ import annotations

from torch import Tensor

from benchmark import Batch, Method, Task, register


@register("linear_probe")
class LinearProbe(Method):
    """Trains a linear head per task on frozen features.

    As in other methods, each head is trained with the cross-entropy over its own task's classes, so
    that only the adaptation differs from a method that adapts the backbone; a loss over all classes
    seen would need old data to balance the old heads.

    Kept between tasks: the heads. Expanded parameters: 0.
    """

    role = "reference"
    frozen_features = True
    trains_backbone = False
    groups = ("heads",)

    def loss(self, batch: Batch, task: Task) -> Tensor:
        """Local cross-entropy of the newest head on the frozen features of the batch."""
        return self.local_loss(self._frozen(batch.images, batch.frozen), batch, task)

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """Logits [B, classes seen] of all heads on frozen features."""
        return self.logits(self._frozen(images, frozen))

    def _frozen(self, images: Tensor, frozen: Tensor | None) -> Tensor:
        return self.features(images) if frozen is None else frozen
