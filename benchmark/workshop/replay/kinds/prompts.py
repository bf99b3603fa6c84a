"""Cases of CODA-Prompt, DualPrompt and L2P, from their own codes and from the InfLoRA code."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.method import Batch, ConfigT, Method, Task
from benchmark.peft.prompt_pool import PromptMethod
from benchmark.workshop.replay.case import RecordedCase, ReplayError
from benchmark.workshop.replay.compare import ArrayResult, CaseComparison
from benchmark.workshop.replay.run import kind
from benchmark.workshop.replay.world import Follower, as_tensor, heads_side_by_side, read_world
from methods.coda_p import CodaP, CodaPConfig
from methods.dualprompt import DualPrompt, DualPromptConfig
from methods.l2p_pp import L2PPlusPlus, L2PPlusPlusConfig

TOP_K = 5  # of L2P in both codes, whatever the pool
LETTERS = {"prompts": "p", "keys": "k", "attention": "a"}
_GENERAL = re.compile(r"start/t0/g_p_(\d+)")


@dataclass(frozen=True)
class PromptSizes:
    """The recorded sizes.

    Attributes:
        third: Means something else for every method.
        layers: The prompted blocks the model has; the codes hold unused pools for others.
        inflora: Recorded with the InfLoRA code, not with CODA-Prompt's.
    """

    pool: int
    length: int
    third: float
    layers: tuple[int, ...]
    inflora: bool


def _recorded_as(method: str) -> Callable[[RecordedCase], bool]:
    """Return what tells the cases of a prompt method by their meta data."""
    return lambda case: case.text("method") == method and "prompt_param" in case.meta


def _prompt_sizes(case: RecordedCase) -> PromptSizes:
    """Read the sizes of a case; `ReplayError` where they cannot be read."""
    sizes = case.field("prompt_param", kind=list)
    layers = case.field("e_layers", kind=list)
    if len(sizes) != 3 or not all(isinstance(size, int | float) for size in sizes):
        raise ReplayError(f"{case.path}: prompt_param {sizes} is not a pool, a length and a third")
    if not layers or not all(isinstance(layer, int) for layer in layers):
        raise ReplayError(f"{case.path}: e_layers {layers} are not block numbers")
    implementation = case.field("implementation", kind=str)
    if not implementation.endswith(("/InfLoRA", "/CODA-Prompt")):
        raise ReplayError(f"{case.path}: {implementation!r} is not a known prompt code")
    inflora = implementation.endswith("/InfLoRA")
    depth = case.field("model", "depth", kind=int)
    there = tuple(layer for layer in layers if layer < depth)
    return PromptSizes(int(sizes[0]), int(sizes[1]), sizes[2], there, inflora)


class WatchedPrompts(PromptMethod[ConfigT]):
    """A prompt method that shows its state under the recorded names; nothing else is different."""

    def __init__(self, backbone: VisionTransformer, config: ConfigT, case: RecordedCase) -> None:
        super().__init__(backbone, config)
        self.case = case
        self.prompt_losses: list[float] = []

    @abstractmethod
    def parts(self) -> dict[str, Tensor]:
        """Return prompts, keys and the like as they are now, by recorded name (`e_p_0`)."""

    @abstractmethod
    def probes(self, query: Tensor) -> dict[str, Tensor]:
        """Return what was recorded of the choice for queries [n, d], by recorded name."""

    def begin(self) -> None:
        """Take over the parts that were recorded at the start of the first task."""
        for name, part in self.parts().items():
            part.copy_(as_tensor(self.case.array(f"start/t0/{name}", *part.shape)))

    def inputs(self, part: str, tasks: int) -> dict[str, list[str]]:
        """Return the recorded arrays taken over for a part, each with those it shows in."""
        later = [f"start/t{index}/{part}" for index in range(1, tasks)]
        return {f"start/t0/{part}": later + [f"end/t{index}/{part}" for index in range(tasks)]}

    def watch(self, loss: Tensor) -> Tensor:
        """Keep a prompt loss; return it."""
        self.prompt_losses.append(float(loss.detach()))
        return loss


class WatchedCoda(WatchedPrompts[CodaPConfig], CodaP):
    """CODA-P with recorded draws for its components, and these to be seen.

    Args:
        backbone: The backbone.
        config: Settings.
        case: The recorded case.
        weight: That of the recorded penalty, which the InfLoRA code computes but does not add.
        pool: Rows of the recorded arrays; those of later tasks, and a remainder, are zeros.
    """

    def __init__(
        self,
        backbone: VisionTransformer,
        config: CodaPConfig,
        case: RecordedCase,
        weight: float,
        pool: int,
    ) -> None:
        super().__init__(backbone, config, case)
        self.weight, self.pool = weight, pool

    def normal(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """Return the draws `gs_randn/t{t}/e_{p,k,a}_{layer}` of the task that has just begun."""
        names = [
            f"gs_randn/t{len(self.heads) - 1}/e_{LETTERS[name]}_{layer}"
            for layer in self.config.layers
        ]
        width = torch.Size(shape[2:]).numel()
        draws = [as_tensor(self.case.array(draw, shape[1], width)) for draw in names]
        return torch.stack(draws).reshape(shape)

    def parts(self) -> dict[str, Tensor]:
        """Return `e_p_{layer}` [M, L, d], `e_k_{layer}` and `e_a_{layer}` [M, d]."""
        parts: dict[str, Tensor] = {}
        for name, letter in LETTERS.items():
            rows = torch.cat(list(getattr(self, name)), dim=1).transpose(0, 1)
            missing = rows.new_zeros(self.pool - len(rows), *rows.shape[1:])
            padded = torch.cat([rows, missing]).transpose(0, 1)
            for layer, part in zip(self.config.layers, padded, strict=True):
                parts[f"e_{letter}_{layer}"] = part
        return parts

    def probes(self, query: Tensor) -> dict[str, Tensor]:
        """Return weights [layers, n, components so far]."""
        return {"probe_attention": self.weights(query)}

    def begin(self) -> None:
        """Take over nothing: the components were made from the recorded draws."""

    def inputs(self, part: str, tasks: int) -> dict[str, list[str]]:
        """Return the draws of every task, which show in the components."""
        return {
            f"gs_randn/t{index}/{part}": [f"start/t{index}/{part}", f"end/t{index}/{part}"]
            for index in range(tasks)
        }

    def loss(self, batch: Batch, task: Task) -> Tensor:
        """Return the loss; the recorded penalty is watched, part of the loss or not."""
        with torch.no_grad():
            self.watch(self.weight * self.penalty())
        return super().loss(batch, task)


class WatchedDual(WatchedPrompts[DualPromptConfig], DualPrompt):
    """DualPrompt with its prompts, keys and choices to be seen."""

    def parts(self) -> dict[str, Tensor]:
        """Return `g_p_{layer}` [Lg, d], `e_p_{layer}` [M, Le, d] and `e_k_{layer}` [M, d]."""
        layers = self.config.general_layers
        parts = {f"g_p_{layer}": p for layer, p in zip(layers, self.general, strict=True)}
        experts, keys = (torch.stack(list(part), dim=1) for part in (self.experts, self.keys))
        for i, layer in enumerate(self.config.layers):
            parts |= {f"e_p_{layer}": experts[i], f"e_k_{layer}": keys[i]}
        return parts

    def probes(self, query: Tensor) -> dict[str, Tensor]:
        """Return similarities [layers, n, M] and the expert chosen [layers, n, 1]."""
        similarity, chosen = self.choose(query)
        return {"probe_cosine": similarity, "probe_topk": chosen}

    def begin(self) -> None:
        """Take over general prompts, experts and keys as they were drawn."""
        start = {
            name: as_tensor(self.case.array(f"start/t0/{name}", *part.shape))
            for name, part in self.parts().items()
        }
        for part, layer in zip(self.general, self.config.general_layers, strict=True):
            part.copy_(start[f"g_p_{layer}"])
        for i, layer in enumerate(self.config.layers):
            for slot in range(len(self.experts)):
                self.experts[slot][i].copy_(start[f"e_p_{layer}"][slot])
                self.keys[slot][i].copy_(start[f"e_k_{layer}"][slot])

    def prompt_loss(self, query: Tensor, task: Task) -> Tensor:
        """Return the key loss, watched."""
        return self.watch(super().prompt_loss(query, task))


class WatchedL2P(WatchedPrompts[L2PPlusPlusConfig], L2PPlusPlus):
    """L2P++ with its pool and its choices to be seen."""

    def parts(self) -> dict[str, Tensor]:
        """Return `e_p_{layer}` [M, L, d] and `e_k_{layer}` [M, d]."""
        parts: dict[str, Tensor] = {}
        for i, layer in enumerate(self.config.layers):
            parts |= {f"e_p_{layer}": self.prompts[i], f"e_k_{layer}": self.keys[i]}
        return parts

    def probes(self, query: Tensor) -> dict[str, Tensor]:
        """Return similarities [layers, n, M] and choices [layers, n, k]."""
        similarity, chosen = self.choose(query)
        return {"probe_cosine": similarity, "probe_topk": chosen}

    def prompt_loss(self, similarity: Tensor, chosen: Tensor) -> Tensor:
        """Return the key loss, watched."""
        return self.watch(super().prompt_loss(similarity, chosen))


@kind("coda_prompt", _recorded_as("coda"))
def coda_prompt(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """Train our CODA-P on the recorded problem."""
    sizes = _prompt_sizes(case)
    weight = float(sizes.third)
    config = CodaPConfig(
        components=sizes.pool,
        length=sizes.length,
        layers=sizes.layers,
        ortho_weight=0.0 if sizes.inflora else weight,
    )
    return _replay(case, tolerance, lambda vit: WatchedCoda(vit, config, case, weight, sizes.pool))


@kind("dualprompt", _recorded_as("dual"))
def dualprompt(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """Train our DualPrompt on the recorded problem."""
    sizes = _prompt_sizes(case)
    depth = case.field("model", "depth", kind=int)
    general = (int(match[1]) for match in map(_GENERAL.fullmatch, case.arrays) if match)
    config = DualPromptConfig(
        pool=sizes.pool,
        length=sizes.length,
        general_length=int(sizes.third),
        layers=sizes.layers,
        general_layers=tuple(sorted(layer for layer in general if layer < depth)),
        key_loss="cross" if sizes.inflora else "sum",
    )
    return _replay(case, tolerance, lambda vit: WatchedDual(vit, config, case))


@kind("l2p", _recorded_as("l2p"))
def l2p(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """Train our L2P++ on the recorded problem."""
    sizes = _prompt_sizes(case)
    config = L2PPlusPlusConfig(
        pool=sizes.pool,
        length=sizes.length,
        top_k=TOP_K,
        layers=sizes.layers,
        key_loss="cross",  # as both codes
    )
    return _replay(case, tolerance, lambda vit: WatchedL2P(vit, config, case))


class StartFollower(Follower):
    """Also compares the state at the start of every task; at the first one it is taken over."""

    def __init__(self, comparison: CaseComparison) -> None:
        super().__init__()
        self._comparison = comparison

    @torch.no_grad()
    def prepared(self, method: Method, task: Task) -> None:
        """Compare before the first step of a task."""
        super().prepared(method, task)
        assert isinstance(method, WatchedPrompts)
        method.prompt_losses.clear()
        if task.index == 0:
            method.begin()
        for part, ours in method.parts().items():
            self._comparison.check(f"start/t{task.index}/{part}", ours)


def _replay(
    case: RecordedCase,
    tolerance: float,
    build: Callable[[VisionTransformer], WatchedPrompts],
) -> list[ArrayResult]:
    """Train a prompt method on the recorded problem; return results for all arrays."""
    world = read_world(case)
    method, plain = build(world.vit()), world.vit().requires_grad_(False)
    query = plain(world.probe)
    comparison = CaseComparison(case.arrays, tolerance)
    _leave_unused(comparison, len(plain.blocks))
    comparison.check("probe_query", query)
    for index in range(world.tasks):
        task, follower = world.task(index), StartFollower(comparison)
        world.train(method, task, follower, plain)
        with torch.inference_mode():
            values = {
                **follower.values(),
                **heads_side_by_side(method),
                "prompt_loss": np.asarray(method.prompt_losses),
                "probe_logits": method.predict(world.probe, query),
                **method.probes(query),
            }
        comparison.check_all(values, f"/t{index}")
        for part, ours in method.parts().items():
            comparison.check(f"end/t{index}/{part}", ours)
    for part in method.parts():
        for name, shows_in in method.inputs(part, world.tasks).items():
            comparison.report_input(name, shows_in)
    return comparison.results() + world.shared_results(tolerance)


def _leave_unused(comparison: CaseComparison, depth: int) -> None:
    for name in comparison.arrays:
        layer = name.rpartition("/")[2].rpartition("_")[2]
        if "/" in name and layer.isdigit() and int(layer) >= depth:
            comparison.leave(name, f"of block {layer}, which the model does not have")
