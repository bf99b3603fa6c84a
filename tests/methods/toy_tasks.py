"""A toy stream for tests of LoRA methods and aligned heads: backbone, images, training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.data.loading import MemoryLoader
from benchmark.data.stream import TrainingImages, make_tasks
from benchmark.engine.trainer import Observer, train_task
from benchmark.method import Method, Task
from benchmark.registry import METHODS
from benchmark.spec import Recipe

WIDTH, DEPTH = 16, 3
RECIPE = Recipe(lr=1e-2, epochs=2, batch_size=4)
ViT = VisionTransformer


def vit(**options: Any) -> ViT:
    """A random ViT, on 8 x 8 images unless told otherwise."""
    torch.manual_seed(0)
    shape: dict[str, Any] = {"img_size": 8, "patch_size": 4, "embed_dim": WIDTH, "depth": DEPTH}
    return ViT(**shape | {"num_heads": 2, "num_classes": 0} | options).eval()


def make(name: str, **settings: Any) -> Any:
    """A fresh method on a fresh backbone."""
    kind = METHODS.get(name)
    backbone = vit()
    torch.manual_seed(1)
    return kind(backbone, kind.Config(**settings))


def images(count: int = 6, seed: int = 5) -> Tensor:
    """float32 [count, 3, 8, 8]."""
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def data(task: Task, per_class: int = 6, seed: int = 0) -> TrainingImages:
    """Random images; another seed gives other ones of the same classes."""
    draws = torch.Generator().manual_seed(100 * seed + task.index)
    labels = torch.arange(task.classes.start, task.classes.stop).repeat_interleave(per_class)
    raw = torch.randint(256, (len(labels), 3, 8, 8), generator=draws, dtype=torch.uint8)
    return TrainingImages(task, MemoryLoader(raw), labels, batch_size=4, seed=0, augment=True)


class Hooks(Observer):
    """Calls functions at the two ends of training; `(method, task)` are handed over."""

    def __init__(
        self,
        prepared: Callable[[Any, Task], Any] = lambda method, task: None,
        trained: Callable[[Any, Task], Any] = lambda method, task: None,
    ) -> None:
        self._prepared, self._trained = prepared, trained

    def prepared(self, method: Method, task: Task) -> None:
        self._prepared(method, task)

    def trained(self, method: Method, task: Task) -> None:
        self._trained(method, task)


def learn(
    method: Any,
    sizes: Sequence[int] = (2, 2, 2),
    *,
    start: int = 0,
    stop: int | None = None,
    observer: Observer | None = None,
    recipe: Recipe = RECIPE,
    per_class: int = 6,
) -> Any:
    """Train on tasks `start` to before `stop` of these sizes, each seeded by its number."""
    for task in make_tasks(sizes)[start:stop]:
        torch.manual_seed(10 + task.index)
        method.grow(task)
        train_task(method, task, data(task, per_class), recipe, observer)
    return method.eval()


def copies(module: torch.nn.Module) -> dict[str, Tensor]:
    """Copies of all tensors of a module."""
    return {name: value.detach().clone() for name, value in module.named_parameters()}
