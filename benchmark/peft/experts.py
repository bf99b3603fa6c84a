"""Learning, accumulating and voting with two experts: the core of LAE and its variants."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.method import Batch, Method, MethodConfig, Task, setting
from benchmark.peft.merging import moving_average_
from benchmark.peft.ports import Port, plug


class TwoExperts(Method, ABC):
    """What all forms of LAE share: two experts, epochs for the new head alone, the vote."""

    trains_backbone = False

    @dataclass(frozen=True)
    class Config(MethodConfig):
        """Shared settings."""

        blocks: int = setting(5, "how many of the first blocks are adapted; 0: all", low=0)
        freeze_epochs: int = setting(
            3, "first epochs of every task but the first that train the new head alone", low=0
        )
        offline: bool = setting(True, "keep an offline copy and let it vote")

    def __init__(self, backbone: VisionTransformer, config: Any) -> None:
        super().__init__(backbone, config)
        places = self.build(self.adapted_blocks())
        self.ports = [port for port, _ in places]
        self.online = nn.ModuleList(module for _, module in places)
        self.offline = nn.ModuleList()  # empty during the first task
        self.heads_only = False
        plug(self.ports, self.online)

    def adapted_blocks(self) -> list[int]:
        """Indices of the adapted blocks."""
        return list(range(_count(self.config, len(self.backbone.blocks))))

    @abstractmethod
    def build(self, blocks: list[int]) -> list[tuple[Port, nn.Module]]:
        """New modules for these blocks, each with the place it is plugged in."""

    @classmethod
    @abstractmethod
    def block_size(cls, config: Any, width: int) -> int:
        """Parameters of the modules of one block."""

    def grow(self, task: Task) -> None:
        super().grow(task)
        weight, bias = self.heads[-1].parameters()
        nn.init.normal_(weight, std=0.001)
        nn.init.zeros_(bias)
        if task.index == 1 and self.config.offline:
            self.offline.extend(copy.deepcopy(module) for module in self.online)
            self.offline.requires_grad_(False)

    def begin_epoch(self, task: Task, epoch: int) -> None:
        self.heads_only = task.index > 0 and epoch < self.config.freeze_epochs

    def loss(self, batch: Batch, task: Task) -> Tensor:
        with torch.no_grad() if self.heads_only else nullcontext():
            features = self.features(batch.images)
        return self.local_loss(features, batch, task)

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """log max(softmax(online), softmax(offline)) over all classes seen: [B, classes seen]."""
        scores = _log_shares(self.logits(self.features(images)))
        if not len(self.offline):
            return scores
        return torch.maximum(scores, _log_shares(self.offline_logits(images)))

    def offline_logits(self, images: Tensor) -> Tensor:
        """Logits [B, classes seen] of the offline expert; the heads are those of both."""
        plug(self.ports, self.offline)
        try:
            return self.logits(self.features(images))
        finally:
            plug(self.ports, self.online)

    @classmethod
    def expanded_formula(cls, config: Any, width: int, depth: int, tasks: int) -> int:
        experts = 2 if config.offline and tasks > 1 else 1
        return experts * _count(config, depth) * cls.block_size(config, width)


class MovingAverage(TwoExperts):
    """The offline expert is the exponential moving average of the online one over steps."""

    @dataclass(frozen=True)
    class Config(TwoExperts.Config):
        """Adds the decay."""

        ema: float = setting(0.9999, "share the offline copy keeps at a step", low=0.0, high=1.0)

    def after_step(self, task: Task) -> None:
        if len(self.offline):
            moving_average_(self.offline, self.online, self.config.ema)


def _log_shares(logits: Tensor) -> Tensor:
    """log softmax in float32 at least: bfloat16 would make ties of close classes."""
    dtype = torch.promote_types(logits.dtype, torch.float32)
    return F.log_softmax(logits, dim=1, dtype=dtype)


def _count(config: TwoExperts.Config, depth: int) -> int:
    return min(config.blocks, depth) if config.blocks else depth
