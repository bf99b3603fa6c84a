"""What all objectives share: steps by several threads, the optimizer, its learning rate."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.workshop.pretrain.images import Standardise
from benchmark.workshop.pretrain.recipes import OptimizerSettings, Settings


class Training(ABC):
    """An objective under way, on images uint8 [N, H, W, 3] in whole batches.

    Attributes:
        open_epochs: The first epochs, which do not depend on the number of epochs.
        measure_every: Epochs from one measurement to the next.
    """

    measure_every: int
    optimizer: torch.optim.Optimizer

    def __init__(self, settings: Settings, images: Tensor, pool: ThreadPoolExecutor) -> None:
        self.recipe, self.images, self.pool = settings, images, pool
        self.epoch_steps = len(images) // settings.batch_size
        self.steps = settings.epochs * self.epoch_steps
        self.open_epochs = open_epochs(settings.optimizer, settings.epochs, self.epoch_steps)
        self.standardise = Standardise.of(images)

    @property
    @abstractmethod
    def backbone(self) -> VisionTransformer:
        """The backbone whose weights are kept."""

    @abstractmethod
    def parts(self) -> dict[str, Any]:
        """Return the networks and optimizers that training changes."""

    @abstractmethod
    def epoch(self, epoch: int) -> dict[str, float]:
        """Train for one pass over the images; return its loss and other figures."""

    @abstractmethod
    def loss(self, step: int, chunk: int, chosen: Tensor) -> Tensor:
        """Return the share in the batch's loss of the images int64 [B] of one chunk."""

    def autocast(self) -> torch.autocast:
        """Return the context in which the networks compute: in the recipe's precision."""
        reduced = self.recipe.precision == "bfloat16"
        return torch.autocast("cpu", torch.bfloat16, enabled=reduced)

    def batches(self, epoch: int, order: Tensor) -> Iterator[tuple[int, Tensor]]:
        """Yield the steps of an epoch and their images, int64 [B], in this order."""
        size = self.recipe.batch_size
        for index in range(self.epoch_steps):
            yield epoch * self.epoch_steps + index, order[index * size : (index + 1) * size]

    def step(self, step: int, batch: Tensor, parameters: Sequence[Tensor]) -> float:
        """Train the parameters on a batch, chunk by chunk in several threads; return its loss."""
        chunks = torch.split(batch, self.recipe.chunk_size)
        losses = [partial(self.loss, step, index, part) for index, part in enumerate(chunks)]
        loss = accumulate(self.pool, losses, parameters)
        settings = self.recipe.optimizer
        rate = learning_rate(settings, step, self.steps, self.epoch_steps)
        step_optimizer(self.optimizer, rate, settings.clip_norm)
        return loss

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        return {name: part.state_dict() for name, part in self.parts().items()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""
        for name, part in self.parts().items():
            part.load_state_dict(state[name])


def build_optimizer(modules: Iterable[nn.Module], settings: OptimizerSettings) -> torch.optim.AdamW:
    """Return AdamW over all parameters, with weight decay on matrices only."""
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    matrices = [p for p in parameters if _is_matrix(p)]
    others = [p for p in parameters if not _is_matrix(p)]
    groups = [
        {"params": matrices, "weight_decay": settings.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


def _is_matrix(parameter: nn.Parameter) -> bool:
    """Tell whether a parameter maps features; tokens and positions are [1, N, D] and do not."""
    return parameter.ndim >= 2 and parameter.shape[0] > 1


def phases(settings: OptimizerSettings, steps: int, epoch_steps: int) -> tuple[int, int]:
    """Return the numbers of steps of the warm-up and of the decay."""
    warmup = min(round(settings.warmup_epochs * epoch_steps), steps // 2)
    return warmup, min(round(settings.decay_epochs * epoch_steps), steps - warmup)


def learning_rate(settings: OptimizerSettings, step: int, steps: int, epoch_steps: int) -> float:
    """Return the rate of `step` (from 0) of `steps`: warm-up, plateau, half a cosine to zero."""
    warmup, decay = phases(settings, steps, epoch_steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    progress = max(0.0, (step - (steps - decay)) / max(1, decay))
    return settings.learning_rate * 0.5 * (1.0 + math.cos(math.pi * progress))


def open_epochs(settings: OptimizerSettings, epochs: int, epoch_steps: int) -> int:
    """Return the number of first epochs whose rates do not depend on the number of epochs."""
    warmup, decay = phases(settings, epochs * epoch_steps, epoch_steps)
    if warmup < round(settings.warmup_epochs * epoch_steps):
        return 0
    return (epochs * epoch_steps - decay) // epoch_steps


def step_optimizer(optimizer: torch.optim.Optimizer, rate: float, clip_norm: float) -> None:
    """Take one step at `rate` with the gradients' joint norm clipped, then drop the gradients."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    nn.utils.clip_grad_norm_(parameters, clip_norm)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


@contextmanager
def workers(count: int) -> Iterator[ThreadPoolExecutor]:
    """Return a pool of threads that compute on one core each.

    Threads that share every operation wait for the slowest core at each of them; on a machine
    that others use too, whole chunks handed to whichever thread is free are several times faster.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def accumulate(
    pool: ThreadPoolExecutor, losses: Sequence[Callable[[], Tensor]], parameters: Sequence[Tensor]
) -> float:
    """Set each parameter's gradient of the sum of the losses, and return that sum.

    The losses are computed in several threads: they may not touch the global random state. Their
    gradients are added in the order given, whichever was done first.
    """

    def gradients(loss_of: Callable[[], Tensor]) -> tuple[float, tuple[Tensor, ...]]:
        loss = loss_of()
        return loss.item(), torch.autograd.grad(loss, parameters)

    total = 0.0
    for loss, parts in pool.map(gradients, losses):
        total += loss
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part if parameter.grad is None else parameter.grad.add_(part)
    return total
