"""Cases of InfLoRA: a whole continual training run, from the designs to the logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.method import Method, Task, TaskData
from benchmark.peft.moments import InputMoments
from benchmark.peft.subspace import Design
from benchmark.workshop.replay.case import Case, ReplayError
from benchmark.workshop.replay.compare import Comparison, Line
from benchmark.workshop.replay.run import kind
from benchmark.workshop.replay.world import Follower, World, read_world
from methods.inflora import InfLoRA, InfLoRAConfig


class Watched(InfLoRA):
    """InfLoRA that lets its moments and designs be seen; it computes nothing differently."""

    def __init__(self, backbone: VisionTransformer, config: InfLoRAConfig) -> None:
        super().__init__(backbone, config)
        self.seen_moments: list[InputMoments] = []
        self.seen_designs: list[Design] = []

    def moments(self, data: TaskData) -> InputMoments:
        """Keep what is found; the first pass of a task is before training, the second after."""
        self.seen_moments.append(super().moments(data))
        return self.seen_moments[-1]

    def designs(self, task: Task, data: TaskData) -> list[Design]:
        """Keep what is designed."""
        self.seen_moments.clear()
        self.seen_designs = super().designs(task, data)
        return self.seen_designs


class Factors(Follower):
    """Also copies both factors of every branch before they are merged."""

    def __init__(self) -> None:
        super().__init__()
        self.down = self.keys = self.values = np.zeros((0, 0, 0))

    def trained(self, method: Method, task: Task) -> None:
        """Down [L, r, d], up of keys and of values [L, d, r]."""
        assert isinstance(method, InfLoRA)
        self.down = _array([branch.down[0] for branch in method.branches])
        self.keys = _array([branch.up[0] for branch in method.branches])
        self.values = _array([branch.up[1] for branch in method.branches])


def _is_inflora(case: Case) -> bool:
    return case.meta.text("method").lower().startswith("inflora") and "rank" in case.meta.values


@kind("inflora", _is_inflora)
def inflora(case: Case, tolerance: float) -> list[Line]:
    """Train our InfLoRA on the recorded problem; lines for all arrays."""
    world = read_world(case)
    method = Watched(world.vit(), _config(case))
    comparison = Comparison(case.arrays, tolerance)
    for index in range(world.tasks):
        task = world.task(index, case.meta.get("total_sessions", kind=int))
        factors = Factors()
        world.train(method, task, factors)
        _check(comparison, method, task, factors, world)
    return comparison.lines() + world.shared_lines(tolerance)


def _config(case: Case) -> InfLoRAConfig:
    meta = case.meta
    layers = meta.get("adapted_layers", kind=list)
    if not layers or layers != list(range(len(layers))):
        raise ReplayError(f"{case.path}: adapted layers {layers} are not the first ones")
    plain = any("inflorab5" in str(name) for name in meta.values.get("source_files", ()))
    return InfLoRAConfig(
        rank=meta.get("rank", kind=int),
        lamb=meta.get("lamb", kind=float),
        lame=meta.get("lame", kind=float),
        memory="gpm" if plain else "dualgpm",
        blocks=len(layers),
        first_basis="leading",  # as the code behind the recording
    )


def _check(
    comparison: Comparison, method: Watched, task: Task, factors: Factors, world: World
) -> None:
    def check(name: str, ours: Any, **how: Any) -> None:
        comparison.check(f"{name}/t{task.index}", ours, **how)

    before, after = method.seen_moments
    check("cov_before", _array(before.matrices()))
    check("cov_before_n", np.asarray(before.counts))
    check("cov_after", _array(after.matrices()))
    check("design_singular_values", _array([d.singular_values for d in method.seen_designs]))
    check("loss", np.asarray(factors.losses))
    check("lr", np.asarray(factors.rates))
    check("threshold", method.threshold(task))
    _check_factors(comparison, task, factors)

    bases = [m.basis for m in method.memories if m.basis is not None]
    check("gpm_P", _array([basis @ basis.T for basis in bases]))
    check("gpm_dim", np.asarray([memory.columns for memory in method.memories]))
    check("gpm_is_retain", np.asarray([memory.retain for memory in method.memories]))
    for part in ("weight", "bias"):
        heads: list[Tensor] = [
            p for name, p in method.heads.named_parameters() if name.endswith(part)
        ]
        check(f"classifier_{part}", torch.cat(heads))
    with torch.inference_mode():
        check("probe_logits", method.predict(world.probe))
        check("probe_features", method.features(world.probe))


def _check_factors(comparison: Comparison, task: Task, factors: Factors) -> None:
    """Singular vectors have no sign (and none of their own among equal values).

    The designed factor A is therefore compared by A^T A, and a trained factor B after turning the
    recorded one into our rows: B (A A_ours^+) = B_ours where B A = B_ours A_ours.
    """
    name = f"lora_A/t{task.index}"
    down = factors.down
    comparison.check(
        name, _gram(down), read=_gram, shape=down.shape, note="A^T A: rows have no sign"
    )
    recorded = comparison.arrays.get(name, np.zeros(0))
    fits = recorded.shape == down.shape
    turn = (recorded.astype(np.float64) if fits else down) @ np.linalg.pinv(down)

    def turned(up: np.ndarray) -> np.ndarray:
        found: np.ndarray = up @ turn
        return found

    for trained, ours in (("lora_B_k", factors.keys), ("lora_B_v", factors.values)):
        array = f"{trained}/t{task.index}"
        if fits:
            comparison.check(array, ours, read=turned, note="after matching the rows of lora_A")
        else:
            comparison.leave(array, f"needs {name}, which does not fit")


def _gram(rows: np.ndarray) -> np.ndarray:
    gram: np.ndarray = rows.swapaxes(-1, -2) @ rows
    return gram


def _array(parts: list[Tensor]) -> np.ndarray:
    return torch.stack(parts).detach().cpu().numpy() if parts else np.zeros(0)
