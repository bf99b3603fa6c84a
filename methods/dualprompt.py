"""DualPrompt (Wang et al., ECCV 2022), in the form the CODA-Prompt and InfLoRA papers run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark import Batch, MethodConfig, Task, register, setting
from benchmark.peft.prefix import Prefix, check_backbone, check_config, join_prefixes, split_prefix
from benchmark.peft.prompt_pool import PromptMethod, chosen_prefix, cosines


@dataclass(frozen=True)
class DualPromptConfig(MethodConfig):
    """Settings of `dualprompt`: values of the scripts released with CODA-Prompt."""

    length: int = setting(20, "tokens of an expert prompt (Le), half keys, half values", low=2)
    general_length: int = setting(6, "tokens of a general prompt (Lg), as above", low=2)
    layers: tuple[int, ...] = setting(
        (2, 3, 4), "blocks with expert prompts, from 0", within="depth"
    )
    general_layers: tuple[int, ...] = setting(
        (0, 1), "blocks with general prompts, from 0", within="depth"
    )
    pool: int = setting(0, "experts a block (M); 0: one per task", low=0)
    eligible: str = setting("all", "experts to choose from", choices=("all", "seen"))
    key_loss: str = setting("sum", "sum, or B times the sum", choices=("sum", "cross"))
    key_weight: float = setting(1.0, "weight of the key loss", low=0.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        lengths = {"length": self.length, "general_length": self.general_length}
        layers = {"layers": self.layers, "general_layers": self.general_layers}
        check_config(lengths, layers)

    def misfits(self, width: int, depth: int, tasks: int) -> Iterator[str]:
        """As of any method; and a pool that has no expert for every task."""
        yield from super().misfits(width, depth, tasks)
        if 0 < self.pool < tasks:
            yield f"pool must be 0 or at least the number of tasks, {tasks}, not {self.pool}"


@register("dualprompt")
class DualPrompt(PromptMethod[DualPromptConfig]):
    """DualPrompt: general prefixes for all tasks, expert prefixes one per task, found by a key.

    Wang et al., "DualPrompt: Complementary Prompting for Rehearsal-free Continual Learning", ECCV
    2022. Training uses the task's own expert in every expert block, and pulls its keys towards the
    queries: cross-entropy over the task's classes plus the sum of 1 - cos. At prediction every
    image takes, in every block, the expert whose key is nearest to its own query.

    Kept between tasks: the general prompts, which every task keeps training, and one expert and
    key per task and block; those of other tasks are frozen.
    Expanded parameters: d (|G| Lg + |E| M (Le + 1)), M = `pool` or T; 493,056 for d = 768, T = 10.

    Deviations from the code of CODA-Prompt and InfLoRA: experts are separate tensors, not rows of
    one, so that no optimizer can change the others (equivalent under a fresh Adam without weight
    decay); one linear layer per task.

    Sources:
    - `eligible` "all", the default, as that code: experts of future tasks, still random, can be
      chosen at prediction. "seen" restricts the choice to trained ones; no published number uses
      it.
    - `key_loss` "sum", the default, is CODA-Prompt's. "cross" is InfLoRA's, where an index per
      image instead of one per batch makes it B times larger; Adam is invariant to that.
    - The original JAX code counts keys and values separately in its lengths, has one key for all
      blocks, starts an expert as a copy of the last, averages the key loss, draws prompts from [0,
      0.01) and lets the test batch vote in one configuration. Its PyTorch ports mix up the images'
      experts.
    """

    Config = DualPromptConfig

    def __init__(self, backbone: VisionTransformer, config: DualPromptConfig) -> None:
        super().__init__(backbone, config)
        check_backbone(backbone, (*config.layers, *config.general_layers))
        width, blocks = backbone.num_features, len(config.general_layers)
        self.general = self.uniform(blocks, config.general_length, width)  # [|G|, Lg, d]
        self.experts = nn.ParameterList()  # per task: [|E|, Le, d]
        self.keys = nn.ParameterList()  # per task: [|E|, d]
        self.tasks_met = 0

    def grow(self, task: Task) -> None:
        """Add a head and, at the first task, all experts; make the task's own trainable."""
        super().grow(task)
        self.tasks_met = task.index + 1
        pool, blocks = self.config.pool or task.count, len(self.config.layers)
        if pool < task.count:
            raise ValueError(f"a pool of {pool} experts is too small for {task.count} tasks")
        width = self.backbone.num_features
        while len(self.experts) < pool:
            self.experts.append(self.uniform(blocks, self.config.length, width))
            self.keys.append(self.uniform(blocks, width))
        for parts in (self.experts, self.keys):
            parts.requires_grad_(False)
            parts[task.index].requires_grad_(True)

    def choose(self, query: Tensor) -> tuple[Tensor, Tensor]:
        """Similarities [|E|, B, M] of queries [B, d], and the nearest expert [|E|, B, 1]."""
        count = self.tasks_met if self.config.eligible == "seen" else len(self.keys)
        similarity = cosines(query, torch.stack(list(self.keys[:count]), dim=1))
        return similarity, similarity.argmax(dim=2, keepdim=True)

    def dual_features(self, images: Tensor, experts: list[Prefix]) -> Tensor:
        """Features [B, d] with the general prefixes and the given expert prefix of each block."""
        prefixes = dict(zip(self.config.layers, experts, strict=True))
        for layer, prompt in zip(self.config.general_layers, self.general, strict=True):
            expert = [prefixes[layer]] if layer in prefixes else []
            prefixes[layer] = join_prefixes([split_prefix(prompt[None]), *expert])
        return self.prefixed(images, prefixes)

    def prompt_loss(self, query: Tensor, task: Task) -> Tensor:
        """The weighted key loss of the task's own keys, summed over blocks and images."""
        times = len(query) if self.config.key_loss == "cross" else 1
        distance = 1 - cosines(query, self.keys[task.index][:, None])  # [|E|, B, 1]
        return distance.sum() * times * self.config.key_weight

    def loss(self, batch: Batch, task: Task) -> Tensor:
        """Cross-entropy over the task's classes with its own experts, plus the key loss."""
        query = self.query(batch.images, batch.frozen)
        experts = [split_prefix(prompt[None]) for prompt in self.experts[task.index]]
        features = self.dual_features(batch.images, experts)
        return self.local_loss(features, batch, task) + self.prompt_loss(query, task)

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """Logits [B, C] with the experts that every image chooses."""
        _, chosen = self.choose(self.query(images, frozen))
        pools = torch.stack(list(self.experts), dim=1)  # [|E|, M, Le, d]
        experts = [chosen_prefix(pool, c) for pool, c in zip(pools, chosen, strict=True)]
        return self.logits(self.dual_features(images, experts))

    @classmethod
    def expanded_formula(cls, config: DualPromptConfig, width: int, depth: int, tasks: int) -> int:
        """General prompts, and experts with a key each: d (|G| Lg + |E| M (Le + 1))."""
        experts = len(config.layers) * (config.pool or tasks) * (config.length + 1)
        return width * (len(config.general_layers) * config.general_length + experts)
