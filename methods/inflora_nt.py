"""InfLoRA's ablation with branches for the new task alone."""

from __future__ import annotations

from torch import Tensor

from benchmark import Task, TaskData, register
from benchmark.peft.subspace import Design, GradientMemory, design
from methods.inflora import InfLoRA


@register("inflora_nt")
class InfLoRANewTask(InfLoRA):
    """InfLoRA designed from the new task's inputs without regard to old ones (paper: N_t -> B_t).

    Liang and Li, CVPR 2024, ablation of the design; no code was published. The down projection
    holds the leading directions of the new task's inputs (X = C for every task), which may lie in
    the space of old tasks: trained for the new task it tends to disturb the old ones.

    Kept between tasks: the merged weights and the heads. There is no gradient memory: `lamb`,
    `lame`, `memory`, `projection` and `first_basis` have no effect and are there so that one set
    of settings serves all variants. Expanded parameters: those of `inflora`.
    """

    def design(self, moment: Tensor, memory: GradientMemory) -> Design:
        """Leading directions [rank, d] of the block's inputs [d, d]."""
        return design(moment, None, self.config.rank)

    def protect(self, task: Task, data: TaskData) -> None:
        """Nothing is protected, and nothing remembered."""
