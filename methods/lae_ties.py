"""LAE with TIES-merging after each task in place of the moving average."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmark import Task, register, setting
from benchmark.peft.merging import flatten, ties, trim, unflatten_
from methods._lae import Merging, TwoExperts
from methods.lae import PetConfig


@dataclass(frozen=True)
class LaeTiesConfig(PetConfig):
    """Settings of `lae_ties`."""

    keep: float = setting(
        20.0,
        "entries kept of a vector: percent, or a fraction up to 1",
        low=0.0,
        high=100.0,
        where=("offline", True),
    )
    strength: float = setting(
        1.0, "factor lambda on the merged vector", low=0.0, where=("offline", True)
    )
    newcomer_only: bool = setting(False, "trim the online vector alone", where=("offline", True))
    history: bool = setting(
        False, "store every task's vector and merge them all at once", where=("offline", True)
    )

    def merging(self, online: nn.ModuleList) -> Merging:
        """TIES-merging."""
        return TiesMerging(online, self.keep, self.strength, self.newcomer_only, self.history)


class TiesMerging(Merging):
    """TIES-merging of the online expert into the offline one, once after each task."""

    start: Tensor
    past: Tensor

    def __init__(
        self,
        online: nn.ModuleList,
        keep: float,
        strength: float,
        newcomer_only: bool,
        history: bool,
    ) -> None:
        super().__init__()
        self.keep, self.strength = keep, strength
        self.newcomer_only, self.history = newcomer_only, history
        start = flatten(online)
        self.register_buffer("start", start)  # theta_start, [P]
        self.register_buffer("past", start.new_empty(0, len(start)))  # [tasks, P]

    def grow(self, task: Task, online: nn.ModuleList) -> None:
        """With a history: the vector of the task before."""
        if task.index > 0 and self.history:
            self.past = torch.cat([self.past, self.vector(online)[None]])

    def end_task(self, online: nn.ModuleList, offline: nn.ModuleList) -> None:
        """theta_off <- theta_start + lambda * TIES({tau_off, tau_on})."""
        new = self.vector(online)[None]
        old = self.past if self.history else self.vector(offline)[None]
        if self.newcomer_only:
            merged = ties(torch.cat([old, trim(new, self.keep)]), keep=100.0)
        else:
            merged = ties(torch.cat([old, new]), self.keep)
        unflatten_(offline, self.start + self.strength * merged)

    def vector(self, expert: nn.ModuleList) -> Tensor:
        """Task vector tau = theta - theta_start, [P]."""
        return flatten(expert) - self.start


@register("lae_ties")
class LaeTies(TwoExperts[LaeTiesConfig]):
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

    Our choices: vectors are taken from the modules' starting values (signs of raw weights would
    follow the random down-projection), scales are merged like weights, factors of LoRA apart from
    each other, keep 20 and lambda 1 as TIES was published. Trimming the offline vector after every
    task removes most of its entries; `keep: 100`, `newcomer_only` and `history` avoid that, and
    `history` gives all tasks equal weight, while pairwise merging halves the share of old tasks
    each time.

    Sources: no code and no settings were published; the report says only that merging happens once
    after each task between online and offline module.
    """

    Config = LaeTiesConfig
