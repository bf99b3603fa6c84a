"""CODA-Prompt (Smith et al., CVPR 2023): prompts assembled from weighted components."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark import Batch, MethodConfig, Task, register, setting
from benchmark.peft.prefix import Prefix, check_backbone, check_config, split_prefix
from benchmark.peft.prompt_pool import (
    PromptMethod,
    component_weights,
    orthogonal_rows,
    orthogonality,
    weighted_prompts,
)


@dataclass(frozen=True)
class CodaPConfig(MethodConfig):
    """Settings of `coda_p`: values of the released scripts, the same for every data set."""

    components: int = setting(100, "components a block, over all tasks (M)", low=1)
    length: int = setting(8, "tokens of a component (L), half keys, half values", low=2)
    layers: tuple[int, ...] = setting(
        (0, 1, 2, 3, 4), "blocks with a prefix, counted from 0", within="depth"
    )
    ortho_weight: float = setting(0.0, "weight of the orthogonality penalty", low=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_config({"length": self.length}, {"layers": self.layers})

    def misfits(self, width: int, depth: int, tasks: int) -> Iterator[str]:
        """As of any method; and too few components to give every task one."""
        yield from super().misfits(width, depth, tasks)
        if self.components < tasks:
            yield f"components must be at least the number of tasks, {tasks}, not {self.components}"


@register("coda_p")
class CodaP(PromptMethod[CodaPConfig]):
    """CODA-Prompt (CODA-P): every image's prefix is a weighted sum of all components so far.

    Smith et al., "CODA-Prompt: COntinual Decomposed Attention-based Prompting for Rehearsal-Free
    Continual Learning", CVPR 2023. In each prompted block, component m has a prompt P_m, a key K_m
    and an attention vector A_m; its weight is cos(q * A_m, K_m) for the query q, with *
    elementwise, and the prefix is the sum of the weighted P_m. The weights are trained by the
    cross-entropy itself.

    Kept between tasks: all components. Each task adds floor(M / T) and freezes the earlier ones,
    which stay in the sum. T, the number of tasks, is thus needed in advance; T > M is an error.
    Expanded parameters: |layers| floor(M / T) T (L + 2) d; 3,840,000 for M = 100, L = 8, 5 blocks,
    d = 768, T dividing 100. The official code allocates M and leaves M mod T unused.

    Deviations from the official code: components are separate tensors per task, so that no
    optimizer can change earlier ones (equivalent under a fresh Adam without weight decay); one
    linear layer per task with local labels, which has the same gradients as one layer with earlier
    logits masked.

    Sources, where they differ:
    - New components are random and made orthogonal to one another and (nearly: see
      `orthogonal_rows`) to the earlier ones at the start of their task, by Gram-Schmidt, as in the
      code since 2023. The paper's experiments initialised all M at the start.
    - `ortho_weight` 0, the default, as in every released script: the penalty on components that are
      not orthogonal is off. The paper states 0.1, but its code divided that by a million; 0.1 here
      is harmful. The InfLoRA code computes the penalty but never adds it to the loss: 0 here.
    """

    Config = CodaPConfig

    def __init__(self, backbone: VisionTransformer, config: CodaPConfig) -> None:
        super().__init__(backbone, config)
        check_backbone(backbone, config.layers)
        self.prompts = nn.ParameterList()  # P, per task: [blocks, n, L, d]
        self.keys = nn.ParameterList()  # K, per task: [blocks, n, d]
        self.attention = nn.ParameterList()  # A, per task: [blocks, n, d]

    def grow(self, task: Task) -> None:
        """Add a head and n = floor(M / T) components per block; freeze the earlier ones."""
        super().grow(task)
        n = self.config.components // task.count
        if n == 0:
            raise ValueError(f"{self.config.components} components do not reach {task.count} tasks")
        blocks, length = len(self.config.layers), self.config.length
        width = self.backbone.num_features
        _add(self.prompts, self.normal("prompts", (blocks, n, length, width)))
        _add(self.keys, self.normal("keys", (blocks, n, width)))
        _add(self.attention, self.normal("attention", (blocks, n, width)))

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The normal draws that become the new components of `name`; drawn on the CPU."""
        return torch.randn(shape, dtype=self.dtype)

    def weights(self, query: Tensor) -> Tensor:
        """Weights cos(q * A_m, K_m) [blocks, B, components so far] for queries [B, d]."""
        return component_weights(query, _joined(self.keys), _joined(self.attention))

    def prefixes(self, query: Tensor) -> dict[int, Prefix]:
        """Every prompted block's prefix, sum_m weight_m P_m, for queries [B, d]."""
        prompts = weighted_prompts(self.weights(query), _joined(self.prompts))  # [blocks, B, L, d]
        return dict(zip(self.config.layers, map(split_prefix, prompts), strict=True))

    def penalty(self) -> Tensor:
        """Orthogonality penalty on all components so far, with the earlier ones constant."""
        parts = (self.keys, self.attention, self.prompts)
        return torch.stack([orthogonality(_joined(part).flatten(2)) for part in parts]).sum()

    def loss(self, batch: Batch, task: Task) -> Tensor:
        """Cross-entropy over the task's classes, plus the weighted penalty."""
        prefixes = self.prefixes(self.query(batch.images, batch.frozen))
        loss = self.local_loss(self.prefixed(batch.images, prefixes), batch, task)
        weight = self.config.ortho_weight
        return loss + weight * self.penalty() if weight > 0 else loss

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """Logits [B, C] with every image's own prefixes."""
        prefixes = self.prefixes(self.query(images, frozen))
        return self.logits(self.prefixed(images, prefixes))

    @classmethod
    def expanded_formula(cls, config: CodaPConfig, width: int, depth: int, tasks: int) -> int:
        """Prompt, key and attention vector of the components that are used."""
        used = config.components // tasks * tasks
        return len(config.layers) * used * (config.length + 2) * width


def _joined(parts: nn.ParameterList) -> Tensor:
    """The components of all tasks so far, concatenated."""
    return torch.cat(list(parts), dim=1)


def _add(parts: nn.ParameterList, draws: Tensor) -> None:
    """Freeze the existing components and add new ones: the draws, made orthogonal."""
    old = [part.detach().cpu().flatten(2) for part in parts]
    rows = draws.flatten(2)  # [blocks, n, L d or d]
    new = map(orthogonal_rows, torch.cat([rows[:, :0], *old], dim=1), rows)
    parts.requires_grad_(False)
    parts.append(nn.Parameter(torch.stack(list(new)).view_as(draws)))
