"""Supervised pre-training: name the upstream images, keep the backbone, drop the head."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.seeds import derive, generator
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
            torch.manual_seed(derive(settings.seed, "initialisation"))
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
        draws = generator(self.settings.seed, "order", epoch)
        order = torch.randperm(len(self.images), generator=draws)
        total = sum(self.step(*step, parameters) for step in self.batches(epoch, order))
        return {"loss": total / self.epoch_steps}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Return how often, in percent, the best word is one of a validation image's."""
        self._backbone.eval()
        images = torch.from_numpy(self.upstream.val_images)
        labels = torch.from_numpy(self.upstream.val_labels)
        correct = 0
        for part, target in zip(torch.split(images, 512), torch.split(labels, 512), strict=True):
            inputs = self.standardise(to_float(part))
            scores: Tensor = self.head(class_token_features(self._backbone, inputs))
            correct += int((scores.argmax(dim=1, keepdim=True) == target).any(dim=1).sum())
        return {VALIDATION_ACCURACY: 100.0 * correct / len(labels)}

    def loss(self, step: int, chunk: int, chosen: Tensor) -> Tensor:
        """Return the share in the batch's mean loss of the images int64 [B] of one chunk."""
        settings = self.settings
        draws = generator(settings.seed, "augmentation", step, chunk)
        images = augment(to_float(self.images[chosen]), settings.augment, draws)
        whole = step >= (settings.epochs - settings.whole_epochs) * self.epoch_steps
        patches = (settings.shape.img_size // settings.shape.patch_size) ** 2
        drop = 0.0 if whole else settings.patch_drop
        kept = draw_kept(len(images), patches, drop, draws)
        with self.autocast():
            features = class_token_features(self._backbone, self.standardise(images), kept)
            logits = self.head(features)
        loss = words_loss(logits.float(), self.labels[chosen], settings.label_smoothing)
        return loss * (len(chosen) / settings.batch_size)


def words_loss(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """Return the mean cross-entropy of logits [B, C] to targets uniform over the words of an image.

    Labels int64 [B, L] are filled up with -1; `smoothing` is the share of the target that is
    spread over all words.
    """
    log_probabilities = logits.log_softmax(dim=1)
    named = labels >= 0
    own = log_probabilities.gather(1, labels.clamp(min=0)) * named  # [B, L]
    own = own.sum(dim=1) / named.sum(dim=1)
    return -((1.0 - smoothing) * own + smoothing * log_probabilities.mean(dim=1)).mean()
