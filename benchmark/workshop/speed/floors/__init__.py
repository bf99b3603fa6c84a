"""Hand-written training steps: the least work a method's mathematics needs on a backbone.

Nothing of the suite is used here but a method's tensors and settings: every operation of a step is
spelled out with torch functions, so that anyone can check that nothing is missing or too much. A
floor starts from the tensors that the method has when it is built, so its loss, its gradients and
its steps are the method's own, which tests compare in float64, and `clbench speed` before it takes
times. What no floor leaves out: all tokens pass all blocks, and the query of a prompt method is a
pass of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from benchmark.method import Method, Task
from benchmark.workshop.speed.floors import families
from benchmark.workshop.speed.floors.step import Floor, Start, not_plain

_FLOORS: dict[str, Callable[[Start], Floor]] = {
    "sequential": families.plain_floor,
    "joint": families.plain_floor,
    "slca": families.plain_floor,
    "linear_probe": families.head_floor,
    "seq_lora": families.lora_floor,
    "inflora": families.lora_floor,
    "inflora_b5": families.lora_floor,
    "inflora_ca": families.lora_floor,
    "inflora_random": families.lora_floor,
    "inflora_nt": families.lora_floor,
    "inflora_mperp": families.lora_floor,
    "c_lora": families.c_lora_floor,
    "lae": families.lae_floor,
    "lae_ties": families.lae_floor,
    "lae_conv": families.lae_floor,
    "lae_conv_ties": families.lae_floor,
    "l2p": families.token_pool_floor,
    "l2p_pp": families.prefix_pool_floor,
    "dualprompt": families.dual_floor,
    "coda_p": families.coda_floor,
}


class NoFloorError(ValueError):
    """There is no floor for a method on a backbone; the message says why."""


def floor_of(method: Method, task: Task) -> Floor:
    """The floor of a method that is ready to train `task`, from its tensors as they are now.

    Raises:
        NoFloorError: None is written for the method, or its backbone is no plain ViT.
    """
    if method.name not in _FLOORS:
        raise NoFloorError(f"no floor has been written for {method.name}")
    if odd := not_plain(method.backbone):
        raise NoFloorError(f"floors are written for a plain ViT, this one has {odd}")
    return _FLOORS[method.name](Start(method, task))
