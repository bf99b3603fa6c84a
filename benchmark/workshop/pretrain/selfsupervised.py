"""Self-supervised pre-training (DINO, iBOT): a student agrees with its slow copy across views."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from benchmark.seeds import derive, generator
from benchmark.workshop.pretrain.augment import to_float
from benchmark.workshop.pretrain.curve import curve_split, measure_features
from benchmark.workshop.pretrain.distillation import (
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
from benchmark.workshop.pretrain.forward import class_token_features, draw_kept
from benchmark.workshop.pretrain.loop import Plan, Training, identity_of, run_epochs
from benchmark.workshop.pretrain.network import Network
from benchmark.workshop.pretrain.optimiser import (
    build_optimiser,
    decay_progress,
    learning_rate,
    open_epochs,
    step_optimiser,
)
from benchmark.workshop.pretrain.parallel import accumulate, workers
from benchmark.workshop.pretrain.recipes import SelfSupervisedSettings
from benchmark.workshop.pretrain.record import Cost, EpochReport, PretrainRecord, finish
from benchmark.workshop.pretrain.standardise import Standardise
from benchmark.workshop.pretrain.upstream import check_fit, load_upstream
from benchmark.workshop.pretrain.views import (
    GLOBAL_VIEWS,
    draw_masks,
    draw_views,
)


def pretrain_selfsupervised(
    settings: SelfSupervisedSettings,
    upstream_dir: Path,
    out_dir: Path,
    on_epoch: Callable[[EpochReport], None],
    threads: int | None = None,
) -> PretrainRecord:
    """Writes the teacher's NAME.safetensors, NAME.json and NAME.md and gives the record.

    Cut short, it continues from NAME.checkpoint at the last finished epoch, to the same bits as
    an uninterrupted run on such a machine, whatever the number of threads (default: all cores).
    Labels are read for the curve of probes alone; training is given the images.
    """
    upstream = load_upstream(upstream_dir)
    check_fit(upstream, settings.shape.img_size, settings.batch_size)
    images = torch.from_numpy(upstream.train_images)
    split = curve_split(upstream)
    threads = threads or os.cpu_count() or 1
    with workers(threads) as pool:
        training = SelfSupervisedTraining(settings, images, pool)
        teacher = training.teacher.backbone

        def measure() -> dict[str, float]:
            def features(part: Tensor) -> Tensor:
                return class_token_features(teacher, training.standardise(to_float(part)))

            return measure_features(features, split)

        plan = Plan(
            epochs=settings.epochs,
            open_epochs=open_epochs(settings.optimiser, settings.epochs, training.epoch_steps),
            measure_every=settings.measure_every,
        )
        curve, seconds = run_epochs(
            training,
            plan,
            out_dir / f"{settings.name}.checkpoint",
            identity_of(asdict(settings), upstream.digest),
            measure,
            on_epoch,
        )
    training.standardise.fold_into(cast(nn.Conv2d, teacher.patch_embed.proj))
    cost = Cost(seconds, threads)
    return finish(teacher, settings.objective, asdict(settings), upstream, curve, cost, out_dir)


@dataclass
class _Seen:
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
        self.settings, self.images, self.pool = settings, images, pool
        self.standardise = Standardise.of(images)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(settings.seed, "initialisation"))
            self.student = Network(settings)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.optimiser = build_optimiser([self.student], settings.optimiser)
        prototypes = settings.head.prototypes
        self.class_centre = torch.zeros(prototypes)
        self.patch_centre = torch.zeros(prototypes)

    @property
    def batch_size(self) -> int:
        """Gives the number of images of one step."""
        return self.settings.batch_size

    def state(self) -> dict[str, Any]:
        """Gives everything that the next epoch depends on."""
        return {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "class_centre": self.class_centre,
            "patch_centre": self.patch_centre,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes up what `state` gave."""
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.class_centre = state["class_centre"]
        self.patch_centre = state["patch_centre"]

    def epoch(self, epoch: int) -> dict[str, float]:
        """Trains for one pass over the images; gives the loss and two signs of collapse."""
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
        """Gives the teacher's class tokens [B, D] of images uint8 [B, H, W, 3]."""
        return class_token_features(self.teacher.backbone, self.standardise(to_float(images)))

    def _step(self, step: int, batch: Tensor) -> tuple[list[_Seen], float]:
        """Takes one step on the images int64 [B]: the student, then the teacher, the centres."""
        settings, steps = self.settings, self.epoch_steps
        frozen = step < settings.frozen_epochs * steps
        parameters = [
            parameter
            for parameter in self.student.parameters()
            if not (frozen and parameter is self.student.head.prototypes)
        ]
        chunks = torch.split(batch, settings.chunk_size)
        seen: list[_Seen | None] = [None] * len(chunks)
        losses = [partial(self._loss, step, index, part, seen) for index, part in enumerate(chunks)]
        loss = accumulate(self.pool, losses, parameters)
        every = (settings.epochs * steps, steps)
        rate = learning_rate(settings.optimiser, step, *every)
        step_optimiser(self.optimiser, rate, settings.optimiser.clip_norm)
        progress = decay_progress(settings.optimiser, step, *every)
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

    def _loss(self, step: int, chunk: int, chosen: Tensor, seen: list[_Seen | None]) -> Tensor:
        """Gives one chunk's share in the batch's loss and notes what its teacher saw."""
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
        seen[chunk] = _Seen(
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
        """Gives the teacher's probabilities [N, K] by the chosen guard against collapse."""
        if self.settings.balance == "sinkhorn":
            return balanced_probabilities(scores, temperature)
        return teacher_probabilities(scores, centre, temperature)
