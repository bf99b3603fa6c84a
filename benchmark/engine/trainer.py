"""Training on one task: the one loop every method goes through."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmark.data.stream import TrainingData
from benchmark.engine import hooks
from benchmark.method import Method, Task
from benchmark.spec import Recipe

PART_OF_EVERY_RUN = True  # see engine.provenance


class TrainingError(RuntimeError):
    """Training that cannot continue, such as a loss that is not finite."""


class Observer:
    """Callbacks during training; each does nothing by default."""

    def prepared(self, method: Method, task: Task) -> None:
        """After `begin_task`, before the first step."""

    def step(self, task: Task, epoch: int, loss: Tensor, lr: float) -> None:
        """After every optimizer step; `loss` is still on the device."""

    def epoch_done(self, task: Task, epoch: int, mean_loss: float) -> None:
        """After every epoch."""

    def trained(self, method: Method, task: Task) -> None:
        """After the last epoch, before `end_task`."""


@dataclass(frozen=True)
class TaskRecord:
    """Outcome of training one task: mean loss of every epoch, time, trained parameters."""

    losses: list[float]
    seconds: float
    images: int
    trainable: int


@dataclass
class Training:
    """Training on a task under way, and how far it is.

    Attributes:
        started: When it began, on the clock of `time.perf_counter`.
        epoch: 0-based, the current one.
        batches: Batches of it that are done.
        total: Sum of their losses over images, float64 on the device; count: images in them.
        losses: Mean loss of the epochs before.
        images: Images in them.
    """

    method: Method
    task: Task
    data: TrainingData
    optimizer: torch.optim.Optimizer
    started: float
    total: Tensor
    epoch: int = 0
    batches: int = 0
    count: int = 0
    losses: list[float] = field(default_factory=list)
    images: int = 0

    @property
    def trained(self) -> list[torch.nn.Parameter]:
        """The parameters in the optimizer."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


class Saver:
    """Saves training within a task, and resumes it; does nothing by default."""

    @contextmanager
    def watch(self, training: Training) -> Iterator[None]:
        """Around all steps: first moves `training`, which is at its start, to where it was."""
        yield

    def due(self) -> bool:
        """Whether to save after this step."""
        return False

    def save(self, training: Training) -> None:
        """Save training after a step."""


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """Mixed precision for `precision="bf16"`, otherwise nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def train_task(
    method: Method,
    task: Task,
    data: TrainingData,
    recipe: Recipe,
    observer: Observer | None = None,
    precision: str = "fp32",
    saver: Saver | None = None,
) -> TaskRecord:
    """Prepare, train and finish one task; `method.grow(task)` was called by the caller."""
    observer, saver = observer or Observer(), saver or Saver()
    device = next(method.parameters()).device
    started = time.perf_counter()
    method.eval()
    with autocast(device, precision):
        hooks.call(method, "begin_task", task, data)
    observer.prepared(method, task)

    losses: list[float] = []
    images = trainable = 0
    optimizer = make_optimizer(method, recipe)
    if optimizer is not None:
        total = torch.zeros((), device=device, dtype=torch.float64)
        training = Training(method, task, data, optimizer, started, total)
        with saver.watch(training):
            for epoch in range(training.epoch, recipe.epochs):
                _train_epoch(training, epoch, recipe, observer, precision, saver)
            _check_backbone_untouched(training)
        optimizer.zero_grad(set_to_none=True)
        losses, images, started = training.losses, training.images, training.started
        trainable = sum(p.numel() for p in training.trained)

    method.eval()
    observer.trained(method, task)
    with autocast(device, precision):
        hooks.call(method, "end_task", task, data)
    return TaskRecord(losses, time.perf_counter() - started, images, trainable)


def _train_epoch(
    training: Training,
    epoch: int,
    recipe: Recipe,
    observer: Observer,
    precision: str,
    saver: Saver,
) -> None:
    """The steps of an epoch that are not done yet."""
    method, task, optimizer = training.method, training.task, training.optimizer
    device, trained = training.total.device, training.trained
    lr = learning_rate(recipe, epoch)
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_scale"]
    if not training.batches:
        method.train()
        hooks.call(method, "begin_epoch", task, epoch)
    for batch in training.data.epoch(epoch, training.batches):
        with autocast(device, precision):
            loss = hooks.loss(method, batch, task)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if recipe.clip_norm > 0:
            torch.nn.utils.clip_grad_norm_(trained, recipe.clip_norm)
        optimizer.step()
        hooks.call(method, "after_step", task)
        # Summed on the device: reading the loss at every step would stall a GPU.
        training.total += loss.detach() * len(batch.labels)
        training.count += len(batch.labels)
        training.batches += 1
        observer.step(task, epoch, loss.detach(), lr)
        if saver.due():
            _check_backbone_untouched(training)  # a later process does not see these gradients
            saver.save(training)
    training.losses.append(_mean_loss(training.total, training.count, task, epoch))
    training.images += training.count
    training.epoch, training.batches, training.count = epoch + 1, 0, 0
    training.total.zero_()
    observer.epoch_done(task, epoch, training.losses[-1])


def learning_rate(recipe: Recipe, epoch: int) -> float:
    """Base learning rate of 0-based `epoch`, constant within the epoch.

    late_cosine is the schedule of the official InfLoRA and CODA-Prompt code,
    lr * cos(99 pi s / (200 (E - 1))) with s = max(epoch - 1, 0): the first two epochs run at the
    base rate and the last one does not reach zero. With one epoch the rate is the base rate.
    cosine falls from lr towards zero, lr / 2 * (1 + cos(pi epoch / E)).
    """
    last = recipe.epochs - 1
    if recipe.schedule == "late_cosine" and last > 0:
        return recipe.lr * math.cos(99 * math.pi * max(epoch - 1, 0) / (200 * last))
    if recipe.schedule == "cosine":
        return recipe.lr * 0.5 * (1 + math.cos(math.pi * epoch / recipe.epochs))
    if recipe.schedule == "multistep":
        return recipe.lr * recipe.gamma ** sum(epoch >= m for m in recipe.milestones)
    return recipe.lr


def make_optimizer(method: Method, recipe: Recipe) -> torch.optim.Optimizer | None:
    """A fresh optimizer over the method's groups, or None when it trains nothing."""
    groups = [
        {
            "params": group["params"],
            "lr_scale": recipe.lr_scales.get(group["name"], group["lr_scale"]),
        }
        for group in hooks.parameter_groups(method)
        if group["params"]
    ]
    if not groups:
        return None
    lr, decay = recipe.lr, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr, recipe.momentum, weight_decay=decay, fused=True)
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(groups, lr, recipe.betas, weight_decay=decay, fused=True)


def _mean_loss(total: Tensor, count: int, task: Task, epoch: int) -> float:
    if count == 0:
        raise TrainingError(
            f"task {task.index + 1} has no full batch in epoch {epoch + 1}: "
            "use a smaller batch_size, or drop_last: false"
        )
    mean = float(total) / count
    if not math.isfinite(mean):
        raise TrainingError(
            f"the loss became {mean} in epoch {epoch + 1} of task {task.index + 1}: "
            "a smaller training.lr usually helps"
        )
    return mean


def _check_backbone_untouched(training: Training) -> None:
    """Check that a method with `trains_backbone = False` leaves the backbone alone."""
    method = training.method
    if method.trains_backbone:
        return
    declared = {id(p) for p in training.trained}
    for name, p in method.backbone.named_parameters():
        if p.grad is not None and id(p) not in declared:
            raise TrainingError(
                f"{method.name} declares trains_backbone = False, but gradients reached {name}"
            )
