"""InfLoRA-b5: InfLoRA on the first five blocks."""

from __future__ import annotations

from dataclasses import dataclass

from benchmark import register, setting
from methods.inflora import InfLoRA, InfLoRAConfig


@dataclass(frozen=True)
class InfLoRAb5Config(InfLoRAConfig):
    """Settings of `inflora_b5`: those of `inflora` with other defaults."""

    lamb: float = setting(0.99, "share of energy to protect after the first task", low=0, high=1)
    memory: str = setting("gpm", "kind of gradient memory", choices=("dualgpm", "gpm"))
    blocks: int = setting(
        5, "how many of the first blocks are adapted; 0: all", low=0, within="depth"
    )


@register("inflora_b5")
class InfLoRAb5(InfLoRA):
    """InfLoRA with branches in the first five blocks only, and a plain GPM.

    Liang and Li, CVPR 2024; the official learner of this variant updates a GPM instead of the
    DualGPM, which describes the same subspaces.

    Kept between tasks: as `inflora`. Expanded parameters: 5 * 2 * (2 * width) * rank.

    Sources: `lamb` is that of ImageNet-R in 10 and 20 tasks; 0.98 in 5 tasks, 0.95 for CIFAR100 and
    DomainNet.
    """

    Config = InfLoRAb5Config
