"""What the cases of the three prompt methods share: their settings, and the run itself."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.method import ConfigT, Method, Task
from benchmark.peft.prompt_pool import PromptMethod
from benchmark.workshop.replay.case import Case, ReplayError
from benchmark.workshop.replay.compare import Comparison, Line
from benchmark.workshop.replay.pretrained import as_tensor
from benchmark.workshop.replay.world import Follower, World, read_world


@dataclass(frozen=True)
class PromptSettings:
    """The recorded sizes; `third` means something else for every method.

    layers: the prompted blocks the model has; the codes hold pools for those it lacks, unused;
    inflora: recorded with the InfLoRA code, not with CODA-Prompt's.
    """

    pool: int
    length: int
    third: float
    layers: tuple[int, ...]
    inflora: bool


def recorded_as(method: str) -> Callable[[Case], bool]:
    """Tells the cases of a prompt method by their meta data."""
    return lambda case: case.meta.text("method") == method and "prompt_param" in case.meta.values


def prompt_settings(case: Case) -> PromptSettings:
    """The settings of a case of a prompt method; `ReplayError` where they cannot be read."""
    sizes = case.meta.get("prompt_param", kind=list)
    layers = case.meta.get("e_layers", kind=list)
    if len(sizes) != 3 or not all(isinstance(size, int | float) for size in sizes):
        raise ReplayError(f"{case.path}: prompt_param {sizes} is not a pool, a length and a third")
    if not layers or not all(isinstance(layer, int) for layer in layers):
        raise ReplayError(f"{case.path}: e_layers {layers} are no block numbers")
    implementation = case.meta.get("implementation", kind=str)
    if not implementation.endswith(("/InfLoRA", "/CODA-Prompt")):
        raise ReplayError(f"{case.path}: {implementation!r} is no prompt code that is known here")
    inflora = implementation.endswith("/InfLoRA")
    depth = case.meta.get("model", "depth", kind=int)
    there = tuple(layer for layer in layers if layer < depth)
    return PromptSettings(int(sizes[0]), int(sizes[1]), sizes[2], there, inflora)


class Watched(PromptMethod[ConfigT]):
    """A prompt method that shows its state under the recorded names; nothing else is different."""

    def __init__(self, backbone: VisionTransformer, config: ConfigT, case: Case) -> None:
        super().__init__(backbone, config)
        self.case = case
        self.prompt_losses: list[float] = []

    @abstractmethod
    def parts(self) -> dict[str, Tensor]:
        """Prompts, keys and the like as they are now, by recorded name (`e_p_0`)."""

    @abstractmethod
    def probes(self, query: Tensor) -> dict[str, Tensor]:
        """What was recorded of the choice for queries [n, d], by recorded name."""

    @abstractmethod
    def begin(self) -> None:
        """Take over what was recorded at the start of the first task."""

    def inputs(self, part: str, tasks: int) -> dict[str, list[str]]:
        """Recorded arrays that were taken over for a part, each with those it shows in."""
        later = [f"start/t{index}/{part}" for index in range(1, tasks)]
        return {f"start/t0/{part}": later + [f"end/t{index}/{part}" for index in range(tasks)]}

    def recorded(self, name: str, like: Tensor) -> Tensor:
        """A recorded array of the shape of `like`."""
        return as_tensor(self.case.array(name, *like.shape))

    def watch(self, loss: Tensor) -> Tensor:
        """Keep a prompt loss, and give it back."""
        self.prompt_losses.append(float(loss.detach()))
        return loss


class Starts(Follower):
    """Also compares the state at the start of every task; at the first one it is taken over."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self._comparison = comparison

    @torch.no_grad()
    def prepared(self, method: Method, task: Task) -> None:
        """Before the first step of a task."""
        super().prepared(method, task)
        assert isinstance(method, Watched)
        method.prompt_losses.clear()
        if task.index == 0:
            method.begin()
        for part, ours in method.parts().items():
            self._comparison.check(f"start/t{task.index}/{part}", ours)


def replay_prompts(
    case: Case, tolerance: float, build: Callable[[VisionTransformer], Watched]
) -> list[Line]:
    """Train a prompt method on the recorded problem; lines for all arrays."""
    world = read_world(case)
    method, plain = build(world.vit()), world.vit().requires_grad_(False)
    comparison = Comparison(case.arrays, tolerance)
    _leave_unused(comparison, len(plain.blocks))
    comparison.check("probe_query", plain(world.probe))
    for index in range(world.tasks):
        task, starts = world.task(index), Starts(comparison)
        world.train(method, task, starts, plain)
        _check(comparison, method, task, starts)
        _check_probes(comparison, method, task, world.probe, plain(world.probe))
    _check_inputs(comparison, method, world)
    return comparison.lines() + world.shared_lines(tolerance)


def _check(comparison: Comparison, method: Watched, task: Task, starts: Starts) -> None:
    found: dict[str, Any] = {
        "loss": np.asarray(starts.losses),
        "lr": np.asarray(starts.rates),
        "prompt_loss": np.asarray(method.prompt_losses),
    }
    for part in ("weight", "bias"):
        found[f"classifier_{part}"] = torch.cat([getattr(head, part) for head in method.heads])
    for name, ours in found.items():
        comparison.check(f"{name}/t{task.index}", ours)
    for part, ours in method.parts().items():
        comparison.check(f"end/t{task.index}/{part}", ours)


@torch.inference_mode()
def _check_probes(
    comparison: Comparison, method: Watched, task: Task, images: Tensor, query: Tensor
) -> None:
    comparison.check(f"probe_logits/t{task.index}", method.predict(images, query))
    for name, ours in method.probes(query).items():
        comparison.check(f"{name}/t{task.index}", ours)


def _leave_unused(comparison: Comparison, depth: int) -> None:
    for name in comparison.arrays:
        layer = name.rpartition("/")[2].rpartition("_")[2]
        if "/" in name and layer.isdigit() and int(layer) >= depth:
            comparison.leave(name, f"of block {layer}, which the model does not have")


def _check_inputs(comparison: Comparison, method: Watched, world: World) -> None:
    for part in method.parts():
        for name, shows_in in method.inputs(part, world.tasks).items():
            comparison.report_input(name, shows_in)
