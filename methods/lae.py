"""LAE: parameter-efficient modules that learn, accumulate and vote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from benchmark.method import setting
from benchmark.peft.adapters import LinearAdapter, beside
from benchmark.peft.experts import MovingAverage, TwoExperts
from benchmark.peft.lae_prefix import PrefixPort, ScaledPrefix
from benchmark.peft.lora import adapt
from benchmark.peft.ports import Port
from benchmark.registry import register


class PetModules(TwoExperts):
    """One small module a block: LoRA, a parallel adapter or a prefix."""

    @dataclass(frozen=True)
    class Config(TwoExperts.Config):
        """Adds the kind of module and its size."""

        pet: str = setting("lora", "kind of module", choices=("lora", "adapter", "prefix"))
        rank: int = setting(5, "rank of the LoRA on keys and values", low=1)
        bottleneck: int = setting(5, "width of the adapter's bottleneck", low=1)
        length: int = setting(10, "prefix tokens for keys, and as many for values", low=1)

    def build(self, blocks: list[int]) -> list[tuple[Port, nn.Module]]:
        vit, width, config = self.backbone, self.backbone.embed_dim, self.config
        if config.pet == "adapter":
            size = config.bottleneck
            return [(beside(vit, b, "msa"), LinearAdapter(width, size)) for b in blocks]
        if config.pet == "prefix":
            return [(PrefixPort(vit, b), ScaledPrefix(width, config.length)) for b in blocks]
        layers = adapt(vit, max(blocks) + 1)
        used = [layers[b] for b in blocks]
        return [(layer, layer.new_branch(config.rank, "kv", scaled=True)) for layer in used]

    @classmethod
    def block_size(cls, config: Any, width: int) -> int:
        sizes: dict[str, int] = {
            "lora": 2 * (2 * width * config.rank + 1),
            "adapter": LinearAdapter.size(width, config.bottleneck),
            "prefix": ScaledPrefix.size(width, config.length),
        }
        return sizes[config.pet]


@register("lae")
class Lae(MovingAverage, PetModules):
    """LAE (Gao et al., ICCV 2023): a fast online module, a slow average of it, a vote of both.

    Learn: one module in the first blocks, shared by all tasks, and one head per task with local
    cross-entropy. After the first task, the first epochs of a task train the new head alone.
    Accumulate: from the start of the second task, a copy follows the online module after every
    step, theta_off <- ema * theta_off + (1 - ema) * theta_on, frozen epochs included.
    Ensemble: the elementwise maximum of the two softmaxes over all classes seen; its logarithm is
    given as logits. During the first task the online module predicts alone.

    Kept between tasks: online module, offline module, heads (shared by both, not averaged).
    Expanded parameters: (online + offline) * blocks * size of a module, on width d: LoRA of rank r
    4 d r + 2, adapter of bottleneck h 2 d h + h + d + 1, prefix of length n 2 d n + 2. On
    ViT-B/16: 153,620 (LoRA, prefix) and 84,540 (adapter).

    The default module is LoRA, which the InfLoRA paper counts and compares with; the LAE paper's
    own headline results use the adapter. The official recipe is Adam at a constant rate, batches
    of 24: CIFAR-100 2.8125e-3, 5 epochs, 3 of them frozen; ImageNet-R and DomainNet 4.6875e-4, 50
    epochs, 30 frozen. `freeze_epochs` must follow the recipe's epochs: if it is not smaller, the
    module learns from the first task alone. The average moves with steps, not with images: 1040
    steps keep 0.90 of the old copy, 5000 keep 0.61. For batches of b images ema ** (b / 24) keeps
    as much per epoch.

    Deviations from the official code:
    - features of frozen epochs are computed without gradient, and earlier heads are left out of
      the optimiser, where the official code gives them zero gradients: the same numbers.
    - drop_last is the recipe's choice (official: True).
    - at most one offline copy (the official code can chain several; all its configurations use 1).
    """

    @dataclass(frozen=True)
    class Config(MovingAverage.Config, PetModules.Config):
        """Settings of LAE."""
