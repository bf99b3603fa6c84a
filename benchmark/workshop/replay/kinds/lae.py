"""Cases of LAE: a whole run with LoRA or adapters, online and offline modules after every task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.method import Task
from benchmark.peft.adapters import LinearAdapter
from benchmark.peft.lora import LowRank
from benchmark.workshop.replay.case import Case, ReplayError
from benchmark.workshop.replay.compare import Comparison, Line
from benchmark.workshop.replay.pretrained import as_tensor
from benchmark.workshop.replay.run import kind
from benchmark.workshop.replay.world import Follower, World, read_world
from methods.lae import Lae, LaeConfig

PETS = {"LAE-LoRA": "lora", "LAE-Adapter": "adapter"}


@kind("lae", lambda case: case.meta.text("method").startswith("LAE"))
def lae(case: Case, tolerance: float) -> list[Line]:
    """Train our LAE on the recorded problem; lines for all arrays."""
    world = read_world(case)
    method = _method(case, world.vit())
    _start(case, method.online)
    comparison = Comparison(case.arrays, tolerance)
    for index in range(world.tasks):
        task, follower = world.task(index), Follower()
        world.train(method, task, follower)
        _check(comparison, method, task, follower, world)
    _check_start(comparison, method, world.tasks)
    return comparison.lines() + world.shared_lines(tolerance)


def _method(case: Case, vit: VisionTransformer) -> Lae:
    blocks = case.meta.get("adapt_blocks", kind=list)
    different = set(blocks) & set(range(len(vit.blocks)))
    if not blocks or len(different) < len(blocks):
        raise ReplayError(f"{case.path}: adapt_blocks {blocks} are not blocks of the model")

    class Recorded(Lae):
        """LAE on any list of blocks."""

        def adapted_blocks(self) -> list[int]:
            return blocks

    return Recorded(vit, _config(case, vit.embed_dim)).double()


def _config(case: Case, width: int) -> LaeConfig:
    meta = case.meta
    pet = PETS.get(meta.text("method"))
    options = meta.get("pet_kwargs", kind=dict)
    if pet is None or options.get("mode", "parallel") != "parallel":
        raise ReplayError(f"{case.path}: {meta.text('method')} with {options} is not one of ours")
    if options.get("scale") is not None:
        raise ReplayError(f"{case.path}: a constant scale; ours is learned")
    copies = meta.get("num_emas", kind=int)
    if copies not in (0, 1):
        raise ReplayError(f"{case.path}: {copies} offline copies; ours has one or none")
    size: dict[str, Any] = {"rank": options.get("rank", 5)}
    if pet == "adapter":
        down = options.get("down_sample", 5)  # a fraction of the width where it is a float
        size = {"bottleneck": int(width * down) if isinstance(down, float) else down}
    return LaeConfig(
        pet=pet,
        freeze_epochs=meta.get("num_freeze_epochs", kind=int),
        ema=meta.get("ema_decay", kind=float),
        offline=copies == 1,
        **size,
    )


def _parts(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """A module's parameters by their recorded names."""
    if isinstance(module, LowRank):
        assert module.scale is not None
        for i in range(len(module.up)):
            yield f"lora_A.{i}", module.down[i]
            yield f"lora_B.{i}", module.up[i]
            yield f"scale.{i}.scale", module.scale[i]
    elif isinstance(module, LinearAdapter):
        yield from ((f"layer.0.{name}", p) for name, p in module.down.named_parameters())
        yield from ((f"layer.2.{name}", p) for name, p in module.up.named_parameters())
        yield "layer.3.scale", module.scale


def _named(modules: nn.ModuleList) -> Iterator[tuple[str, Tensor]]:
    """All modules' parameters by their recorded names, `{b}.<name>` for the b-th adapted block."""
    for b, module in enumerate(modules):
        yield from ((f"{b}.{name}", p) for name, p in _parts(module))


@torch.no_grad()
def _start(case: Case, online: nn.ModuleList) -> None:
    for name, p in _named(online):
        p.copy_(as_tensor(case.array(f"online_init/{name}", *p.shape)))


def _check(
    comparison: Comparison, method: Lae, task: Task, follower: Follower, world: World
) -> None:
    def check(name: str, ours: Any) -> None:
        comparison.check(f"{name}/t{task.index}", ours)

    check("loss", np.asarray(follower.losses))
    check("lr", np.asarray(follower.rates))
    for kind_of, modules in (("online", method.online), ("offline", method.offline)):
        for name, p in _named(modules):
            comparison.check(f"{kind_of}/t{task.index}/{name}", p)
    with torch.inference_mode():
        check("probe_logits_online", method.logits(method.features(world.probe)))
        if len(method.offline):
            check("probe_logits_offline", method.offline_logits(world.probe))
        check("probe_ensemble", method.predict(world.probe).exp())
    for part in ("weight", "bias"):
        check(f"classifier_{part}", torch.cat([getattr(head, part) for head in method.heads]))


def _check_start(comparison: Comparison, method: Lae, tasks: int) -> None:
    """What was recorded as the start shows in the same array after every task.

    It is wrong if none of these comes out right; a single wrong one is that array's own fault.
    """
    errors = {line.name: line.error for line in comparison.lines()}
    for name, _ in _named(method.online):
        later = [errors.get(f"online/t{index}/{name}") for index in range(tasks)]
        found = [error for error in later if error is not None]
        if found:
            note = "input: as the same array after the tasks shows it"
            comparison.report(f"online_init/{name}", min(found), note)
