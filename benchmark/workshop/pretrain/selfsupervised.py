"""Self-supervised pre-training (DINO, iBOT): a student agrees with its slow copy across views."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.seeds import derive, generator
from benchmark.workshop.pretrain.augment import GLOBAL_VIEWS, draw_masks, draw_views
from benchmark.workshop.pretrain.images import to_float
from benchmark.workshop.pretrain.losses import (
    balanced_probabilities,
    follow,
    patch_loss,
    spread,
    spreading_loss,
    teacher_momentum,
    teacher_probabilities,
    teacher_temperature,
    used_prototypes,
    view_loss,
)
from benchmark.workshop.pretrain.recipes import SelfSupervisedSettings
from benchmark.workshop.pretrain.training import Training, build_optimizer, decay_progress
from benchmark.workshop.pretrain.vit import DistilledNetwork, class_token_features, draw_kept


@dataclass
class _TeacherSums:
    """What one chunk's teacher saw: sums of its scores and probabilities over tokens."""

    class_scores: Tensor
    patch_scores: Tensor
    patches: int
    probabilities: Tensor


class SelfSupervisedTraining(Training):
    """A student and its teacher on images uint8 [N, H, W, 3]; there are no labels here."""

    def __init__(
        self, settings: SelfSupervisedSettings, images: Tensor, pool: ThreadPoolExecutor
    ) -> None:
        super().__init__(settings, images, pool)
        self.settings, self.measure_every = settings, settings.measure_every
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(settings.seed, "initialisation"))
            self.student = DistilledNetwork(settings)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.optimizer = build_optimizer([self.student], settings.optimizer)
        prototypes = settings.head.prototypes
        self.class_centre = torch.zeros(prototypes)
        self.patch_centre = torch.zeros(prototypes)
        self._seen: dict[int, _TeacherSums] = {}  # by chunk of the step under way

    @property
    def backbone(self) -> VisionTransformer:
        """The teacher's backbone."""
        return self.teacher.backbone

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Return both networks and the optimizer."""
        return {"student": self.student, "teacher": self.teacher, "optimizer": self.optimizer}

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        centres = {"class_centre": self.class_centre, "patch_centre": self.patch_centre}
        return {**super().state(), **centres}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` returned."""
        super().restore(state)
        self.class_centre = state["class_centre"]
        self.patch_centre = state["patch_centre"]

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train for one pass over the images; return the loss and two signs of collapse."""
        settings = self.settings
        order = torch.randperm(len(self.images), generator=generator(settings.seed, "order", epoch))
        total, probabilities = 0.0, torch.zeros_like(self.class_centre)
        parameters = [
            parameter
            for parameter in self.student.parameters()
            if epoch >= settings.frozen_epochs or parameter is not self.student.head.prototypes
        ]
        for step, batch in self.batches(epoch, order):
            total += self.step(step, batch, parameters)
            seen = [self._seen[chunk] for chunk in sorted(self._seen)]
            self._follow(step, len(batch), seen)
            for part in seen:
                probabilities += part.probabilities
        features = self.teacher_features(self.images[order[: 8 * settings.chunk_size]])
        return {
            "loss": total / self.epoch_steps,
            "spread": spread(features),
            "prototypes used": used_prototypes(probabilities / probabilities.sum()),
        }

    @torch.no_grad()
    def teacher_features(self, images: Tensor) -> Tensor:
        """Return the teacher's class tokens [B, D] of images uint8 [B, H, W, 3]."""
        return class_token_features(self.teacher.backbone, self.standardise(to_float(images)))

    def _follow(self, step: int, images: int, seen: Sequence[_TeacherSums]) -> None:
        """Move the teacher and the centres after a step of the student on a batch of images."""
        settings, keep = self.settings, self.settings.centre_momentum
        progress = decay_progress(settings.optimizer, step, self.steps, self.epoch_steps)
        momentum = teacher_momentum(settings.teacher_momentum, progress)
        follow(self.teacher.parameters(), self.student.parameters(), momentum)
        # c <- m c + (1 - m) mean of g_t: over all class tokens, and over the masked patches, which
        # alone go through the teacher's head.
        mean = sum(part.class_scores for part in seen) / (GLOBAL_VIEWS * images)
        self.class_centre = torch.lerp(cast(Tensor, mean), self.class_centre, keep)
        if patches := sum(part.patches for part in seen):
            mean = sum(part.patch_scores for part in seen) / patches
            self.patch_centre = torch.lerp(cast(Tensor, mean), self.patch_centre, keep)

    def loss(self, step: int, chunk: int, chosen: Tensor) -> Tensor:
        """Return one chunk's share in the batch's loss and note what its teacher saw."""
        settings = self.settings
        draws = generator(settings.seed, "views", step, chunk)
        whole, parts = draw_views(to_float(self.images[chosen]), settings.views, draws)
        whole, parts = self.standardise(whole), self.standardise(parts)
        temperature = teacher_temperature(
            *settings.teacher_temperature, settings.temperature_warmup, step / self.epoch_steps
        )
        images, share = len(chosen), len(chosen) / settings.batch_size
        patches: Tensor | float = 0.0
        side = settings.shape.img_size // settings.shape.patch_size
        if settings.masks is None:
            with self.autocast():
                with torch.no_grad():
                    teacher = self.teacher.scores(whole).float()
                kept = draw_kept(len(whole), side * side, settings.patch_drop, draws)
                features = self.student.features(whole, kept).float()
            teacher_patches = teacher[:0]
        else:
            masked = draw_masks(len(whole), side, settings.masks, draws)
            with self.autocast():
                with torch.no_grad():
                    teacher, teacher_patches = (
                        self.teacher.head(part).float()
                        for part in self.teacher.features_with_patches(whole, masked, hide=False)
                    )
                features, hidden = self.student.features_with_patches(whole, masked, hide=True)
                student_patches = self.student.head(hidden).float()
            features = features.float()
            target = self._target(teacher_patches, self.patch_centre, temperature)
            patches = patch_loss(target, student_patches, settings.student_temperature, masked)
        spreading = sum(spreading_loss(view) for view in features.chunk(GLOBAL_VIEWS))
        with self.autocast():
            student = self.student.head(features).float()
            if len(parts):
                student = torch.cat([student, self.student.scores(parts).float()])
        target = self._target(teacher, self.class_centre, temperature)
        self._seen[chunk] = _TeacherSums(
            teacher.sum(dim=0), teacher_patches.sum(dim=0), len(teacher_patches), target.sum(dim=0)
        )
        views = view_loss(
            target.unflatten(0, (GLOBAL_VIEWS, images)),
            student.unflatten(0, (-1, images)),
            settings.student_temperature,
        )
        return share * (
            views + settings.patch_weight * patches + settings.spreading_weight * spreading
        )

    def _target(self, scores: Tensor, centre: Tensor, temperature: float) -> Tensor:
        """Return the teacher's probabilities [N, K] by the chosen guard against collapse."""
        if self.settings.balance == "sinkhorn":
            return balanced_probabilities(scores, temperature)
        return teacher_probabilities(scores, centre, temperature)
