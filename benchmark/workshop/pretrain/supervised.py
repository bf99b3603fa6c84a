"""Supervised pre-training: classify the upstream images, keep the backbone, drop the head."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.backbones.catalogue import VitShape
from benchmark.workshop.pretrain.augment import AugmentSettings, augment, to_float
from benchmark.workshop.pretrain.forward import class_token_features, draw_kept, new_backbone
from benchmark.workshop.pretrain.loop import Plan, Training, identity_of, run_epochs
from benchmark.workshop.pretrain.optimiser import (
    OptimiserSettings,
    build_optimiser,
    learning_rate,
    open_epochs,
    step_optimiser,
)
from benchmark.workshop.pretrain.parallel import accumulate, workers
from benchmark.workshop.pretrain.record import (
    VALIDATION_ACCURACY,
    Cost,
    EpochReport,
    PretrainRecord,
    finish,
)
from benchmark.workshop.pretrain.standardise import Standardise
from benchmark.workshop.pretrain.upstream import UpstreamImages, check_fit, load_upstream


@dataclass(frozen=True)
class SupervisedSettings:
    """Everything that decides the bits of the weights, besides the images."""

    name: str = "tiny_sup"
    shape: VitShape = field(default_factory=VitShape)
    epochs: int = 30
    batch_size: int = 128
    chunk_size: int = 32  # images one thread works on at a time
    seed: int = 0
    label_smoothing: float = 0.1
    mixup: float = 0.0  # largest share of a second image mixed into an image
    patch_drop: float = 0.25  # share of patches hidden from a training image
    whole_epochs: int = 4  # last epochs, in which no patch is hidden
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    optimiser: OptimiserSettings = field(default_factory=OptimiserSettings)
    validate_every: int = 5

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "chunk_size", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"SupervisedSettings.{name} must be at least 1")
        if not 0.0 <= self.patch_drop < 1.0:
            raise ValueError("SupervisedSettings.patch_drop must lie in [0, 1)")


def pretrain_supervised(
    settings: SupervisedSettings,
    upstream_dir: Path,
    out_dir: Path,
    on_epoch: Callable[[EpochReport], None],
    threads: int | None = None,
) -> PretrainRecord:
    """Writes NAME.safetensors, NAME.json and NAME.md to `out_dir` and gives the record.

    Cut short, it continues from NAME.checkpoint at the last finished epoch, to the same bits as
    an uninterrupted run on such a machine; the number of threads (default: all cores) does not
    matter to them.
    """
    upstream = load_upstream(upstream_dir)
    check_fit(upstream, settings.shape.img_size, settings.batch_size)
    images = torch.from_numpy(upstream.train_images)
    labels = torch.from_numpy(upstream.train_labels)
    backbone, head = _initialise(settings, len(upstream.classes))
    optimiser = build_optimiser([backbone, head], settings.optimiser)

    threads = threads or os.cpu_count() or 1
    standardise = Standardise.of(images)
    with workers(threads) as pool:
        training = _Training(settings, images, labels, standardise, backbone, head, optimiser, pool)
        free = open_epochs(settings.optimiser, settings.epochs, training.epoch_steps)
        plan = Plan(
            epochs=settings.epochs,
            open_epochs=min(free, settings.epochs - settings.whole_epochs),
            measure_every=settings.validate_every,
        )
        curve, seconds = run_epochs(
            training,
            plan,
            out_dir / f"{settings.name}.checkpoint",
            identity_of(asdict(settings), upstream.digest),
            lambda: {VALIDATION_ACCURACY: _validate(backbone, head, standardise, upstream)},
            on_epoch,
        )
    standardise.fold_into(cast(nn.Conv2d, backbone.patch_embed.proj))
    cost = Cost(seconds, threads)
    return finish(backbone, "supervised", asdict(settings), upstream, curve, cost, out_dir)


def _initialise(settings: SupervisedSettings, classes: int) -> tuple[VisionTransformer, nn.Linear]:
    """Gives the backbone and the head as the seed decides, in training mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(settings.seed, "initialisation"))
        backbone = new_backbone(settings.shape)
        head = nn.Linear(backbone.num_features, classes)
    return backbone, head


@dataclass(frozen=True)
class _Training(Training):
    """What stays the same during a pre-training."""

    settings: SupervisedSettings
    images: Tensor  # uint8 [N, H, W, 3]
    labels: Tensor  # int64 [N]
    standardise: Standardise
    backbone: VisionTransformer
    head: nn.Module
    optimiser: torch.optim.Optimizer
    pool: ThreadPoolExecutor

    @property
    def batch_size(self) -> int:
        """Gives the number of images of one step."""
        return self.settings.batch_size

    def state(self) -> dict[str, Any]:
        """Gives everything that the next epoch depends on."""
        return {
            "backbone": self.backbone.state_dict(),
            "head": self.head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up what `state` gave."""
        self.backbone.load_state_dict(state["backbone"])
        self.head.load_state_dict(state["head"])
        self.optimiser.load_state_dict(state["optimiser"])

    def epoch(self, epoch: int) -> dict[str, float]:
        """Trains for one pass over the images and gives the mean loss."""
        settings, steps = self.settings, self.epoch_steps
        self.backbone.train()
        parameters = [*self.backbone.parameters(), *self.head.parameters()]
        order = torch.Generator().manual_seed(seed_for(settings.seed, "order", epoch))
        shuffled = torch.randperm(len(self.images), generator=order)
        total = 0.0
        for step in range(epoch * steps, (epoch + 1) * steps):
            start = step % steps * settings.batch_size
            batch = shuffled[start : start + settings.batch_size]
            chunks = torch.split(batch, settings.chunk_size)
            losses = [partial(self._loss, step, index, part) for index, part in enumerate(chunks)]
            total += accumulate(self.pool, losses, parameters)
            rate = learning_rate(settings.optimiser, step, settings.epochs * steps, steps)
            step_optimiser(self.optimiser, rate, settings.optimiser.clip_norm)
        return {"loss": total / steps}

    def _loss(self, step: int, chunk: int, chosen: Tensor) -> Tensor:
        """Gives the share in the batch's mean loss of the images int64 [B] of one chunk."""
        settings = self.settings
        seed = seed_for(settings.seed, f"augmentation of chunk {chunk}", step)
        generator = torch.Generator().manual_seed(seed)
        images = augment(to_float(self.images[chosen]), settings.augment, generator)
        images, partner, share = _mix(images, settings.mixup, generator)
        whole = step >= (settings.epochs - settings.whole_epochs) * self.epoch_steps
        patches = (settings.shape.img_size // settings.shape.patch_size) ** 2
        drop = 0.0 if whole else settings.patch_drop
        kept = draw_kept(len(images), patches, drop, generator)
        logits = self.head(class_token_features(self.backbone, self.standardise(images), kept))
        smoothing, target = settings.label_smoothing, self.labels[chosen]
        loss = F.cross_entropy(logits, target, label_smoothing=smoothing)
        if share < 1.0:
            other = F.cross_entropy(logits, target[partner], label_smoothing=smoothing)
            loss = share * loss + (1.0 - share) * other
        return loss * (len(chosen) / settings.batch_size)


def seed_for(seed: int, purpose: str, index: int = 0) -> int:
    """Gives a seed of its own for every purpose and index, derived from the run's seed."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _mix(
    batch: Tensor, strength: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, float]:
    """Gives images [B, 3, H, W] mixed with partners, the partners' indices, the own share."""
    if strength == 0.0:
        return batch, torch.arange(len(batch)), 1.0
    share = 1.0 - strength * float(torch.rand((), generator=generator))
    partner = torch.randperm(len(batch), generator=generator)
    return torch.lerp(batch[partner], batch, share), partner, share


@torch.no_grad()
def _validate(
    backbone: VisionTransformer, head: nn.Module, standardise: Standardise, upstream: UpstreamImages
) -> float:
    """Gives the accuracy, in per cent, on the upstream validation images."""
    backbone.eval()
    images, labels = torch.from_numpy(upstream.val_images), torch.from_numpy(upstream.val_labels)
    correct = 0
    for part, target in zip(torch.split(images, 512), torch.split(labels, 512), strict=True):
        scores: Tensor = head(class_token_features(backbone, standardise(to_float(part))))
        correct += int((scores.argmax(dim=1) == target).sum())
    return 100.0 * correct / len(labels)
