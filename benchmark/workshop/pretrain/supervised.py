"""Supervised pre-training: classify the upstream images, keep the backbone, drop the head."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.workshop.pretrain.augment import augment
from benchmark.workshop.pretrain.images import UpstreamImages, to_float
from benchmark.workshop.pretrain.recipes import SupervisedSettings
from benchmark.workshop.pretrain.record import VALIDATION_ACCURACY
from benchmark.workshop.pretrain.training import Training, build_optimizer
from benchmark.workshop.pretrain.vit import class_token_features, draw_kept, new_backbone


class SupervisedTraining(Training):
    """A backbone and a head on the upstream images and their labels."""

    def __init__(
        self, settings: SupervisedSettings, upstream: UpstreamImages, pool: ThreadPoolExecutor
    ) -> None:
        super().__init__(settings, torch.from_numpy(upstream.train_images), pool)
        self.settings, self.upstream = settings, upstream
        self.measure_every = settings.validate_every
        self.open_epochs = min(self.open_epochs, settings.epochs - settings.whole_epochs)
        self.labels = torch.from_numpy(upstream.train_labels)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(_seed_for(settings.seed, "initialisation"))
            self._backbone = new_backbone(settings.shape)
            self.head = nn.Linear(self._backbone.num_features, len(upstream.classes))
        self.optimizer = build_optimizer([self._backbone, self.head], settings.optimizer)

    @property
    def backbone(self) -> VisionTransformer:
        """The trained backbone."""
        return self._backbone

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Return backbone, head and optimizer."""
        return {"backbone": self._backbone, "head": self.head, "optimizer": self.optimizer}

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train for one pass over the images; return the mean loss."""
        self._backbone.train()
        parameters = [*self._backbone.parameters(), *self.head.parameters()]
        draws = torch.Generator().manual_seed(_seed_for(self.settings.seed, "order", epoch))
        order = torch.randperm(len(self.images), generator=draws)
        total = sum(self.step(*step, parameters) for step in self.batches(epoch, order))
        return {"loss": total / self.epoch_steps}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return the accuracy, in percent, on the upstream validation images."""
        self._backbone.eval()
        images = torch.from_numpy(self.upstream.val_images)
        labels = torch.from_numpy(self.upstream.val_labels)
        correct = 0
        for part, target in zip(torch.split(images, 512), torch.split(labels, 512), strict=True):
            inputs = self.standardise(to_float(part))
            scores: Tensor = self.head(class_token_features(self._backbone, inputs))
            correct += int((scores.argmax(dim=1) == target).sum())
        return {VALIDATION_ACCURACY: 100.0 * correct / len(labels)}

    def loss(self, step: int, chunk: int, chosen: Tensor) -> Tensor:
        """Return the share in the batch's mean loss of the images int64 [B] of one chunk."""
        settings = self.settings
        seed = _seed_for(settings.seed, f"augmentation of chunk {chunk}", step)
        generator = torch.Generator().manual_seed(seed)
        images = augment(to_float(self.images[chosen]), settings.augment, generator)
        images, partner, share = _mix(images, settings.mixup, generator)
        whole = step >= (settings.epochs - settings.whole_epochs) * self.epoch_steps
        patches = (settings.shape.img_size // settings.shape.patch_size) ** 2
        drop = 0.0 if whole else settings.patch_drop
        kept = draw_kept(len(images), patches, drop, generator)
        logits = self.head(class_token_features(self._backbone, self.standardise(images), kept))
        smoothing, target = settings.label_smoothing, self.labels[chosen]
        loss = F.cross_entropy(logits, target, label_smoothing=smoothing)
        if share < 1.0:
            other = F.cross_entropy(logits, target[partner], label_smoothing=smoothing)
            loss = share * loss + (1.0 - share) * other
        return loss * (len(chosen) / settings.batch_size)


def _seed_for(seed: int, purpose: str, index: int = 0) -> int:
    """Derive a seed of its own for every purpose and index; the embedded weights rest on it."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{index}".encode()).digest()
    return int.from_bytes(digest[:7], "big")


def _mix(
    batch: Tensor, strength: float, generator: torch.Generator
) -> tuple[Tensor, Tensor, float]:
    """Mix images [B, 3, H, W] with partners.

    Returns:
        The images, the partners' indices, the share of the first image in each mixture.
    """
    if strength == 0.0:
        return batch, torch.arange(len(batch)), 1.0
    share = 1.0 - strength * float(torch.rand((), generator=generator))
    partner = torch.randperm(len(batch), generator=generator)
    return torch.lerp(batch[partner], batch, share), partner, share
