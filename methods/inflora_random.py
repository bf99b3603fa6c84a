"""InfLoRA's ablation with random branches."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmark import Task, TaskData, register
from benchmark.peft.subspace import Design
from methods.inflora import InfLoRA


@register("inflora_random")
class InfLoRARandom(InfLoRA):
    """InfLoRA with a random down projection (paper: "Random -> B_t"): no design, no protection.

    Liang and Li, CVPR 2024, ablation of the design; no code was published. Rows are drawn from
    N(0, 1 / (3 d)), so that their norm is 1 / sqrt(3) in the mean square, as in InfLoRA: the
    comparison is of directions, not of scale. That scale is our choice.

    Kept between tasks: the merged weights and the heads. There is no gradient memory: `lamb`,
    `lame`, `memory`, `projection` and `first_basis` have no effect and exist so that all variants
    share one set of settings. Expanded parameters: those of `inflora`.
    """

    def designs(self, task: Task, data: TaskData) -> list[Design]:
        """Gaussian rows for every adapted block; the data is not used."""
        return [_random_rows(branch.down[0]) for branch in self.branches]

    def protect(self, task: Task, data: TaskData) -> None:
        """Do nothing: there is no memory."""


def _random_rows(like: Tensor) -> Design:
    rank, width = like.shape
    rows = torch.randn(like.shape, device=like.device) / (3 * width) ** 0.5
    return Design(rows.double(), rank, rows.new_ones(min(rank, width)))
