"""Recipes of a pre-training of seconds, for tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from benchmark.backbones.catalogue import VitShape
from benchmark.workshop.pretrain.augment import MaskSettings, ViewSettings
from benchmark.workshop.pretrain.recipes import (
    HeadSettings,
    OptimizerSettings,
    SelfSupervisedSettings,
    SupervisedSettings,
)
from benchmark.workshop.pretrain.record import EpochReport

SHAPE = VitShape(img_size=16, patch_size=8, embed_dim=32, depth=2, num_heads=2)
SUPERVISED = SupervisedSettings(
    name="small",
    shape=SHAPE,
    epochs=4,
    batch_size=12,
    chunk_size=5,
    whole_epochs=1,
    validate_every=2,
    optimizer=OptimizerSettings(warmup_epochs=1.0),
)
DINO = SelfSupervisedSettings(
    name="small",
    shape=SHAPE,
    epochs=3,
    batch_size=12,
    views=ViewSettings(local_views=2, local_size=8),
    head=HeadSettings(hidden=16, bottleneck=8, prototypes=24),
    temperature_warmup=1.0,
    frozen_epochs=1.0,
    measure_every=2,
    optimizer=OptimizerSettings(warmup_epochs=1.0, decay_epochs=1.0),
)
IBOT = replace(DINO, masks=MaskSettings())


class KilledError(RuntimeError):
    """Stands for a process that is killed."""


def ignore(_report: EpochReport) -> None:
    """Shows no progress."""


def killed_after(epoch: int) -> Callable[[EpochReport], None]:
    """A process that is killed after an epoch."""

    def kill(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise KilledError

    return kill
