"""A tiny float64 problem on which methods are trained with the benchmark's own trainer."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.data.stream import make_tasks
from benchmark.engine.trainer import Observer, train_task
from benchmark.method import Method, Task
from benchmark.registry import METHODS
from benchmark.spec import Recipe
from benchmark.workshop.replay.world import RecordedStream

WIDTH, DEPTH = 24, 6
RECIPE = Recipe(lr=5e-3, epochs=2, batch_size=8)


def vit() -> VisionTransformer:
    """A random backbone, the same at every call."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=WIDTH, depth=DEPTH, num_heads=3, num_classes=0
    )
    with torch.no_grad():  # without this every image has nearly the same features
        model.cls_token.normal_()
        model.pos_embed.normal_()
    return model.double().eval()


def make(name: str, **settings: Any) -> Method:
    """A method on a fresh backbone."""
    kind = METHODS.get(name)
    return kind(vit(), kind.Config(**settings)).double().eval()


def images(seed: int, count: int = 20) -> Tensor:
    """Random images whose colours depend on the seed: [n, 3, 16, 16]."""
    draw = torch.Generator().manual_seed(seed)
    base = torch.rand(1, 3, 1, 16, generator=draw, dtype=torch.float64)
    return torch.rand(count, 3, 16, 16, generator=draw, dtype=torch.float64) * 0.7 + base


def stream(task: Task) -> RecordedStream:
    """The training images of a task, labels in turn."""
    x = images(task.index)
    labels = torch.arange(len(x)) % len(task.classes) + task.classes.start
    return RecordedStream(x, labels, batch_size=RECIPE.batch_size)


def train(
    method: Method,
    sizes: tuple[int, ...] = (3, 2, 3),
    observer: Observer | None = None,
    first: int = 0,
) -> Method:
    """Train on the tasks from `first` on; every head starts from its task's own seed."""
    tasks = make_tasks(sizes) if method.stream == "tasks" else make_tasks([sum(sizes)])
    for task in tasks[first:]:
        torch.manual_seed(task.index)
        method.grow(task)
        method.double()
        train_task(method, task, stream(task), RECIPE, observer)
        method.eval()
    return method


@torch.no_grad()
def predict(method: Method, x: Tensor | None = None) -> Tensor:
    """Logits of 9 images, [9, classes seen]."""
    return method.predict(images(99, 9) if x is None else x)
