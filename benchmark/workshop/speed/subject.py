"""What is timed: methods, with the settings of other steps, in the middle of training."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.backbones.architecture import input_sizes
from benchmark.config.assignments import check_used, read_assignments, values_for
from benchmark.config.reading import as_suite_error
from benchmark.data.stream import TrainingData, make_tasks
from benchmark.data.transforms import plain
from benchmark.engine.trainer import autocast, train_task
from benchmark.method import Batch, Method, Task
from benchmark.registry import METHODS
from benchmark.spec import Recipe, Settings, values_of
from benchmark.validation import Errors, unknown_key

CLASSES = 8  # a task
TASKS = 10
_PETS = [{"pet": pet} for pet in ("lora", "adapter", "prefix")]
_KINDS = ("conv", "linear", "none")
_PAIRS = [(msa, mlp) for msa in _KINDS for mlp in _KINDS if (msa, mlp) != ("none", "none")]
_MIXES = [{"msa": msa, "mlp": mlp} for msa, mlp in _PAIRS]
_VARIANTS: dict[str, list[dict[str, str]]] = {
    "lae": _PETS, "lae_ties": _PETS, "lae_conv": _MIXES, "lae_conv_ties": _MIXES,
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A method and those of its settings that differ from its defaults."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of its row, such as `lae pet=adapter`."""
        return " ".join([self.method, *(f"{k}={_plain(v)}" for k, v in self.settings.items())])


def variants(
    methods: Iterable[str], sets: Iterable[str] = (), every: bool = False
) -> list[Variant]:
    """The methods with the settings of `--set [METHOD.]settings.KEY=VALUE`.

    every: also with every kind of module that a method offers. Raises `SuiteError` with all errors.
    """
    errors = Errors()
    assignments = read_assignments(sets, errors)
    for one in assignments:
        if one.block != "settings":
            fault = "no part of a training step: " + unknown_key(one.key, ("settings.KEY",))
            errors.add(fault, one.option)
    with as_suite_error():
        errors.check()
    configs = {name: METHODS.get(name).Config for name in methods}
    check_used(assignments, configs, errors)
    found: list[Variant] = []
    for name, config in configs.items():
        given = values_for(assignments, name, "settings", config, errors)
        for kinds in _VARIANTS.get(name, [{}]) if every else [{}]:
            if not errors:
                with errors.at(f"--set {name}.settings"):
                    found.append(Variant(name, _changed(config(**{**kinds, **given}), config())))
    with as_suite_error():
        errors.check()
    return list({variant.label: variant for variant in found}.values())


def _changed(settings: Settings, defaults: Settings) -> dict[str, Any]:
    before = values_of(defaults)
    return {key: value for key, value in values_of(settings).items() if value != before[key]}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)


class RandomImages(TrainingData):
    """A task's training images, float32 in [0, 1], on the device: one batch or a few more.

    There are as many as a batch holds, and at least one for every class.
    """

    def __init__(
        self, task: Task, vit: VisionTransformer, batch_size: int, precision: str, frozen: bool
    ) -> None:
        count = max(batch_size, CLASSES)
        images, labels = random_images(vit, count)
        self._precision = precision
        parts = zip(
            plain(images).split(batch_size),
            (labels % len(task.classes) + task.classes.start).split(batch_size),
            strict=True,
        )
        self._batches = [
            Batch(x, y, query(vit, x, precision) if frozen else None) for x, y in parts
        ]

    def epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """All batches."""
        yield from self._batches[done:]

    def batches(self, augment: bool) -> Iterator[Batch]:
        """All batches."""
        yield from self._batches


def in_second_task(
    name: str,
    settings: Mapping[str, Any],
    vit: VisionTransformer,
    batch_size: int,
    precision: str,
) -> tuple[Method, Task, Batch]:
    """A method ready to train its second of ten tasks, what most of its steps look like.

    Its first task lasted for one epoch of few images. `vit` stays untouched on its device. Gives
    the method in training mode, its task and a batch of it.
    """
    kind = METHODS.get(name)
    method = kind(copy.deepcopy(vit).requires_grad_(True), kind.Config(**settings))
    device = next(vit.parameters()).device
    tasks = make_tasks([CLASSES] * (1 if kind.stream == "joint" else TASKS))[:2]
    for task in tasks:
        method.grow(task)
        method.to(device)
        data = RandomImages(task, vit, batch_size, precision, kind.frozen_features)
        if task is not tasks[-1]:
            train_task(method, task, data, Recipe(lr=1e-4, epochs=1), precision=precision)
    method.eval()
    with autocast(device, precision):
        method.begin_task(task, data)
    method.train()
    # Past the epochs in which some methods train the head alone.
    method.begin_epoch(task, 10**6)
    return method, task, next(data.epoch(0))


def query(vit: VisionTransformer, images: Tensor, precision: str) -> Tensor:
    """The frozen features [B, d] of images, as the runner gives them to a method."""
    with torch.no_grad(), autocast(images.device, precision):
        features: Tensor = vit(images)
    return features.float()


def random_images(vit: VisionTransformer, count: int) -> tuple[Tensor, Tensor]:
    """uint8 [count, 3, H, W] of the backbone's size and labels [count] of 8 classes in turn."""
    device = next(vit.parameters()).device
    draws = torch.Generator().manual_seed(0)
    height, width = input_sizes(vit).image
    images = torch.randint(256, (count, 3, height, width), generator=draws, dtype=torch.uint8)
    return images.to(device), torch.arange(count, device=device) % CLASSES
