"""Paired, interleaved timings: a method's step over its floor, the runner over a bare loop."""

from __future__ import annotations

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.backbones.loader import load_backbone
from benchmark.config import Recipe
from benchmark.data.stream import ImageStream, make_tasks
from benchmark.data.transforms import CropFlip, plain
from benchmark.engine import cost
from benchmark.engine.trainer import autocast, make_optimiser, train_task
from benchmark.method import Batch, Method, Task
from benchmark.registry import get_method
from benchmark.speed.floors import floor_of

CLASSES = 8


@dataclass(frozen=True)
class SpeedSettings:
    """What is timed and how long."""

    backbone: str = "tiny_sup"
    precision: str = "fp32"
    batch_size: int = 32
    repeats: int = 15
    device: str = "cpu"


@dataclass(frozen=True)
class SpeedRow:
    """One method's figures; times in milliseconds, ratios as (smallest, median, largest)."""

    method: str
    step_ms: float
    floor_ms: float | None
    ratio: tuple[float, float, float] | None
    train_images_per_second: float
    eval_images_per_second: float
    share_of_peak: float
    peak_memory_mb: float


def speed_rows(methods: list[str], settings: SpeedSettings) -> Iterator[SpeedRow]:
    """Time every method on one backbone, one row at a time."""
    device = torch.device(settings.device)
    peak = matrix_peak(device, settings.precision)
    vit = load_backbone(settings.backbone).model.to(device)
    for name in methods:
        yield _method_row(name, vit, settings, device, peak)


def runner_overhead(settings: SpeedSettings) -> tuple[float, float, float]:
    """Time of the suite's training loop over a bare one: (smallest, median, largest) ratio.

    Both train the whole backbone and one head on the same images with the same augmentation; the
    bare loop below is all that a script of one's own would contain.
    """
    device = torch.device(settings.device)
    vit = load_backbone(settings.backbone).model.to(device)
    images, labels = _images(vit, 8 * settings.batch_size, device)
    task = Task(0, 1, range(CLASSES))
    recipe = Recipe(lr=1e-5, epochs=1, batch_size=settings.batch_size)
    kind = get_method("sequential")
    method = kind(_trainable(vit), kind.Config())
    method.grow(task)
    method.to(device)
    augment = CropFlip()

    def suite() -> None:
        stream = ImageStream(
            task, images, labels, batch_size=settings.batch_size, seed=0, augment=augment
        )
        train_task(method, task, stream, recipe, precision=settings.precision)

    model = nn.Sequential(_trainable(vit), nn.Linear(vit.num_features, CLASSES)).to(device)

    def bare() -> None:
        optimiser = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
        model.train()
        order = torch.randperm(len(images))
        draws = torch.Generator().manual_seed(0)
        for index in order.split(settings.batch_size):
            x, y = augment(images[index], draws), labels[index]
            with autocast(device, settings.precision):
                loss = F.cross_entropy(model(x), y)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()

    _, _, ratio = paired(suite, bare, settings.repeats, device)
    return ratio


def paired(
    first: Callable[[], None], second: Callable[[], None], repeats: int, device: torch.device
) -> tuple[float, float, tuple[float, float, float]]:
    """Median seconds of both and the ratio first / second pair by pair, runs alternating."""
    times: list[tuple[float, float]] = []
    for turn in range(repeats + 2):
        order = (first, second) if turn % 2 else (second, first)
        taken = {work: _seconds(work, device) for work in order}
        if turn >= 2:  # the first two turns warm up
            times.append((taken[first], taken[second]))
    ratios = sorted(a / b for a, b in times)
    medians = (statistics.median(column) for column in zip(*times, strict=True))
    return (*medians, (ratios[0], statistics.median(ratios), ratios[-1]))


def matrix_peak(device: torch.device, precision: str, size: int = 1024) -> float:
    """Operations per second of a large matrix product: what this machine can do at best."""
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    best = min(_seconds(lambda: torch.mm(a, b), device) for _ in range(10))
    return 2 * size**3 / best


def _method_row(
    name: str, vit: VisionTransformer, settings: SpeedSettings, device: torch.device, peak: float
) -> SpeedRow:
    images, labels = _images(vit, settings.batch_size, device)
    cost.reset_peak_memory(device)
    method, task = _in_second_task(name, vit, settings, device)
    pixels = plain(images)
    labels = labels + task.classes.start
    frozen = _query(vit, pixels) if method.frozen_features else None
    batch = Batch(pixels, labels, frozen)
    optimiser = make_optimiser(method, Recipe(lr=1e-4))

    def step() -> None:
        if optimiser is None:
            return
        with autocast(device, settings.precision):
            # The frozen query belongs to the step: the runner computes it for every batch.
            query = _query(vit, pixels) if method.frozen_features else None
            loss = method.loss(Batch(pixels, labels, query), task)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        method.after_step(task)

    floor = floor_of(name, method.config, vit, CLASSES) if optimiser else None

    def least() -> None:
        if floor is not None:
            with autocast(device, settings.precision):
                floor(pixels, labels - task.classes.start)

    def predict() -> None:
        with torch.inference_mode(), autocast(device, settings.precision):
            method.predict(*((pixels,) if frozen is None else (pixels, frozen)))

    method.train()
    step_s, floor_s, ratio = paired(step, least if floor else step, settings.repeats, device)
    method.eval()
    eval_s = statistics.median(_seconds(predict, device) for _ in range(settings.repeats))
    peak_memory = cost.peak_memory_mb(device)
    flops = cost.flops_per_image(method, batch, task, cost.forward_flops(vit, pixels))
    speed = settings.batch_size / step_s if optimiser else 0.0
    return SpeedRow(
        method=name,
        step_ms=1000 * step_s,
        floor_ms=1000 * floor_s if floor else None,
        ratio=ratio if floor else None,
        train_images_per_second=speed,
        eval_images_per_second=settings.batch_size / eval_s,
        share_of_peak=speed * flops["train"] / peak,
        peak_memory_mb=peak_memory,
    )


def _in_second_task(
    name: str, vit: VisionTransformer, settings: SpeedSettings, device: torch.device
) -> tuple[Method, Task]:
    """The method ready to train its second of ten tasks, what most of its steps look like."""
    kind = get_method(name)
    method = kind(_trainable(vit), kind.Config())
    images, labels = _images(vit, settings.batch_size, device)
    tasks = make_tasks([CLASSES] * (1 if kind.stream == "joint" else 10))[:2]
    for task in tasks:
        method.grow(task)
        method.to(device)
        data = ImageStream(
            task,
            images,
            labels + task.classes.start,
            batch_size=settings.batch_size,
            seed=0,
            frozen=(lambda x: _query(vit, x)) if kind.frozen_features else None,
        )
        if task is not tasks[-1]:
            train_task(method, task, data, Recipe(lr=1e-4, epochs=1), precision=settings.precision)
            continue
        method.eval()
        with autocast(device, settings.precision):
            method.begin_task(task, data)
        # Past the epochs in which some methods train the head alone.
        method.begin_epoch(task, 10**6)
    return method, tasks[-1]


def _trainable(vit: VisionTransformer) -> VisionTransformer:
    own: VisionTransformer = copy.deepcopy(vit)
    own.requires_grad_(True)
    return own


def _query(vit: VisionTransformer, images: Tensor) -> Tensor:
    with torch.no_grad():
        features: Tensor = vit(images)
    return features


def _images(vit: VisionTransformer, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    draws = torch.Generator().manual_seed(0)
    height, width = vit.patch_embed.img_size
    images = torch.randint(256, (count, 3, height, width), generator=draws, dtype=torch.uint8)
    labels = torch.arange(count, device=device) % CLASSES
    return images.to(device), labels


def _seconds(work: Callable[[], Any], device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    started = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started
