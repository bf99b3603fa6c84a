"""The settings of pre-training, and the recipes of the embedded backbones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from benchmark.backbones.catalogue import VitShape
from benchmark.workshop.pretrain.augment import AugmentSettings, MaskSettings, ViewSettings

Precision = Literal["float32", "bfloat16"]  # of the networks' products; weights are float32


@dataclass(frozen=True)
class OptimizerSettings:
    """AdamW with linear warm-up, a plateau, a cosine to zero and clipped gradients.

    On the plateau the rate does not depend on the number of epochs, so that a longer training
    repeats the steps of a shorter one until the shorter one's decay.
    """

    learning_rate: float = 1.5e-3
    betas: tuple[float, float] = (0.9, 0.98)
    weight_decay: float = 0.05
    warmup_epochs: float = 2.0
    decay_epochs: float = 12.0
    clip_norm: float = 1.0


@dataclass(frozen=True)
class HeadSettings:
    """Sizes of the projection head."""

    hidden: int = 256
    bottleneck: int = 64
    prototypes: int = 1024


@dataclass(frozen=True)
class SupervisedSettings:
    """Everything that decides the bits of the weights, besides the images."""

    name: str = "tiny_sup"
    shape: VitShape = field(default_factory=VitShape)
    epochs: int = 16
    batch_size: int = 256
    chunk_size: int = 128  # images one thread works on at a time
    seed: int = 0
    precision: Precision = "bfloat16"
    label_smoothing: float = 0.1
    patch_drop: float = 0.25  # share of patches hidden from a training image
    whole_epochs: int = 2  # last epochs, in which no patch is hidden
    augment: AugmentSettings = field(default_factory=lambda: AugmentSettings(ground=0.5))
    optimizer: OptimizerSettings = OptimizerSettings(learning_rate=2e-3, decay_epochs=14.0)
    validate_every: int = 2

    @property
    def objective(self) -> str:
        """Name of the kind of training."""
        return "supervised"


@dataclass(frozen=True)
class SelfSupervisedSettings:
    """Everything that decides the bits of the weights, besides the images."""

    name: str = "tiny_dino"
    shape: VitShape = field(default_factory=VitShape)
    epochs: int = 4
    batch_size: int = 64
    seed: int = 0
    precision: Precision = "float32"
    initial_positions: float = 0.3  # deviation of the positions and the class token at the start
    views: ViewSettings = field(default_factory=ViewSettings)
    masks: MaskSettings | None = None  # None: no masked patches, DINO; otherwise iBOT
    patch_drop: float = 0.5  # share of patches hidden from the student's whole views, if unmasked
    patch_weight: float = 1.0  # of the masked patches' loss beside the class tokens'
    spreading_weight: float = 0.1  # of the loss that spreads the class tokens
    head: HeadSettings = field(default_factory=HeadSettings)
    student_temperature: float = 0.1
    teacher_temperature: tuple[float, float] = (0.04, 0.05)  # at the start, after the warm-up
    temperature_warmup: float = 1.0  # epochs
    centre_momentum: float = 0.9  # of the mean that is taken from the teacher's scores
    teacher_momentum: float = 0.994  # on the plateau; then along a cosine to 1
    frozen_epochs: float = 0.25  # at the start, in which the prototypes stay
    optimizer: OptimizerSettings = OptimizerSettings(
        learning_rate=1e-3, betas=(0.9, 0.99), warmup_epochs=0.25, decay_epochs=2.0
    )
    measure_every: int = 1

    @property
    def objective(self) -> str:
        """Name of the kind of training: `dino` or `ibot`."""
        return "dino" if self.masks is None else "ibot"

    @property
    def chunk_size(self) -> int:
        """Images one thread works on at a time: the losses compare all of a batch."""
        return self.batch_size


Settings = SupervisedSettings | SelfSupervisedSettings


TINY_DINO = SelfSupervisedSettings()
TINY_IBOT = SelfSupervisedSettings(  # fewer crops and epochs for the same time
    name="tiny_ibot", epochs=3, views=ViewSettings(local_views=2), masks=MaskSettings()
)
