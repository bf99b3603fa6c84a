"""What a run is: frozen dataclasses, complete and resolved, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# Raised by one whenever a change of the runner, the trainer or the data stream may move a number:
# it is part of every run's key, so older results are then kept apart and run again.
PROTOCOL_VERSION = 2

InputRange = Literal["unit", "native"]
Precision = Literal["fp32", "bf16"]
Scenario = Literal["class", "domain"]


@dataclass(frozen=True)
class Recipe:
    """The training recipe: belongs to the suite, per data set and method."""

    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 5e-4
    epochs: int = 20
    batch_size: int = 128
    weight_decay: float = 0.0
    momentum: float = 0.9  # sgd only
    betas: tuple[float, float] = (0.9, 0.999)  # adam and adamw only
    schedule: Literal["late_cosine", "cosine", "multistep", "constant"] = "late_cosine"
    milestones: tuple[int, ...] = ()  # multistep only: epochs at whose start lr is multiplied
    gamma: float = 0.1  # multistep only
    clip_norm: float = 0.0  # 0: no clipping
    drop_last: bool = False
    lr_scales: Mapping[str, float] = field(default_factory=dict)  # by parameter group's name

    def __post_init__(self) -> None:
        at_least = {"lr": 0, "epochs": 0, "batch_size": 1, "weight_decay": 0, "clip_norm": 0}
        values = {name: getattr(self, name) for name in at_least}
        faults = [
            f"{name} must be at least {low}, not {values[name]!r}"
            for name, low in at_least.items()
            if not low <= values[name] < float("inf")
        ]
        shares = {"momentum": self.momentum, "gamma": self.gamma}
        shares |= {f"betas[{i}]": beta for i, beta in enumerate(self.betas)}
        faults += [
            f"{name} must lie in [0, 1], not {value!r}"
            for name, value in shares.items()
            if not 0 <= value <= 1
        ]
        rising = sorted({epoch for epoch in self.milestones if epoch > 0})
        if list(self.milestones) != rising:
            faults.append(f"milestones must be rising epochs from 1 on, not {self.milestones!r}")
        faults += [
            f"lr_scales[{name!r}] must be at least 0, not {scale!r}"
            for name, scale in self.lr_scales.items()
            if not scale >= 0
        ]
        if faults:
            raise ValueError("; ".join(faults))


@dataclass(frozen=True)
class RunSpec:
    """Everything asked of one run, resolved: what the run's key is made of."""

    dataset: str
    tasks: tuple[int, ...]  # classes per task, in order
    order: str  # natural | shuffled:SEED | path of a file with one class name a line
    method: str
    settings: Mapping[str, Any]  # every field of the method's Config
    recipe: Recipe
    backbone: str
    seed: int
    input_range: InputRange = "unit"  # [0, 1], or the backbone's own mean and std
    precision: Precision = "fp32"
    validation: float = 0.0  # share of the training images that replaces the test images
    split: str = "default"  # which of the data set's published splits
    backbone_file: str = ""  # path of the backbone's weights where they are the user's own
    scenario: Scenario = "class"  # new classes in every task, or a new domain of the same classes
    protocol: int = PROTOCOL_VERSION
