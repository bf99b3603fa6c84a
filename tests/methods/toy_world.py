"""One small world for the tests of methods: backbone, images and training, all in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.data.stream import make_tasks
from benchmark.engine.trainer import Observer, train_task
from benchmark.method import Batch, Method, Task
from benchmark.registry import METHODS
from benchmark.spec import Recipe
from benchmark.workshop.replay.world import RecordedStream

WIDTH, DEPTH = 16, 6
TASKS = make_tasks([2, 3, 2])
RECIPE = Recipe(lr=1e-2, epochs=3, batch_size=4, schedule="constant")
# Small settings with everything that matters still there.
SMALL: dict[str, dict[str, Any]] = {
    "l2p": {"pool": 6, "length": 2, "top_k": 2},
    "l2p_pp": {"pool": 6, "length": 4, "top_k": 2, "layers": (0, 2)},
    "dualprompt": {"length": 4, "general_length": 2},
    "coda_p": {"components": 6, "length": 4, "layers": (0, 1, 3)},
}


@torch.no_grad()
def vit(**options: Any) -> VisionTransformer:
    """A random ViT, the same at every call, on 8 x 8 images unless told otherwise."""
    shape = {"img_size": 8, "patch_size": 4, "embed_dim": WIDTH, "depth": DEPTH, "num_heads": 2}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = VisionTransformer(**shape | {"num_classes": 0} | options)
        for p in model.parameters():  # biases and norms away from zero and one
            p.add_(0.1 * torch.randn_like(p))
        if model.cls_token is not None:  # otherwise all images have nearly the same features
            model.cls_token.normal_()
        model.pos_embed.normal_()
    return model.double().eval()


def make(name: str, **settings: Any) -> Any:
    """A fresh method on a fresh backbone."""
    kind, backbone = METHODS.get(name), vit()
    torch.manual_seed(1)
    return kind(backbone, kind.Config(**SMALL.get(name, {}) | settings)).double().eval()


def grown(name: str, tasks: Sequence[Task], **settings: Any) -> Any:
    """An untrained method that has grown for these tasks."""
    method = make(name, **settings)
    for task in tasks:
        method.grow(task)
    return method.double()


def images(count: int = 6, seed: int = 99) -> Tensor:
    """Random images [count, 3, 8, 8], each of its own tint and all of a pattern of the seed."""
    draws = torch.Generator().manual_seed(seed)
    shapes = [(1, 3, 1, 8), (count, 3, 1, 1), (count, 3, 8, 8)]
    pattern, tint, noise = (torch.rand(s, generator=draws, dtype=torch.float64) for s in shapes)
    return (pattern + tint + noise) / 3


class ToyImages(RecordedStream):
    """Training images in one order; an augmented pass mirrors them."""

    def batches(self, augment: bool) -> Iterator[Batch]:
        for batch in super().batches(augment):
            mirrored = batch.images.flip(3) if augment else batch.images
            yield Batch(mirrored, batch.labels, self._frozen(mirrored) if self._frozen else None)


def data(task: Task, per_class: int = 6, seed: int = 0, batch_size: int = 4) -> ToyImages:
    """Images of a task, its classes in turn; another seed gives other images."""
    count = per_class * len(task.classes)
    labels = torch.arange(count) % len(task.classes) + task.classes.start
    backbone = vit()
    x = images(count, 100 * seed + task.index)
    return ToyImages(x, labels, batch_size, lambda x: backbone(x).detach())


def first_batch(task: Task, count: int = 5) -> Batch:
    """The first images of a task, with their queries."""
    return next(iter(data(task, batch_size=count).batches(augment=False)))


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
    tasks: Sequence[Task] = TASKS,
    *,
    observer: Observer | None = None,
    recipe: Recipe = RECIPE,
) -> Any:
    """Grow and train on these tasks, each seeded by its number."""
    for task in tasks:
        torch.manual_seed(10 + task.index)
        method.grow(task)
        method.double()
        train_task(method, task, data(task, batch_size=recipe.batch_size), recipe, observer)
    return method.eval()


@torch.no_grad()
def predict(method: Method, x: Tensor | None = None) -> Tensor:
    """Logits of images, with the queries that the runner would give."""
    x = images(9) if x is None else x
    return method.predict(x, vit()(x) if method.frozen_features else None)


@torch.no_grad()
def spread_keys(method: Any) -> None:
    """Point every key at another image, so that images do not all choose alike."""
    queries = vit()(images(48))
    mean = queries.mean(dim=0)
    apart = queries - torch.outer(queries @ mean, mean) / (mean @ mean)  # all have the mean alike
    towards = iter(apart)
    for keys in method.keys if isinstance(method.keys, nn.ParameterList) else [method.keys]:
        for row in keys.view(-1, WIDTH):
            row.copy_(next(towards))


def copies(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters of a module, by name."""
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def moved(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    """Names of the parameters that are no longer as they were."""
    return {name for name, p in before.items() if not torch.equal(p, module.get_parameter(name))}


def same(before: dict[str, Tensor], after: dict[str, Tensor]) -> bool:
    """Whether two sets of copies agree to the bit."""
    return before.keys() == after.keys() and all(
        torch.equal(p, after[name]) for name, p in before.items()
    )
