"""Times a method's training step against its floor, and its evaluation."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.backbones.load import load_backbone
from benchmark.engine import cost
from benchmark.engine.cost import matrix_peak
from benchmark.engine.trainer import autocast, make_optimizer
from benchmark.method import Batch
from benchmark.spec import Recipe
from benchmark.workshop.speed.floors import NoFloorError, floor_of
from benchmark.workshop.speed.subject import Variant, in_second_task, query
from benchmark.workshop.speed.timing import (
    WARM,
    Pairs,
    TimingBudget,
    in_ms,
    paired,
    repeated,
    seconds,
)

ALIKE = {"fp32": 1e-3, "bf16": 5e-2}  # relative difference of losses that rounding may make
EVALUATION = 6  # share of the budget that goes to evaluation: one in six
SEED = 0  # of dropout, where losses are compared

Note = Callable[[str, str, float], None]  # whose turn it is, what is done, the share of it


@dataclass(frozen=True)
class SpeedSettings:
    """The conditions of a measurement."""

    backbone: str = "tiny_sup"
    device: str = "cpu"
    precision: str = "fp32"
    batch_size: int = 32
    threads: int = 1


@dataclass(frozen=True)
class SpeedRow:
    """One method's figures; times in milliseconds, None where nothing is trained or no floor is.

    ratio: step over floor within each pair, (smallest, median, largest). pairs_ms: every pair, or
    step alone. remark: why there is no ratio. load: the machine's load average when it began.
    """

    label: str
    method: str
    settings: dict[str, Any]
    step_ms: float | None
    floor_ms: float | None
    ratio: tuple[float, float, float] | None
    pairs_ms: list[tuple[float, ...]]
    train_images_per_second: float | None
    eval_images_per_second: float
    share_of_peak: float | None
    peak_memory_mb: float
    remark: str
    load: float | None
    finished: str


def speed_rows(
    variants: Iterable[Variant], settings: SpeedSettings, budget: TimingBudget, note: Note
) -> Iterator[SpeedRow]:
    """Time every method on one backbone, one row at a time; nothing of a method outlives it."""
    device = torch.device(settings.device)
    vit = load_backbone(settings.backbone).model.to(device)
    peak = matrix_peak(device, settings.precision)
    for variant in variants:
        row = _Subject(variant, vit, settings, partial(note, variant.label)).row(peak, budget)
        release(device)
        yield row


def release(device: torch.device) -> None:
    """Give back the memory of what is no longer used, to the system where it lets us."""
    gc.collect()  # hooks and ports refer to one another: nothing else would free them
    if device.type == "cuda":
        torch.cuda.empty_cache()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # a C library other than glibc
            ctypes.CDLL("libc.so.6").malloc_trim(0)


class _Subject:
    """One method in its second task, with its optimizer; `note` takes what is done, and how far."""

    def __init__(
        self,
        variant: Variant,
        vit: VisionTransformer,
        settings: SpeedSettings,
        note: Callable[[str, float], None],
    ) -> None:
        self.variant, self.vit, self.note = variant, vit, note
        self.device, self.precision = torch.device(settings.device), settings.precision
        self.load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        note("first task", 0.0)
        self.method, self.task, self.batch = in_second_task(
            variant.method, variant.settings, vit, settings.batch_size, settings.precision
        )
        self.optimizer = make_optimizer(self.method, Recipe(lr=1e-4))

    def row(self, peak: float, budget: TimingBudget) -> SpeedRow:
        """All figures; peak: operations per second of the machine."""
        count = len(self.batch.labels)
        flops, pairs, steps, remark = 0.0, None, [], "nothing is trained"
        if self.optimizer is not None:
            self.note("one step", 0.0)
            memory, first = self._memory(self.step)
            flops, loss = self._operations()
            try:
                pairs = self._pairs(self._floor(loss), budget, first)
                steps, remark = [step for step, _ in pairs.times], ""
            except NoFloorError as error:
                steps, remark = repeated(self.step, budget, self.device), str(error)
        self.method.eval()
        if self.optimizer is None:
            memory, _ = self._memory(self.predict)
        self.note("evaluation", 1.0)
        few = TimingBudget(budget.repeats, budget.seconds / EVALUATION)
        evaluation = statistics.median(repeated(self.predict, few, self.device))
        step = statistics.median(steps) if steps else None
        times = pairs.times if pairs else [(t,) for t in steps]
        return SpeedRow(
            label=self.variant.label,
            method=self.variant.method,
            settings=dict(self.variant.settings),
            step_ms=1000 * step if step else None,
            floor_ms=1000 * pairs.second if pairs else None,
            ratio=pairs.ratio if pairs else None,
            pairs_ms=in_ms(times),
            train_images_per_second=count / step if step else None,
            eval_images_per_second=count / evaluation,
            share_of_peak=flops / step / peak if step else None,
            peak_memory_mb=memory,
            remark=remark,
            load=self.load,
            finished=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )

    def step(self) -> None:
        """One training step as the runner's trainer makes it, the frozen query included."""
        assert self.optimizer is not None
        loss = self._loss()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.method.after_step(self.task)

    def predict(self) -> None:
        """One batch of an evaluation; frozen features come from the runner's memory."""
        frozen = () if self.batch.frozen is None else (self.batch.frozen,)
        with torch.inference_mode(), self._autocast():
            self.method.predict(self.batch.images, *frozen)

    def _loss(self) -> torch.Tensor:
        images, labels = self.batch.images, self.batch.labels
        frozen = None
        if self.method.frozen_features:  # the runner computes it for every batch
            frozen = query(self.vit, images, self.precision)
        with self._autocast():
            return self.method.loss(Batch(images, labels, frozen), self.task)

    def _operations(self) -> tuple[float, float]:
        """Operations of a step, optimizer left out, and its loss; leaves the method as it is."""
        # The plain attention formula: fused kernels are not counted on every device.
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            torch.manual_seed(SEED)
            loss = self._loss()
            loss.backward()
        self.method.zero_grad(set_to_none=True)
        return float(counter.get_total_flops()), float(loss.detach())

    def _floor(self, wanted: float) -> Callable[[], torch.Tensor]:
        """The floor's step, which has to have the loss of the method."""
        floor = floor_of(self.method, self.task)

        def step() -> torch.Tensor:
            return floor.step(self.batch.images, self.batch.labels, self._autocast())

        torch.manual_seed(SEED)
        loss = float(step())
        if abs(loss - wanted) > ALIKE[self.precision] * max(abs(wanted), 1.0):
            raise NoFloorError(f"the floor has another loss, {loss:.6g} for {wanted:.6g}")
        return step

    def _pairs(self, floor: Callable[[], Any], budget: TimingBudget, first: float) -> Pairs:
        """Steps paired with those of the floor; each has made one, in `first` seconds."""

        def note(done: int, planned: int) -> None:
            self.note(f"{done} pairs timed", done / planned)

        return paired(self.step, floor, budget, self.device, note, max(WARM - first, 0.0))

    def _memory(self, work: Callable[[], None]) -> tuple[float, float]:
        """Peak memory in MB of a work done once, and its seconds."""
        release(self.device)
        cost.reset_peak_memory(self.device)
        taken = seconds(work, self.device)
        return cost.peak_memory_mb(self.device), taken

    def _autocast(self) -> Any:
        return autocast(self.device, self.precision)
