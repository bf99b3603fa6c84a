"""Sequential training of one LoRA: low-rank adaptation without any protection."""

from __future__ import annotations

from dataclasses import dataclass

from timm.models.vision_transformer import VisionTransformer
from torch import nn

from benchmark import Method, MethodConfig, register, setting
from benchmark.peft.lora import adapt


@dataclass(frozen=True)
class SequentialLoRAConfig(MethodConfig):
    """Settings of `seq_lora`."""

    rank: int = setting(10, "rank of the low-rank branches", low=1, within="width")


@register("seq_lora")
class SequentialLoRA(Method[SequentialLoRAConfig]):
    """Trains one and the same LoRA on keys and values through all tasks.

    W' = W + U D for keys and values of every block, both factors of each trained, the backbone
    frozen; loss and heads as in `sequential`. The InfLoRA paper's "Sequential" fine-tunes the whole
    network, so this is a separate row.

    Kept between tasks: the LoRA and the heads.
    Expanded parameters: blocks * 2 * (2 * width) * rank.
    """

    Config = SequentialLoRAConfig
    role = "reference"
    trains_backbone = False

    def __init__(self, backbone: VisionTransformer, config: SequentialLoRAConfig) -> None:
        super().__init__(backbone, config)
        self.lora = nn.ModuleList()
        for layer in adapt(backbone):
            branch = layer.new_branch(config.rank, "kv")
            layer.use(branch)
            self.lora.append(branch)

    @classmethod
    def expanded_formula(
        cls, config: SequentialLoRAConfig, width: int, depth: int, tasks: int
    ) -> int:
        """Both factors for keys and values of every block."""
        return depth * 2 * (2 * width) * config.rank
