"""Times the suite's training loop against a bare one."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.backbones.load import load_backbone
from benchmark.data.loading import MemoryLoader
from benchmark.data.stream import TrainingImages
from benchmark.data.transforms import DRAWS, Augment
from benchmark.engine.trainer import autocast, train_task
from benchmark.method import Task
from benchmark.registry import METHODS
from benchmark.spec import Recipe
from benchmark.workshop.speed.bench import Note, SpeedSettings
from benchmark.workshop.speed.subject import CLASSES, random_images
from benchmark.workshop.speed.timing import WARM, Pairs, TimingBudget, paired, seconds

MOST_BATCHES, FEWEST_BATCHES = 8, 2  # an epoch


def runner_overhead(settings: SpeedSettings, budget: TimingBudget, note: Note) -> Pairs:
    """Time of an epoch of the suite's training loop, paired with that of a bare one.

    Both train the whole backbone and one head on the same images with the same augmentation.
    """
    device = torch.device(settings.device)
    vit = load_backbone(settings.backbone).model.to(device)
    images, labels = random_images(vit, MOST_BATCHES * settings.batch_size)
    suite, bare = _suite(settings, vit, images, labels), _bare(settings, vit, images, labels)
    step = seconds(lambda: bare(1), device)
    batches = max(FEWEST_BATCHES, min(MOST_BATCHES, int(budget.seconds / (20 * step))))
    return paired(
        lambda: suite(batches),
        lambda: bare(batches),
        budget,
        device,
        lambda done, planned: note("runner", f"{done} pairs of epochs timed", done / planned),
        max(WARM - step, 0.0),
    )


def _bare(
    settings: SpeedSettings, vit: VisionTransformer, images: Tensor, labels: Tensor
) -> Callable[[int], None]:
    """An epoch of this many batches as a plain script would make it."""
    device, size = images.device, settings.batch_size
    model = nn.Sequential(copy.deepcopy(vit), nn.Linear(vit.num_features, CLASSES)).to(device)
    model.requires_grad_(True)
    augment = Augment()

    def epoch(batches: int) -> None:
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-5, fused=True)
        model.train()
        draws = torch.Generator().manual_seed(0)
        for index in torch.randperm(batches * size).to(device).split(size):
            drawn = torch.rand(size, DRAWS, generator=draws)
            x, y = augment(images[index], drawn, images.shape[-1]), labels[index]
            with autocast(device, settings.precision):
                loss = F.cross_entropy(model(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return epoch


def _suite(
    settings: SpeedSettings, vit: VisionTransformer, images: Tensor, labels: Tensor
) -> Callable[[int], None]:
    """An epoch of this many batches as the runner makes it, for the method that trains all."""
    task, size = Task(0, 1, range(CLASSES)), settings.batch_size
    kind = METHODS.get("sequential")
    method = kind(copy.deepcopy(vit).requires_grad_(True), kind.Config())
    method.grow(task)
    method.to(images.device)
    recipe = Recipe(lr=1e-5, epochs=1, batch_size=size)

    def epoch(batches: int) -> None:
        loader, own = MemoryLoader(images[: batches * size]), labels[: batches * size]
        stream = TrainingImages(task, loader, own, batch_size=size, seed=0, augment=True)
        train_task(method, task, stream, recipe, precision=settings.precision)

    return epoch
