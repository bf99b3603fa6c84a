"""A small world for the tests of the LAE family: backbone, data, training through the trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.data.loading import MemoryLoader
from benchmark.data.stream import TrainingImages, make_tasks
from benchmark.engine.trainer import Observer, train_task
from benchmark.method import Method, Task
from benchmark.spec import Recipe
from methods.lae import Lae
from methods.lae_conv import LaeConv
from methods.lae_conv_ties import LaeConvTies
from methods.lae_ties import LaeTies

SIZES = (2, 3, 2)
TASKS = make_tasks(SIZES)
RECIPE = Recipe(lr=1e-2, epochs=3, batch_size=4, schedule="constant")

FORMS: dict[str, tuple[type[Method], dict[str, Any]]] = {
    "lora": (Lae, {"pet": "lora"}),
    "adapter": (Lae, {"pet": "adapter"}),
    "prefix": (Lae, {"pet": "prefix"}),
    "conv": (LaeConv, {}),
    "ties": (LaeTies, {}),
    "ties_prefix": (LaeTies, {"pet": "prefix"}),
    "ties_history": (LaeTies, {"history": True}),
    "conv_ties": (LaeConvTies, {}),
}


def vit(**options: Any) -> VisionTransformer:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"img_size": 8, "patch_size": 4, "embed_dim": 16, "depth": 3}
    return VisionTransformer(**shape | {"num_heads": 2, "num_classes": 0} | options).eval()


def make(form: str, **settings: Any) -> Any:
    """A method with two adapted blocks and one frozen epoch unless told otherwise."""
    kind, own = FORMS[form]
    backbone = vit()
    torch.manual_seed(1)
    return kind(backbone, kind.Config(**{"blocks": 2, "freeze_epochs": 1} | own | settings))


def images(count: int = 6, seed: int = 5) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


def data(task: Task, count: int = 10) -> TrainingImages:
    draws = torch.Generator().manual_seed(task.index)
    raw = torch.randint(256, (count, 3, 8, 8), generator=draws, dtype=torch.uint8)
    labels = torch.randint(task.classes.start, task.classes.stop, (count,), generator=draws)
    return TrainingImages(task, MemoryLoader(raw), labels, batch_size=4, seed=0)


def learn(
    method: Method,
    tasks: list[Task] = TASKS,
    *,
    recipe: Recipe = RECIPE,
    grown: Callable[[Task], None] = lambda task: None,
    observer: Observer | None = None,
) -> Any:
    """Train on tasks; `grown` is called after `grow` of each."""
    for task in tasks:
        torch.manual_seed(10 + task.index)
        method.grow(task)
        grown(task)
        train_task(method, task, data(task), recipe, observer)
    return method.eval()


def values(module: torch.nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))
