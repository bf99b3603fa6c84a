"""The epochs of any pre-training objective: resumption, the curve of its scores, progress."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from benchmark.workshop.pretrain.checkpoint import (
    CheckpointError,
    check_place,
    load_checkpoint,
    save_checkpoint,
)
from benchmark.workshop.pretrain.record import CurvePoint, EpochReport

Measure = Callable[[], dict[str, float]]


class Training(ABC):
    """An objective under way, on images uint8 [N, H, W, 3] in whole batches."""

    images: Tensor

    @property
    @abstractmethod
    def batch_size(self) -> int:
        """Gives the number of images of one step."""

    @property
    def epoch_steps(self) -> int:
        """Gives the number of whole batches in the images."""
        return len(self.images) // self.batch_size

    @property
    def epoch_images(self) -> int:
        """Gives the number of images of one epoch."""
        return self.epoch_steps * self.batch_size

    @abstractmethod
    def epoch(self, epoch: int) -> dict[str, float]:
        """Trains for one pass over the images and gives its loss and other figures."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Gives everything that the next epoch depends on."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Takes up what `state` gave."""


@dataclass(frozen=True)
class Plan:
    """How many epochs, how many of them do not depend on that number, how often to measure."""

    epochs: int
    open_epochs: int
    measure_every: int


def run_epochs(
    training: Training,
    plan: Plan,
    checkpoint: Path,
    identity: str,
    measure: Measure,
    on_epoch: Callable[[EpochReport], None],
) -> tuple[list[CurvePoint], float]:
    """Trains to the end of the plan; gives the curve and the seconds, earlier processes' included.

    Cut short, it continues at the last finished epoch. The number of epochs and the length of the
    decay may be changed by a continued run as long as no finished epoch depends on them.
    """
    check_place(checkpoint)
    first, seconds = 0, 0.0
    curve: list[CurvePoint] = []
    if state := load_checkpoint(checkpoint, identity):
        _check_plan(plan, state["epoch"], state["epochs"], state["open_epochs"], checkpoint)
        training.restore(state)
        first, seconds = state["epoch"], state["seconds"]
        curve = [CurvePoint(**point) for point in state["curve"]]
    for epoch in range(first, plan.epochs):
        started = time.perf_counter()
        figures = training.epoch(epoch)
        trained = time.perf_counter() - started
        if epoch + 1 == plan.epochs or (epoch + 1) % plan.measure_every == 0:
            figures = {**figures, **measure()}
        curve.append(CurvePoint(epoch + 1, figures))
        seconds += time.perf_counter() - started
        state = {
            **training.state(),
            "epoch": epoch + 1,
            "epochs": plan.epochs,
            "open_epochs": plan.open_epochs,
            "seconds": seconds,
            "curve": [vars(point) for point in curve],
        }
        save_checkpoint(checkpoint, identity, state)
        on_epoch(
            EpochReport(
                epoch=epoch + 1,
                epochs=plan.epochs,
                figures=figures,
                images_per_second=training.epoch_images / trained,
                seconds_left=seconds / (epoch + 1) * (plan.epochs - epoch - 1),
            )
        )
    return curve, seconds


def identity_of(settings: Mapping[str, Any], digest: str) -> str:
    """Gives what a continued run must share with the earlier one: all but the plan, and the data.

    `settings` are those of any objective; its plan is `epochs` and the optimiser's `decay_epochs`.
    """
    kept = {key: value for key, value in settings.items() if key != "epochs"}
    kept["optimiser"] = {k: v for k, v in settings["optimiser"].items() if k != "decay_epochs"}
    return json.dumps([kept, digest], sort_keys=True)


def _check_plan(plan: Plan, done: int, epochs: int, open_epochs: int, path: Path) -> None:
    """Refuses to continue for another number of epochs than the finished ones were made for."""
    if (plan.epochs, plan.open_epochs) == (epochs, open_epochs):
        return
    if done > min(plan.open_epochs, open_epochs):
        raise CheckpointError(
            f"{path}: belongs to other settings: {done} of {epochs} epochs are done, the decay of "
            f"the learning rate begins after {open_epochs}, and for {plan.epochs} epochs it would "
            f"have begun after {plan.open_epochs}; ask for {epochs} epochs and the same decay, "
            "remove the file or choose another output folder"
        )
