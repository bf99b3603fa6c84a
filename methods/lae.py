"""LAE: parameter-efficient modules that learn, accumulate and vote."""

from __future__ import annotations

from dataclasses import dataclass

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from benchmark import register, setting
from benchmark.peft.adapters import LinearAdapter, beside
from benchmark.peft.lora import adapt
from benchmark.peft.ports import Port
from benchmark.peft.prefix import PrefixPort, ScaledPrefix
from methods._lae import LAEConfig, Merging, Modules, MovingAverage, TwoExperts


@dataclass(frozen=True)
class PetConfig(LAEConfig):
    """Settings of the rows with one small module a block: which kind, and its size."""

    pet: str = setting("lora", "kind of module", choices=("lora", "adapter", "prefix"))
    rank: int = setting(
        5, "rank of the LoRA on keys and values", low=1, within="width", where=("pet", "lora")
    )
    bottleneck: int = setting(
        5, "width of the adapter's bottleneck", low=1, where=("pet", "adapter")
    )
    length: int = setting(
        10, "prefix tokens for keys, and as many for values", low=1, where=("pet", "prefix")
    )

    def modules(self) -> Modules:
        """LoRA, a parallel adapter or a prefix."""
        if self.pet == "lora":
            return LoRAs(self.rank)
        return Adapters(self.bottleneck) if self.pet == "adapter" else Prefixes(self.length)


@dataclass(frozen=True)
class LaeConfig(PetConfig):
    """Settings of `lae`."""

    ema: float = setting(
        0.9999,
        "share the offline copy keeps at a step",
        low=0.0,
        high=1.0,
        where=("offline", True),
    )

    def merging(self, online: nn.ModuleList) -> Merging:
        """The moving average."""
        return MovingAverage(self.ema)


@dataclass(frozen=True)
class LoRAs(Modules):
    """LoRA on keys and values, with a learned scale for each."""

    rank: int

    def build(self, backbone: VisionTransformer, blocks: list[int]) -> list[tuple[Port, nn.Module]]:
        """One branch beside the qkv projection of each block."""
        layers = adapt(backbone, max(blocks) + 1)
        return [(layers[b], layers[b].new_branch(self.rank, "kv", scaled=True)) for b in blocks]

    def block_size(self, width: int) -> int:
        """4 d r + 2."""
        return 2 * (2 * width * self.rank + 1)


@dataclass(frozen=True)
class Adapters(Modules):
    """A linear adapter in parallel to the attention."""

    bottleneck: int

    def build(self, backbone: VisionTransformer, blocks: list[int]) -> list[tuple[Port, nn.Module]]:
        """One adapter beside the attention of each block."""
        width = backbone.embed_dim
        return [(beside(backbone, b, "msa"), LinearAdapter(width, self.bottleneck)) for b in blocks]

    def block_size(self, width: int) -> int:
        """2 d h + h + d + 1."""
        return LinearAdapter.size(width, self.bottleneck)


@dataclass(frozen=True)
class Prefixes(Modules):
    """A prefix of keys and values, whose attention weights sum to one by themselves."""

    length: int

    def build(self, backbone: VisionTransformer, blocks: list[int]) -> list[tuple[Port, nn.Module]]:
        """One prefix in the attention of each block."""
        width = backbone.embed_dim
        return [(PrefixPort(backbone, b), ScaledPrefix(width, self.length)) for b in blocks]

    def block_size(self, width: int) -> int:
        """2 d n + 2."""
        return ScaledPrefix.size(width, self.length)


@register("lae")
class Lae(TwoExperts[LaeConfig]):
    """LAE (Gao et al., ICCV 2023): a fast online module, a slow average of it, a vote of both.

    Gao et al., "A Unified Continual Learning Framework with General Parameter-Efficient Tuning".
    Learn: one module in the first blocks, shared by all tasks, and one head per task with local
    cross-entropy. After the first task, the first epochs of a task train only the new head.
    Accumulate: from the start of the second task, a copy follows the online module after every
    step, theta_off <- ema * theta_off + (1 - ema) * theta_on, frozen epochs included.
    Ensemble: the elementwise maximum of the two softmaxes over all classes seen; its logarithm is
    returned as logits. During the first task only the online module predicts.

    Kept between tasks: online module, offline module, heads (shared by both, not averaged).
    Expanded parameters: (online + offline) * blocks * size of a module, on width d: LoRA of rank r
    4 d r + 2, adapter of bottleneck h 2 d h + h + d + 1, prefix of length n 2 d n + 2. On
    ViT-B/16: 153,620 (LoRA, prefix) and 84,540 (adapter).

    Deviations from the official code:
    - features of frozen epochs are computed without gradient, and earlier heads are not in the
      optimizer, while in the official code their gradients are zero: the same numbers.
    - drop_last is the recipe's choice (official: True).
    - at most one offline copy (the official code can chain several; all its configurations use 1).

    Sources: the default module is LoRA, which the InfLoRA paper counts and compares with; the LAE
    paper's own headline results use the adapter. The official recipe is Adam at a constant rate,
    batches of 24: CIFAR-100 2.8125e-3, 5 epochs, 3 of them frozen; ImageNet-R and DomainNet
    4.6875e-4, 50 epochs, 30 frozen. `freeze_epochs` must follow the recipe's epochs: if it is not
    smaller, the module learns only from the first task. The average moves with steps, not with
    images: 1040 steps keep 0.90 of the old copy, 5000 keep 0.61. For batches of b images
    ema ** (b / 24) keeps as much per epoch.
    """

    Config = LaeConfig
