"""CODA-Prompt (Smith et al., CVPR 2023): prompts assembled from weighted components."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark import Batch, Task, register, setting
from benchmark.method import MethodConfig
from benchmark.peft.prefix import Prefix, check_backbone, check_config, split_prefix
from benchmark.peft.prompt_pool import (
    component_weights,
    orthogonal_rows,
    orthogonality,
    weighted_prompts,
)
from benchmark.peft.prompts import PromptMethod


@register("coda_p")
class CodaP(PromptMethod):
    """CODA-Prompt (CODA-P): every image's prefix is a weighted sum of all components so far.

    In each prompted block, component m has a prompt P_m, a key K_m and an attention vector A_m; its
    weight is cos(q * A_m, K_m) for the query q, with * by element, and the prefix is the sum of the
    weighted P_m. The weights are trained by the cross-entropy itself.

    Kept between tasks: all components. Each task adds floor(M / T) and freezes the earlier ones,
    which stay in the sum. T, the number of tasks, is thus needed in advance; T > M is an error.
    Expanded parameters: |layers| floor(M / T) T (L + 2) d; 3,840,000 for M = 100, L = 8, 5 blocks,
    d = 768, T dividing 100. The official code allocates M and never uses the rest of M / T.

    As the official code, unless a setting says otherwise:
    - New components are random and made orthogonal to one another and (nearly: see
      `orthogonal_rows`) to the earlier ones at the start of their task, by Gram-Schmidt. The
      paper's experiments initialised all M at the start; its authors replaced that in 2023.
    - `ortho_weight` 0, the default, as in every released script: the penalty on components that are
      not orthogonal is off. The paper says 0.1, but its code divided that by a million; 0.1 here
      does harm. The InfLoRA code computes the penalty and never adds it to its loss: 0 here.
    Deviations: components are tensors of their own per task, so earlier ones cannot move, whatever
    the optimiser (the same under fresh Adam without weight decay); one linear layer a task with
    local labels, which has the gradients of one layer whose earlier logits are masked.
    """

    @dataclass(frozen=True)
    class Config(MethodConfig):
        """Values of the released scripts, the same for every data set."""

        components: int = setting(100, "components a block, over all tasks (M)", low=1)
        length: int = setting(8, "tokens of a component (L), half keys, half values", low=2)
        layers: tuple[int, ...] = setting((0, 1, 2, 3, 4), "blocks with a prefix, counted from 0")
        ortho_weight: float = setting(0.0, "weight of the orthogonality penalty", low=0.0)

        def __post_init__(self) -> None:
            super().__post_init__()
            check_config({"length": self.length}, {"layers": self.layers})

    config: Config

    def __init__(self, backbone: VisionTransformer, config: Any) -> None:
        super().__init__(backbone, config)
        check_backbone(backbone, config.layers)
        self.prompts = nn.ParameterList()  # per task: [blocks, n, L, d]
        self.keys = nn.ParameterList()  # per task: [blocks, n, d]
        self.attention = nn.ParameterList()  # per task: [blocks, n, d]

    def grow(self, task: Task) -> None:
        super().grow(task)
        count = self.config.components // task.count
        if count == 0:
            raise ValueError(f"{self.config.components} components do not reach {task.count} tasks")
        for name, size in (("prompts", (self.config.length,)), ("keys", ()), ("attention", ())):
            parts: nn.ParameterList = getattr(self, name)
            shape = (len(self.config.layers), count, *size, self.backbone.num_features)
            draws = self.normal(name, shape).flatten(2)
            old = [p.detach().cpu().flatten(2) for p in parts]
            rows = map(orthogonal_rows, torch.cat([draws[:, :0], *old], dim=1), draws)
            parts.requires_grad_(False)
            parts.append(nn.Parameter(torch.stack(list(rows)).view(shape)))

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The normal draws that become the new components of `name`; drawn on the CPU."""
        return torch.randn(shape, dtype=self.dtype)

    def weights(self, query: Tensor) -> Tensor:
        """Weights [blocks, B, components so far] for queries [B, d]."""
        return component_weights(query, _joined(self.keys), _joined(self.attention))

    def prefixes(self, query: Tensor) -> dict[int, Prefix]:
        """Every prompted block's prefix for queries [B, d]."""
        prompts = weighted_prompts(self.weights(query), _joined(self.prompts))
        return dict(zip(self.config.layers, map(split_prefix, prompts), strict=True))

    def penalty(self) -> Tensor:
        """How far from orthogonal the components so far are, earlier ones taken as constants."""
        parts = (self.keys, self.attention, self.prompts)
        return torch.stack([orthogonality(_joined(part).flatten(2)) for part in parts]).sum()

    def loss(self, batch: Batch, task: Task) -> Tensor:
        prefixes = self.prefixes(self.query(batch.images, batch.frozen))
        loss = self.local_loss(self.prefixed(batch.images, prefixes), batch, task)
        weight = self.config.ortho_weight
        return loss + weight * self.penalty() if weight > 0 else loss

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        prefixes = self.prefixes(self.query(images, frozen))
        return self.logits(self.prefixed(images, prefixes))

    @classmethod
    def expanded_formula(cls, config: Any, width: int, depth: int, tasks: int) -> int:
        used = config.components // tasks * tasks
        return cast(int, len(config.layers) * used * (config.length + 2) * width)


def _joined(parts: nn.ParameterList) -> Tensor:
    return torch.cat(list(parts), dim=1)
