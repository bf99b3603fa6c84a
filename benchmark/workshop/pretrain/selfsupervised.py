"""Self-supervised pre-training (DINO, iBOT): a student agrees with its slow copy across views."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.seeds import derive, generator
from benchmark.workshop.pretrain.augment import GLOBAL_VIEWS, draw_masks, draw_views
from benchmark.workshop.pretrain.images import UpstreamImages, to_float
from benchmark.workshop.pretrain.loop import Measure, OnEpoch, Training, pretrain
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
from benchmark.workshop.pretrain.optimize import (
    accumulate,
    build_optimizer,
    decay_progress,
    learning_rate,
    step_optimizer,
)
from benchmark.workshop.pretrain.probe import curve_split, measure_features
from benchmark.workshop.pretrain.recipes import SelfSupervisedSettings
from benchmark.workshop.pretrain.record import PretrainRecord
from benchmark.workshop.pretrain.vit import DistilledNetwork, class_token_features, draw_kept


def pretrain_selfsupervised(
    settings: SelfSupervisedSettings,
    upstream_dir: Path,
    out_dir: Path,
    on_epoch: OnEpoch,
    threads: int | None = None,
) -> PretrainRecord:
    """Train a student and keep its teacher; files and resumption are those of `pretrain`.

    Labels are read for the curve of probes alone; training is given the images.
    """

    def begin(upstream: UpstreamImages, pool: ThreadPoolExecutor) -> tuple[Training, Measure]:
        split = curve_split(upstream)
        training = SelfSupervisedTraining(settings, torch.from_numpy(upstream.train_images), pool)
        return training, lambda: measure_features(training.teacher_features, split)

    return pretrain(settings, upstream_dir, out_dir, on_epoch, threads, begin)


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
        settings, steps = self.settings, self.epoch_steps
        order = torch.randperm(len(self.images), generator=generator(settings.seed, "order", epoch))
        total, probabilities = 0.0, torch.zeros_like(self.class_centre)
        for step in range(epoch * steps, (epoch + 1) * steps):
            start = step % steps * settings.batch_size
            seen, loss = self._step(step, order[start : start + settings.batch_size])
            total += loss
            for part in seen:
                probabilities += part.probabilities
        features = self.teacher_features(self.images[order[: 8 * settings.chunk_size]])
        return {
            "loss": total / steps,
            "spread": spread(features),
            "prototypes used": used_prototypes(probabilities / probabilities.sum()),
        }

    @torch.no_grad()
    def teacher_features(self, images: Tensor) -> Tensor:
        """Return the teacher's class tokens [B, D] of images uint8 [B, H, W, 3]."""
        return class_token_features(self.teacher.backbone, self.standardise(to_float(images)))

    def _step(self, step: int, batch: Tensor) -> tuple[list[_TeacherSums], float]:
        """Take one step on the images int64 [B]: the student, then the teacher, the centres."""
        settings, steps = self.settings, self.epoch_steps
        frozen = step < settings.frozen_epochs * steps
        parameters = [
            parameter
            for parameter in self.student.parameters()
            if not (frozen and parameter is self.student.head.prototypes)
        ]
        chunks = torch.split(batch, settings.chunk_size)
        seen: list[_TeacherSums | None] = [None] * len(chunks)
        losses = [partial(self._loss, step, index, part, seen) for index, part in enumerate(chunks)]
        loss = accumulate(self.pool, losses, parameters)
        every = (settings.epochs * steps, steps)
        rate = learning_rate(settings.optimizer, step, *every)
        step_optimizer(self.optimizer, rate, settings.optimizer.clip_norm)
        progress = decay_progress(settings.optimizer, step, *every)
        momentum = teacher_momentum(settings.teacher_momentum, progress)
        follow(self.teacher.parameters(), self.student.parameters(), momentum)
        parts = [part for part in seen if part is not None]
        keep = settings.centre_momentum
        # c <- m c + (1 - m) mean of g_t: over all class tokens, and over the masked patches, which
        # alone go through the teacher's head.
        mean = sum(part.class_scores for part in parts) / (GLOBAL_VIEWS * len(batch))
        self.class_centre = torch.lerp(cast(Tensor, mean), self.class_centre, keep)
        if patches := sum(part.patches for part in parts):
            mean = sum(part.patch_scores for part in parts) / patches
            self.patch_centre = torch.lerp(cast(Tensor, mean), self.patch_centre, keep)
        return parts, loss

    def _loss(
        self, step: int, chunk: int, chosen: Tensor, seen: list[_TeacherSums | None]
    ) -> Tensor:
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
            with torch.no_grad():
                teacher = self.teacher.scores(whole)
            kept = draw_kept(len(whole), side * side, settings.patch_drop, draws)
            features, teacher_patches = self.student.features(whole, kept), teacher[:0]
        else:
            masked = draw_masks(len(whole), side, settings.masks, draws)
            with torch.no_grad():
                teacher, teacher_patches = map(
                    self.teacher.head,
                    self.teacher.features_with_patches(whole, masked, hide=False),
                )
            features, hidden = self.student.features_with_patches(whole, masked, hide=True)
            target = self._target(teacher_patches, self.patch_centre, temperature)
            patches = patch_loss(
                target, self.student.head(hidden), settings.student_temperature, masked
            )
        student = self.student.head(features)
        spreading = sum(spreading_loss(view) for view in features.chunk(GLOBAL_VIEWS))
        if len(parts):
            student = torch.cat([student, self.student.scores(parts)])
        target = self._target(teacher, self.class_centre, temperature)
        seen[chunk] = _TeacherSums(
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
