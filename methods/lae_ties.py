"""LAE with TIES-merging after each task in place of the moving average."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.method import Task, TaskData, setting
from benchmark.peft.experts import TwoExperts
from benchmark.peft.merging import flatten, ties, trim, unflatten_
from benchmark.registry import register
from methods.lae import PetModules


class TiesMerging(TwoExperts):
    """The offline expert takes in the online one once, after each task, by TIES-merging."""

    base: Tensor
    past: Tensor

    @dataclass(frozen=True)
    class Config(TwoExperts.Config):
        """Adds what is kept of each vector and how strongly the merged vector counts."""

        keep: float = setting(
            20.0, "entries kept of a vector: percent, or a fraction up to 1", low=0.0, high=100.0
        )
        strength: float = setting(1.0, "factor lambda on the merged vector", low=0.0)
        newcomer_only: bool = setting(False, "trim the online vector alone")
        history: bool = setting(False, "store every task's vector and merge them all at once")

    def __init__(self, backbone: VisionTransformer, config: Any) -> None:
        super().__init__(backbone, config)
        start = flatten(self.online)
        self.register_buffer("base", start)
        self.register_buffer("past", start.new_empty(0, len(start)))

    def grow(self, task: Task) -> None:
        super().grow(task)
        if task.index > 0 and self.config.history:  # the online module still is the last task's
            self.past = torch.cat([self.past, self._vector(self.online)[None]])

    def end_task(self, task: Task, data: TaskData) -> None:
        if len(self.offline):
            unflatten_(self.offline, self.base + self.config.strength * self._merge())

    def _merge(self) -> Tensor:
        """The merged task vector [P] of the offline (or every past) and the online module."""
        config, new = self.config, self._vector(self.online)[None]
        old = self.past if config.history else self._vector(self.offline)[None]
        if config.newcomer_only:
            return ties(torch.cat([old, trim(new, config.keep)]), keep=100.0)
        return ties(torch.cat([old, new]), config.keep)

    def _vector(self, module: torch.nn.Module) -> Tensor:
        """Task vector [P]: how far a module is from the values both experts started from."""
        return flatten(module) - self.base


@register("lae_ties")
class LaeTies(TiesMerging, PetModules):
    """LAE with TIES-merging (Yadav et al., NeurIPS 2023) in place of the average (my-new-LAE).

    Learning and voting are LAE's. The offline module is the online one of the first task; after
    every later task, with tau = theta - theta_start for each expert,

        theta_off <- theta_start + lambda * TIES({tau_off, tau_on}).

    TIES trims each vector to its `keep` percent largest entries, elects one sign per entry by the
    sum, and takes the mean of the entries that have it: where both experts agree their mean, where
    they disagree the larger, where one was trimmed the other in full.

    Kept between tasks: online and offline module, heads, and as statistics the starting values
    [P]; with `history` also the vector of every finished task [t, P].
    Expanded parameters: (online + offline) * blocks * size of a module, as for LAE.

    No code and no settings were published: the report says only that merging happens once after
    each task between online and offline module. Our choices: vectors are taken from the modules'
    starting values (signs of raw weights would follow the random down-projection), scales are
    merged like weights, factors of LoRA apart from each other, keep 20 and lambda 1 as TIES was
    published. Trimming an offline vector anew after each task costs it most of its entries;
    `keep: 100`, `newcomer_only` and `history` are ways out, and `history` weighs all tasks alike,
    where pairwise merging halves the share of an old task each time.
    """

    @dataclass(frozen=True)
    class Config(TiesMerging.Config, PetModules.Config):
        """Settings of LAE with TIES-merging."""
