"""What all prompt methods share: a frozen backbone, its query, and prompted features."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from benchmark.method import Method
from benchmark.peft.prefix import Prefix, prompted_tokens


class PromptMethod(Method):
    """A method that leaves the backbone alone and steers it with prompts a query chooses.

    The query of an image is its frozen feature, the class token after the final norm of the
    unprompted backbone; the runner provides it, once per test image and run.
    """

    frozen_features = True
    trains_backbone = False

    def query(self, images: Tensor, frozen: Tensor | None) -> Tensor:
        """Queries [B, d] without gradient: what the runner gave, else one plain forward pass."""
        if frozen is not None:
            return frozen
        with torch.no_grad():
            return self.features(images)

    def prefixed(self, images: Tensor, prefixes: Mapping[int, Prefix]) -> Tensor:
        """Class-token features [B, d] with prefixes in the given blocks."""
        tokens = prompted_tokens(self.backbone, images, prefixes)
        features: Tensor = self.backbone.forward_head(tokens, pre_logits=True)
        return features

    def uniform(self, *shape: int, high: float = 1.0) -> nn.Parameter:
        """A new parameter drawn evenly from [0, high), in the backbone's precision."""
        return nn.Parameter(torch.empty(shape, dtype=self.dtype).uniform_(0.0, high))

    @property
    def dtype(self) -> torch.dtype:
        """The type of the backbone's weights."""
        return next(self.backbone.parameters()).dtype
