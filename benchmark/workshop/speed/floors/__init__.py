"""Hand-written training steps: the least work a method's mathematics needs on a backbone.

Nothing of the suite is used here but a method's tensors and settings: every operation of a step is
spelled out with torch functions, so that anyone can check that nothing is missing or too much. A
floor starts from the tensors that the method has when it is built, so its loss, its gradients and
its steps are the method's own, which tests compare in float64, and `clbench speed` before it takes
times. What no floor leaves out: all tokens pass all blocks, and the query of a prompt method is a
pass of its own.
"""

from __future__ import annotations

from benchmark.method import Method, Task
from benchmark.workshop.speed.floors.families import (
    adapter_floor,
    c_lora_floor,
    coda_floor,
    dual_floor,
    head_floor,
    lora_floor,
    plain_floor,
    prefix_pool_floor,
    scaled_prefix_floor,
    token_pool_floor,
)
from benchmark.workshop.speed.floors.step import Floor, Start, not_plain

__all__ = ["Floor", "floor_of", "why_none"]

_BY_NAME = {
    "sequential": plain_floor,
    "joint": plain_floor,
    "slca": plain_floor,
    "linear_probe": head_floor,
    "c_lora": c_lora_floor,
    "l2p": token_pool_floor,
    "l2p_pp": prefix_pool_floor,
    "dualprompt": dual_floor,
    "coda_p": coda_floor,
}
_LORA = (
    "seq_lora", "inflora", "inflora_b5", "inflora_ca", "inflora_random", "inflora_nt",
    "inflora_mperp",
)  # fmt: skip
_LAE = ("lae", "lae_ties", "lae_conv", "lae_conv_ties")


def why_none(method: Method) -> str:
    """Why there is no floor for a method that is trained; empty if there is one."""
    if method.name not in (*_BY_NAME, *_LORA, *_LAE):
        return f"no floor has been written for {method.name}"
    if odd := not_plain(method.backbone):
        return f"floors are written for a plain ViT, this one has {odd}"
    return ""


def floor_of(method: Method, task: Task) -> Floor:
    """The floor of a method that is ready to train `task`, from its tensors as they are now.

    Raises ValueError where `why_none` gives a reason.
    """
    if reason := why_none(method):
        raise ValueError(reason)
    start = Start(method, task)
    if method.name in _BY_NAME:
        return _BY_NAME[method.name](start)
    if method.name in _LORA:
        return lora_floor(start, "lora")
    config = method.config
    average = getattr(config, "ema", None)  # TIES merges once a task
    if method.name.startswith("lae_conv"):
        return adapter_floor(start, config.msa, config.mlp, average)
    if config.pet == "adapter":
        return adapter_floor(start, "linear", "none", average)
    if config.pet == "prefix":
        return scaled_prefix_floor(start, average)
    return lora_floor(start, "online", average)
