"""Cases of LAE: a whole run with LoRA or adapters, online and offline modules after every task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.method import Task
from benchmark.peft.adapters import LinearAdapter
from benchmark.peft.lora import LowRank
from benchmark.workshop.replay.case import RecordedCase, ReplayError
from benchmark.workshop.replay.compare import ArrayResult, CaseComparison
from benchmark.workshop.replay.run import kind
from benchmark.workshop.replay.world import (
    Follower,
    World,
    as_tensor,
    heads_side_by_side,
    read_world,
)
from methods.lae import Lae, LaeConfig

PETS = {"LAE-LoRA": "lora", "LAE-Adapter": "adapter"}


@kind("lae", lambda case: case.text("method").startswith("LAE"))
def lae(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """Train our LAE on the recorded problem."""
    world = read_world(case)
    method = _method(case, world.vit())
    _start(case, method.online)
    comparison = CaseComparison(case.arrays, tolerance)
    for index in range(world.tasks):
        task, follower = world.task(index), Follower()
        world.train(method, task, follower)
        _check(comparison, method, task, follower, world)
    _check_start(comparison, method, world.tasks)
    return comparison.results() + world.shared_results(tolerance)


def _method(case: RecordedCase, vit: VisionTransformer) -> Lae:
    blocks = case.field("adapt_blocks", kind=list)
    different = set(blocks) & set(range(len(vit.blocks)))
    if not blocks or len(different) < len(blocks):
        raise ReplayError(f"{case.path}: adapt_blocks {blocks} are not blocks of the model")

    class Recorded(Lae):
        """LAE on any list of blocks."""

        def adapted_blocks(self) -> list[int]:
            return blocks

    return Recorded(vit, _config(case, vit.embed_dim)).double()


def _config(case: RecordedCase, width: int) -> LaeConfig:
    pet = PETS.get(case.text("method"))
    options = case.field("pet_kwargs", kind=dict)
    if pet is None or options.get("mode", "parallel") != "parallel":
        raise ReplayError(f"{case.path}: {case.text('method')} with {options} is not one of ours")
    if options.get("scale") is not None:
        raise ReplayError(f"{case.path}: a constant scale; ours is learned")
    copies = case.field("num_emas", kind=int)
    if copies not in (0, 1):
        raise ReplayError(f"{case.path}: {copies} offline copies; ours has one or none")
    size: dict[str, Any] = {"rank": options.get("rank", 5)}
    if pet == "adapter":
        down = options.get("down_sample", 5)  # a fraction of the width where it is a float
        size = {"bottleneck": int(width * down) if isinstance(down, float) else down}
    return LaeConfig(
        pet=pet,
        freeze_epochs=case.field("num_freeze_epochs", kind=int),
        ema=case.field("ema_decay", kind=float),
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
def _start(case: RecordedCase, online: nn.ModuleList) -> None:
    for name, p in _named(online):
        p.copy_(as_tensor(case.array(f"online_init/{name}", *p.shape)))


def _check(
    comparison: CaseComparison, method: Lae, task: Task, follower: Follower, world: World
) -> None:
    with torch.inference_mode():
        values: dict[str, Any] = {
            **follower.values(),
            **heads_side_by_side(method),
            "probe_logits_online": method.logits(method.features(world.probe)),
            "probe_ensemble": method.predict(world.probe).exp(),
        }
        if len(method.offline):
            values["probe_logits_offline"] = method.offline_logits(world.probe)
    comparison.check_all(values, f"/t{task.index}")
    for expert, modules in (("online", method.online), ("offline", method.offline)):
        for name, p in _named(modules):
            comparison.check(f"{expert}/t{task.index}/{name}", p)


def _check_start(comparison: CaseComparison, method: Lae, tasks: int) -> None:
    """Report the recorded start, which shows in the same array after every task."""
    note = "input: as the same array after the tasks shows it"
    for name, _ in _named(method.online):
        later = [f"online/t{index}/{name}" for index in range(tasks)]
        comparison.report_input(f"online_init/{name}", later, note)
