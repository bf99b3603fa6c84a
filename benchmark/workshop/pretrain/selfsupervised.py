"""Self-supervised pre-training (DINO, iBOT): a student agrees with its slow copy across views."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import cast

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.seeds import derive, generator
from benchmark.workshop.pretrain.augment import GLOBAL_VIEWS, draw_masks, draw_views
from benchmark.workshop.pretrain.distillation import (
    lightly,
    spread,
    teacher_momentum,
    teacher_temperature,
    used_prototypes,
)
from benchmark.workshop.pretrain.images import to_float
from benchmark.workshop.pretrain.recipes import SelfSupervisedSettings
from benchmark.workshop.pretrain.training import Training, build_optimizer
from benchmark.workshop.pretrain.vit import DistilledNetwork, class_token_features, draw_kept

_LOOKED_AT = 512  # images in which signs of a collapse are looked for


class SelfSupervisedTraining(Training):
    """A student and its teacher on images uint8 [N, H, W, 3]; there are no labels here.

    The losses hold the running means of the teacher's scores that keep it from collapsing.
    """

    def __init__(
        self, settings: SelfSupervisedSettings, images: Tensor, pool: ThreadPoolExecutor
    ) -> None:
        super().__init__(settings, images, pool)
        self.settings, self.measure_every = settings, settings.measure_every
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(settings.seed, "initialisation"))
            self.student, self.teacher = DistilledNetwork(settings), DistilledNetwork(settings)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(False)
        self.optimizer = build_optimizer([self.student], settings.optimizer)
        losses, prototypes = lightly("loss"), settings.head.prototypes
        shared = {
            "student_temp": settings.student_temperature,
            "center_momentum": settings.centre_momentum,
        }
        self.view_loss: nn.Module = losses.DINOLoss(prototypes, **shared)
        self.patch_loss: nn.Module = losses.IBOTPatchLoss(prototypes, **shared)
        self.spreading_loss: nn.Module = losses.KoLeoLoss()

    @property
    def backbone(self) -> VisionTransformer:
        """The teacher's backbone."""
        return self.teacher.backbone

    def parts(self) -> dict[str, nn.Module | torch.optim.Optimizer]:
        """Return both networks, the optimizer and the losses with a state."""
        return {
            "student": self.student,
            "teacher": self.teacher,
            "optimizer": self.optimizer,
            "view_loss": self.view_loss,
            "patch_loss": self.patch_loss,
        }

    def epoch(self, epoch: int) -> dict[str, float]:
        """Train for one pass over the images; return the loss and two signs of collapse."""
        settings = self.settings
        order = torch.randperm(len(self.images), generator=generator(settings.seed, "order", epoch))
        parameters = [p for p in self.student.parameters() if p.requires_grad]
        prototypes = {id(parameter) for parameter in self.student.head.last_layer.parameters()}
        others = [parameter for parameter in parameters if id(parameter) not in prototypes]
        frozen = settings.frozen_epochs * self.epoch_steps
        total = 0.0
        for step, batch in self.batches(epoch, order):
            total += self.step(step, batch, others if step < frozen else parameters)
            momentum = teacher_momentum(settings, step, self.steps, self.epoch_steps)
            lightly("models.utils").update_momentum(self.student, self.teacher, momentum)
        return {"loss": total / self.epoch_steps, **self._signs(order[:_LOOKED_AT])}

    @torch.no_grad()
    def _signs(self, chosen: Tensor) -> dict[str, float]:
        """Return signs of a collapse of the teacher's features of the images int64 [B]."""
        features = self.teacher_features(self.images[chosen])
        scores = self.teacher.head(features) - cast(Tensor, self.view_loss.center)[0]
        probabilities = (scores / self.settings.teacher_temperature[1]).softmax(dim=1)
        return {"spread": spread(features), "prototypes used": used_prototypes(probabilities)}

    @torch.no_grad()
    def teacher_features(self, images: Tensor) -> Tensor:
        """Return the teacher's class tokens [B, D] of images uint8 [B, H, W, 3]."""
        return class_token_features(self.teacher.backbone, self.standardise(to_float(images)))

    def loss(self, step: int, chunk: int, chosen: Tensor) -> Tensor:
        """Return the loss of the batch's images int64 [B]; it moves the losses' centres."""
        settings = self.settings
        draws = generator(settings.seed, "views", step, chunk)
        whole, parts = draw_views(to_float(self.images[chosen]), settings.views, draws)
        whole, parts = self.standardise(whole), self.standardise(parts)
        temperature = teacher_temperature(settings, step, self.epoch_steps)
        side = settings.shape.img_size // settings.shape.patch_size
        patches: Tensor | float = 0.0
        if settings.masks is None:
            with self.autocast():
                with torch.no_grad():
                    target = self.teacher.scores(whole).float()
                kept = draw_kept(len(whole), side * side, settings.patch_drop, draws)
                features = self.student.features(whole, kept)
        else:
            masked = draw_masks(len(whole), side, settings.masks, draws)
            with self.autocast():
                with torch.no_grad():
                    target, patch_target = (
                        self.teacher.head(part).float()
                        for part in self.teacher.features_with_patches(whole, masked, hide=False)
                    )
                features, hidden = self.student.features_with_patches(whole, masked, hide=True)
                hidden = self.student.head(hidden).float()
            if len(hidden):  # the mean of no scores would end in the centre
                grid = masked.unflatten(1, (side, side))
                patches = self.patch_loss(patch_target, hidden, grid, temperature)
        with self.autocast():
            student = [*self.student.head(features).float().chunk(GLOBAL_VIEWS)]
            if len(parts):
                student += self.student.scores(parts).float().split(len(chosen))
        views: Tensor = self.view_loss(target.chunk(GLOBAL_VIEWS), student, temperature)
        first, second = map(self.spreading_loss, features.float().chunk(GLOBAL_VIEWS))
        spreading: Tensor = first + second
        return views + settings.patch_weight * patches + settings.spreading_weight * spreading
