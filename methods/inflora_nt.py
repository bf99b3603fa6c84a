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
    holds the leading directions of the new task's inputs (X = C for every task), which may overlap
    with the space of old tasks, so that training tends to interfere with them.

    Kept between tasks: the merged weights and the heads. There is no gradient memory: `lamb`,
    `lame`, `memory`, `projection` and `first_basis` have no effect and exist so that all variants
    share one set of settings. Expanded parameters: those of `inflora`.
    """

    def design(self, moment: Tensor, memory: GradientMemory) -> Design:
        """Leading directions [rank, d] of the block's inputs [d, d]."""
        return design(moment, None, self.config.rank)

    def protect(self, task: Task, data: TaskData) -> None:
        """Do nothing: there is no memory."""
