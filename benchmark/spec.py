"""What a run is: frozen dataclasses, complete and resolved, before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Protocol, runtime_checkable

import pydantic.dataclasses

# Raised by one whenever a change of the runner, the trainer or the data stream may move a number:
# it is part of every run's key, so older results are then kept apart and run again.
PROTOCOL_VERSION = 2

SEEDS = range(2**32)  # what numpy's generators take

Interpolation = Literal["bilinear", "bicubic"]

# Kinds of class orders with a seed of their own, as in `shuffled:SEED`, and all that are no files.
SHUFFLES = ("shuffled", "coda")
ORDER_KINDS = ("natural", *SHUFFLES)

Precision = Literal["fp32", "bf16"]
Scenario = Literal["class", "domain"]

NonNegative = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, pydantic.Field(ge=0, le=1)]
_Part = Annotated[float, pydantic.Field(gt=0, le=1)]
_Positive = Annotated[float, pydantic.Field(gt=0, allow_inf_nan=False)]
_Finite = Annotated[float, pydantic.Field(allow_inf_nan=False)]
HeldOut = Annotated[float, pydantic.Field(ge=0, lt=1)]  # a share of the training images
NoAugmentation = Literal["none"]


def _rising(epochs: tuple[int, ...]) -> tuple[int, ...]:
    if list(epochs) != sorted({epoch for epoch in epochs if epoch > 0}):
        raise ValueError(f"must be rising epochs from 1 on, not {list(epochs)}")
    return epochs


def _ordered(limits: tuple[float, float]) -> tuple[float, float]:
    if limits[0] > limits[1]:
        raise ValueError(f"must be a lower and an upper limit, not {list(limits)}")
    return limits


@pydantic.dataclasses.dataclass(frozen=True, config={"strict": True})
class Recipe:
    """The training recipe: belongs to the suite, per data set and method.

    Raises:
        pydantic.ValidationError: Names every value that cannot be used.
    """

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: NonNegative = 5e-4
    epochs: Annotated[int, pydantic.Field(ge=0)] = 20
    batch_size: Annotated[int, pydantic.Field(ge=1)] = 128
    weight_decay: NonNegative = 0.0
    momentum: Share = 0.9  # sgd only
    betas: tuple[Share, Share] = (0.9, 0.999)  # adam and adamw only
    schedule: Literal["late_cosine", "cosine", "multistep", "constant"] = "late_cosine"
    # multistep only: epochs at whose start lr is multiplied
    milestones: Annotated[tuple[int, ...], pydantic.AfterValidator(_rising)] = ()
    gamma: Share = 0.1  # multistep only
    clip_norm: NonNegative = 0.0  # 0: no clipping
    drop_last: bool = False
    lr_scales: Mapping[str, NonNegative] = field(default_factory=dict)  # by parameter group's name

    def unread(self) -> dict[str, str]:
        """Keys that the optimizer or the schedule does not read, each with the reason."""
        readers = {
            "momentum": ("optimizer", ("sgd",)),
            "betas": ("optimizer", ("adam", "adamw")),
            "milestones": ("schedule", ("multistep",)),
            "gamma": ("schedule", ("multistep",)),
        }
        return {
            key: f"has no effect: it is read by {choice} {' and '.join(names)}, "
            f"not by {getattr(self, choice)}"
            for key, (choice, names) in readers.items()
            if getattr(self, choice) not in names
        }


@pydantic.dataclasses.dataclass(frozen=True, config={"strict": True})
class Augmentation:
    """How a training image is changed at random each time it is shown.

    A crop is drawn as by torchvision's RandomResizedCrop, mirrored as by RandomHorizontalFlip, and
    its colours changed as by ColorJitter. The defaults are torchvision's.

    Raises:
        pydantic.ValidationError: Names every value that cannot be used.
    """

    # area of the crop as a share of the image's, from and to
    scale: Annotated[tuple[_Part, _Part], pydantic.AfterValidator(_ordered)] = (0.08, 1.0)
    # width of the crop over its height, from and to
    ratio: Annotated[tuple[_Positive, _Positive], pydantic.AfterValidator(_ordered)] = (
        3 / 4,
        4 / 3,
    )
    flip: Share = 0.5  # probability that the crop is mirrored
    # c: brightness, contrast and saturation are multiplied by 1 - c to 1 + c; 0: left alone
    colour: Share = 0.0
    interpolation: Interpolation = "bilinear"  # when the crop is brought to the backbone's size


@pydantic.dataclasses.dataclass(frozen=True, config={"strict": True})
class Evaluation:
    """How a test image is brought to the backbone's size, as by torchvision's transforms.

    It is resized, then its centre is cut out. For a size of 224 and a crop of 0.875 that is
    Resize(256) and CenterCrop(224).

    Raises:
        pydantic.ValidationError: Names every value that cannot be used.
    """

    resize: Literal["shorter", "both"] = "shorter"  # side that is brought to size / crop pixels
    # side of the centre as a share of that side; 1: nothing is cut off
    crop: Annotated[float, pydantic.Field(ge=0.1, le=1)] = 0.875
    interpolation: Interpolation = "bilinear"


@pydantic.dataclasses.dataclass(frozen=True, config={"strict": True})
class Normalisation:
    """Pixels in [0, 1] less the mean, divided by the deviation: red, green and blue.

    Raises:
        pydantic.ValidationError: Names every value that cannot be used.
    """

    mean: tuple[_Finite, _Finite, _Finite]
    std: tuple[_Positive, _Positive, _Positive]


InputRange = Literal["unit", "native"] | Normalisation


@runtime_checkable
class Settings(Protocol):
    """A method's settings, complete: a frozen dataclass, its `Config`."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def misfits(self, width: int, depth: int, tasks: int) -> Iterator[str]:
        """What a backbone of this width and depth or a stream of so many tasks does not have."""


@dataclass(frozen=True)
class RunSpec:
    """Everything asked of one run, resolved: what the run's key is made of."""

    dataset: str
    tasks: tuple[int, ...]  # classes per task, in order
    order: str  # natural | shuffled:SEED | coda:SEED | path of a file with one class name a line
    method: str
    settings: Settings  # the method's Config
    recipe: Recipe
    backbone: str
    seed: int
    input_range: InputRange = "unit"  # [0, 1], or less a mean and divided by a deviation
    precision: Precision = "fp32"
    validation: HeldOut = 0.0  # share of the training images that replaces the test images
    split: str = "default"  # which of the data set's published splits
    backbone_file: str = ""  # path of the backbone's weights where they are the user's own
    # side in pixels of the images; None: as the weights were trained on
    backbone_image_size: Annotated[int, pydantic.Field(ge=1)] | None = None
    scenario: Scenario = "class"  # new classes in every task, or a new domain of the same classes
    augmentation: Augmentation | NoAugmentation = Augmentation()  # noqa: RUF009 - frozen
    evaluation: Evaluation = Evaluation()  # noqa: RUF009 - frozen
    protocol: int = PROTOCOL_VERSION


def order_kind(order: str) -> str:
    """One of `ORDER_KINDS`, or the path of the file that the class order is read from."""
    kind, colon, _ = order.partition(":")
    return kind if colon and kind in SHUFFLES else order


def values_of(settings: Settings) -> dict[str, Any]:
    """A method's settings by name."""
    return {name: getattr(settings, name) for name in settings.__dataclass_fields__}
