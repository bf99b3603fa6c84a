"""The forms of the LAE family, and training them task by task on toy images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import toy_tasks
from torch import Tensor

from benchmark.data.loading import MemoryLoader
from benchmark.data.stream import TrainingImages, make_tasks
from benchmark.engine.trainer import Observer, train_task
from benchmark.method import Method, Task
from benchmark.spec import Recipe

TASKS = make_tasks((2, 3, 2))
RECIPE = Recipe(lr=1e-2, epochs=3, batch_size=4, schedule="constant")

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lae", {"pet": "lora"}),
    "adapter": ("lae", {"pet": "adapter"}),
    "prefix": ("lae", {"pet": "prefix"}),
    "conv": ("lae_conv", {}),
    "ties": ("lae_ties", {}),
    "ties_prefix": ("lae_ties", {"pet": "prefix"}),
    "ties_history": ("lae_ties", {"history": True}),
    "conv_ties": ("lae_conv_ties", {}),
}


def make(form: str, **settings: Any) -> Any:
    """A method with two adapted blocks and one frozen epoch unless told otherwise."""
    name, own = FORMS[form]
    return toy_tasks.make(name, **{"blocks": 2, "freeze_epochs": 1} | own | settings)


def data(task: Task, count: int = 10) -> TrainingImages:
    draws = torch.Generator().manual_seed(task.index)
    raw = torch.randint(256, (count, 3, 8, 8), generator=draws, dtype=torch.uint8)
    labels = torch.randint(task.classes.start, task.classes.stop, (count,), generator=draws)
    return TrainingImages(task, MemoryLoader(raw), labels, batch_size=4, seed=0)


def learn(
    method: Method,
    tasks: list[Task] = TASKS,
    *,
    grown: Callable[[Task], None] = lambda task: None,
    observer: Observer | None = None,
) -> Any:
    """Train on tasks; `grown` is called after `grow` of each."""
    for task in tasks:
        torch.manual_seed(10 + task.index)
        method.grow(task)
        grown(task)
        train_task(method, task, data(task), RECIPE, observer)
    return method.eval()


def values(module: torch.nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return len(one) == len(other) and all(map(torch.equal, one, other))
