"""A tiny backbone, random images and short training for the tests of the prompt methods."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.data.loading import MemoryLoader
from benchmark.data.stream import TrainingImages, make_tasks
from benchmark.data.transforms import plain
from benchmark.engine.trainer import Observer, train_task
from benchmark.method import Batch, Method, Task
from benchmark.registry import METHODS
from benchmark.spec import Recipe

WIDTH, DEPTH, PER_CLASS = 16, 5, 4

# Small settings with everything that matters still there.
SMALL: dict[str, dict[str, Any]] = {
    "l2p": {"pool": 6, "length": 2, "top_k": 2},
    "l2p_pp": {"pool": 6, "length": 4, "top_k": 2, "layers": (0, 2)},
    "dualprompt": {"length": 4, "general_length": 2},
    "coda_p": {"components": 6, "length": 4, "layers": (0, 1, 3)},
}


def tiny_vit() -> VisionTransformer:
    """A ViT of width 16 and 5 blocks on 8 x 8 images, random but always the same."""
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=WIDTH, depth=DEPTH, num_heads=2, num_classes=0
    )
    for p in vit.parameters():
        p.data += 0.1 * torch.randn_like(p)
    return vit.eval().requires_grad_(False)


def pixels(count: int) -> Tensor:
    """The first of 48 random images, uint8 [count, 3, 8, 8]."""
    draws = torch.Generator().manual_seed(1)
    return torch.randint(256, (48, 3, 8, 8), generator=draws, dtype=torch.uint8)[:count]


def build(name: str, vit: VisionTransformer, settings: Mapping[str, Any] | None = None) -> Any:
    """An untrained method with small settings, `settings` over them, on a copy of `vit`."""
    kind = METHODS.get(name)
    torch.manual_seed(2)
    config = kind.Config(**{**SMALL[name], **(settings or {})})
    return kind(copy.deepcopy(vit).requires_grad_(True), config)


def stream(task: Task, vit: VisionTransformer, batch_size: int = 5) -> TrainingImages:
    """Four images of every class of a task, one where the task has a single class."""
    per_class = PER_CLASS if len(task.classes) > 1 else 1
    labels = torch.tensor(list(task.classes)).repeat_interleave(per_class)
    images = pixels(48)[(torch.arange(len(labels)) + PER_CLASS * task.classes.start) % 48]
    return TrainingImages(
        task,
        MemoryLoader(images),
        labels,
        batch_size=batch_size,
        seed=0,
        frozen=lambda x: vit(x).detach(),
    )


def train(
    name: str,
    vit: VisionTransformer,
    sizes: Sequence[int] = (2, 2, 2),
    settings: Mapping[str, Any] | None = None,
    *,
    until: int | None = None,
    recipe: Recipe | None = None,
    batch_size: int = 5,
    observer: Observer | None = None,
) -> Any:
    """A method after the tasks of these sizes, or after the first `until` of them."""
    method = build(name, vit, settings)
    for task in make_tasks(sizes)[:until]:
        advance(method, task, vit, recipe, batch_size, observer)
    return method


def advance(
    method: Method,
    task: Task,
    vit: VisionTransformer,
    recipe: Recipe | None = None,
    batch_size: int = 5,
    observer: Observer | None = None,
) -> None:
    """Grow and train one more task."""
    torch.manual_seed(3 + task.index)
    method.grow(task)
    recipe = recipe or Recipe(lr=5e-3, epochs=2)
    train_task(method, task, stream(task, vit, batch_size), recipe, observer)


def predict(method: Method, vit: VisionTransformer, images: Tensor) -> Tensor:
    """Logits of uint8 images, with the queries the runner would give."""
    with torch.inference_mode():
        inputs = plain(images)
        return method.eval().predict(inputs, vit(inputs))


def first_batch(vit: VisionTransformer, task: Task, count: int = 5) -> Batch:
    """The first images of a task as the trainer would give them, in order."""
    return next(iter(stream(task, vit, count).batches(augment=False)))


@torch.no_grad()
def spread_keys(method: Any, vit: VisionTransformer) -> None:
    """Point every key at another image, so that images do not all choose alike."""
    queries = vit(plain(pixels(48)))
    towards = iter(queries - queries.mean(dim=0))
    for keys in method.keys if isinstance(method.keys, nn.ParameterList) else [method.keys]:
        for row in keys.view(-1, WIDTH):
            row.copy_(next(towards))
