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
from benchmark.workshop.replay.case import RecordedCase, ReplayError
from benchmark.workshop.replay.compare import ArrayResult, CaseComparison
from benchmark.workshop.replay.run import kind
from benchmark.workshop.replay.world import Follower, World, heads_side_by_side, read_world
from methods.inflora import InfLoRA, InfLoRAConfig


class WatchedInfLoRA(InfLoRA):
    """InfLoRA that lets its moments and designs be seen; it computes nothing differently."""

    def __init__(self, backbone: VisionTransformer, config: InfLoRAConfig) -> None:
        super().__init__(backbone, config)
        self.seen_moments: list[InputMoments] = []
        self.seen_designs: list[Design] = []

    def moments(self, data: TaskData) -> InputMoments:
        """Keep the moments; the first pass of a task is before training, the second after."""
        self.seen_moments.append(super().moments(data))
        return self.seen_moments[-1]

    def designs(self, task: Task, data: TaskData) -> list[Design]:
        """Keep the designs."""
        self.seen_moments.clear()
        self.seen_designs = super().designs(task, data)
        return self.seen_designs


class FactorFollower(Follower):
    """Also copies both factors of every branch before they are merged."""

    def __init__(self) -> None:
        super().__init__()
        self.down = self.key_up = self.value_up = np.zeros((0, 0, 0))

    def trained(self, method: Method, task: Task) -> None:
        """Down [L, r, d], up of keys and of values [L, d, r]."""
        assert isinstance(method, InfLoRA)
        self.down = _array([branch.down[0] for branch in method.branches])
        self.key_up = _array([branch.up[0] for branch in method.branches])
        self.value_up = _array([branch.up[1] for branch in method.branches])


def _is_inflora(case: RecordedCase) -> bool:
    return case.text("method").lower().startswith("inflora") and "rank" in case.meta


@kind("inflora", _is_inflora)
def inflora(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """Train our InfLoRA on the recorded problem."""
    world = read_world(case)
    method = WatchedInfLoRA(world.vit(), _config(case))
    comparison = CaseComparison(case.arrays, tolerance)
    for index in range(world.tasks):
        task = world.task(index, case.field("total_sessions", kind=int))
        factors = FactorFollower()
        world.train(method, task, factors)
        _check(comparison, method, task, factors, world)
    return comparison.results() + world.shared_results(tolerance)


def _config(case: RecordedCase) -> InfLoRAConfig:
    layers = case.field("adapted_layers", kind=list)
    if not layers or layers != list(range(len(layers))):
        raise ReplayError(f"{case.path}: adapted layers {layers} are not the first ones")
    plain = any("inflorab5" in str(name) for name in case.meta.get("source_files", ()))
    return InfLoRAConfig(
        rank=case.field("rank", kind=int),
        lamb=case.field("lamb", kind=float),
        lame=case.field("lame", kind=float),
        memory="gpm" if plain else "dualgpm",
        blocks=len(layers),
        first_basis="leading",  # as the code behind the recording
    )


def _check(
    comparison: CaseComparison,
    method: WatchedInfLoRA,
    task: Task,
    factors: FactorFollower,
    world: World,
) -> None:
    before, after = method.seen_moments
    bases = [m.basis for m in method.memories if m.basis is not None]
    with torch.inference_mode():
        values: dict[str, Any] = {
            **factors.values(),
            **heads_side_by_side(method),
            "cov_before": _array(before.matrices()),
            "cov_before_n": np.asarray(before.counts),
            "cov_after": _array(after.matrices()),
            "design_singular_values": _array([d.singular_values for d in method.seen_designs]),
            "threshold": method.threshold(task),
            "gpm_P": _array([basis @ basis.T for basis in bases]),
            "gpm_dim": np.asarray([memory.columns for memory in method.memories]),
            "gpm_is_retain": np.asarray([memory.retain for memory in method.memories]),
            "probe_logits": method.predict(world.probe),
            "probe_features": method.features(world.probe),
        }
    comparison.check_all(values, f"/t{task.index}")
    _check_factors(comparison, task, factors)


def _check_factors(comparison: CaseComparison, task: Task, factors: FactorFollower) -> None:
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
        product: np.ndarray = up @ turn
        return product

    for trained, ours in (("lora_B_k", factors.key_up), ("lora_B_v", factors.value_up)):
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
