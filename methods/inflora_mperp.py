"""InfLoRA's ablation with random branches in the free space."""

from __future__ import annotations

import torch

from benchmark import Task, TaskData, register
from benchmark.peft.subspace import Design
from methods.inflora import InfLoRA


@register("inflora_mperp")
class InfLoRAMemoryOnly(InfLoRA):
    """InfLoRA designed without the new task's inputs (paper: "M_t^perp -> B_t").

    Liang and Li, CVPR 2024, ablation of the design. The inputs that the down projection is designed
    from are replaced by Gaussian noise, then projected as in InfLoRA: old tasks are protected in
    the same way, but the directions within the free space are random.

    Kept between tasks: as `inflora`, including the gradient memory. Expanded parameters: those of
    `inflora`.

    No code was published. Our choices: the second moment is that of 2 d draws (as the Gaussian is
    isotropic, the branch is a uniformly random frame of the free space whatever their number); the
    pass over the images before training is omitted.
    """

    def designs(self, task: Task, data: TaskData) -> list[Design]:
        """A random frame of the free space of every adapted block."""
        found = []
        for branch, memory in zip(self.branches, self.memories, strict=True):
            width = branch.down.shape[-1]
            inputs = torch.randn(width, 2 * width, device=branch.down.device).double()
            found.append(self.design(inputs @ inputs.T / (2 * width), memory))
        return found
