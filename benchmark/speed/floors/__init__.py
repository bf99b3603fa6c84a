"""Hand-written training steps: the least work a method's mathematics needs on a backbone.

Nothing of the suite is used here but pre-trained weights and settings: every operation of a step is
spelled out with torch functions, so that anyone can check that nothing is missing or too much. A
floor carries out one training step on a batch, as in a task that is not the first.
"""

from __future__ import annotations

from typing import Any

from timm.models.vision_transformer import VisionTransformer

from benchmark.speed.floors.adapters import adapter_step
from benchmark.speed.floors.low_rank import c_lora_step, lora_step
from benchmark.speed.floors.prompts import coda_step, dual_step, prefix_pool_step, token_pool_step
from benchmark.speed.floors.vit import Step, head_step, plain_step

__all__ = ["Step", "floor_of"]


def floor_of(name: str, config: Any, vit: VisionTransformer, classes: int) -> Step | None:
    """The floor of method `name`, or None where none has been written (a plugin)."""
    depth = len(vit.blocks)
    if name in ("sequential", "joint", "slca"):
        return plain_step(vit, classes)
    if name == "linear_probe":
        return head_step(vit, classes)
    if name == "seq_lora":
        return lora_step(vit, classes, config.rank, depth, train_down=True)
    if name.startswith("inflora"):
        return lora_step(vit, classes, config.rank, config.blocks or depth, train_down=False)
    if name == "c_lora":
        return c_lora_step(vit, classes, config.rank, config.targets)
    if name == "lae" and config.pet == "lora":
        rank, blocks = config.rank, config.blocks or depth
        return lora_step(vit, classes, rank, blocks, train_down=True, average=config.ema)
    if name == "lae_ties" and config.pet == "lora":
        return lora_step(vit, classes, config.rank, config.blocks or depth, train_down=True)
    if name in ("lae_conv", "lae_conv_ties") and config.msa == config.mlp == "conv":
        return adapter_step(vit, classes, config, average=getattr(config, "ema", None))
    prompts = {
        "l2p": token_pool_step,
        "l2p_pp": prefix_pool_step,
        "dualprompt": dual_step,
        "coda_p": coda_step,
    }
    return prompts[name](vit, classes, config) if name in prompts else None
