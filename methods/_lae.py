"""Common parts of the LAE family: two experts, their modules, and how they are merged.

A method's settings choose two objects: the kind of module that both experts are made of
(`modules`), and how the offline expert follows the online one (`merging`).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark import Batch, Method, MethodConfig, Task, TaskData, setting
from benchmark.peft.merging import moving_average_
from benchmark.peft.ports import Port, plug


class Modules(ABC):
    """A kind of small module, of a given size."""

    @abstractmethod
    def build(self, backbone: VisionTransformer, blocks: list[int]) -> list[tuple[Port, nn.Module]]:
        """New modules for these blocks, each with the port it is plugged into."""

    @abstractmethod
    def block_size(self, width: int) -> int:
        """Parameters of the modules of one block."""


class Merging(nn.Module):
    """How the offline expert follows the online one; both exist from the second task on."""

    def grow(self, task: Task, online: nn.ModuleList) -> None:
        """Before the first step of a task; the online expert is still that of the last task."""

    def after_step(self, online: nn.ModuleList, offline: nn.ModuleList) -> None:
        """After every optimizer step."""

    def end_task(self, online: nn.ModuleList, offline: nn.ModuleList) -> None:
        """After the last step of a task."""


class MovingAverage(Merging):
    """The exponential moving average of the online expert over steps."""

    def __init__(self, decay: float) -> None:
        super().__init__()
        self.decay = decay

    def after_step(self, online: nn.ModuleList, offline: nn.ModuleList) -> None:
        """theta_off <- decay * theta_off + (1 - decay) * theta_on."""
        moving_average_(offline, online, self.decay)


@dataclass(frozen=True)
class LAEConfig(MethodConfig, ABC):
    """Common settings, and the objects they choose."""

    blocks: int = setting(
        5, "how many of the first blocks are adapted; 0: all", low=0, within="depth"
    )
    freeze_epochs: int = setting(
        3, "first epochs of every task but the first, which train the new head only", low=0
    )
    offline: bool = setting(True, "keep an offline copy and let it vote")

    @abstractmethod
    def modules(self) -> Modules:
        """The kind of module."""

    @abstractmethod
    def merging(self, online: nn.ModuleList) -> Merging:
        """The kind of merging, for an online expert with its starting values."""

    def adapted(self, depth: int) -> int:
        """How many of `depth` blocks are adapted."""
        return min(self.blocks, depth) if self.blocks else depth


LAEConfigT = TypeVar("LAEConfigT", bound=LAEConfig)


class TwoExperts(Method[LAEConfigT]):
    """Learning, accumulating and voting; see `lae`."""

    trains_backbone = False
    kept: ClassVar[dict[str, str]] = {"offline": "offline copy"}

    def __init__(self, backbone: VisionTransformer, config: LAEConfigT) -> None:
        super().__init__(backbone, config)
        placed = config.modules().build(backbone, self.adapted_blocks())
        self.ports = [port for port, _ in placed]
        self.online = nn.ModuleList(module for _, module in placed)
        self.offline = nn.ModuleList()  # empty during the first task
        self.merging = config.merging(self.online)
        self.heads_only = False
        plug(self.ports, self.online)

    def adapted_blocks(self) -> list[int]:
        """Indices of the adapted blocks."""
        return list(range(self.config.adapted(len(self.backbone.blocks))))

    def grow(self, task: Task) -> None:
        """Add a head with small weights and, at the second task, the offline copy."""
        super().grow(task)
        weight, bias = self.heads[-1].parameters()
        nn.init.normal_(weight, std=0.001)
        nn.init.zeros_(bias)
        if task.index == 1 and self.config.offline:
            self.offline.extend(copy.deepcopy(module) for module in self.online)
            self.offline.requires_grad_(False)
        self.merging.grow(task, self.online)

    def begin_epoch(self, task: Task, epoch: int) -> None:
        """Train only the new head in the first epochs of every task but the first."""
        self.heads_only = task.index > 0 and epoch < self.config.freeze_epochs

    def loss(self, batch: Batch, task: Task) -> Tensor:
        """Learning: cross-entropy of the online expert over the task's classes."""
        with torch.no_grad() if self.heads_only else nullcontext():
            features = self.features(batch.images)
        return self.local_loss(features, batch, task)

    def after_step(self, task: Task) -> None:
        """Accumulation over steps."""
        if len(self.offline):
            self.merging.after_step(self.online, self.offline)

    def end_task(self, task: Task, data: TaskData) -> None:
        """Accumulation over tasks."""
        if len(self.offline):
            self.merging.end_task(self.online, self.offline)

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """Ensemble: log max(softmax(online), softmax(offline)) over all classes seen, [B, C]."""
        scores = _log_softmax(self.logits(self.features(images)))
        if not len(self.offline):
            return scores
        return torch.maximum(scores, _log_softmax(self.offline_logits(images)))

    def offline_logits(self, images: Tensor) -> Tensor:
        """Logits [B, C] of the offline expert; both experts share the heads."""
        plug(self.ports, self.offline)
        try:
            return self.logits(self.features(images))
        finally:
            plug(self.ports, self.online)

    @classmethod
    def expanded_formula(cls, config: LAEConfigT, width: int, depth: int, tasks: int) -> int:
        """The modules of one expert or, from the second task on, of both."""
        experts = 2 if config.offline and tasks > 1 else 1
        return experts * config.adapted(depth) * config.modules().block_size(width)


def _log_softmax(logits: Tensor) -> Tensor:
    """In float32 or better: in bfloat16, close classes would tie."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return F.log_softmax(logits, dim=1, dtype=dtype)
