"""The whole contract between the runner and a continual-learning method.

The runner owns seeds, device, precision, optimizer, schedule, data and evaluation. A method owns
its parameters, its loss, its prediction and what it keeps between tasks. Calls come in this order:

    __init__
    for each task:
        grow -> begin_task -> parameter_groups
        for each epoch:  begin_epoch, then for each batch: loss, (optimizer step), after_step
        end_task
        predict on the test images of every class seen so far

Every evaluation and every task starts with a new object, in any run: `__init__`, then `grow` once
for every finished task, then the state saved after the last one is loaded strictly. Nothing else
survives a task. `grow` may create parameters and buffers whose shapes follow from the task alone.
State whose shape depends on the data goes through `get_extra_state` / `set_extra_state`: tensors,
numbers, texts, None, and lists, tuples and dicts of these. State that does not come back as it was
saved fails the run.

Settings are a frozen dataclass of `setting(...)` fields. A method names it twice, once for the type
checker and once for the runner, which makes an instance from the suite's values:

    @dataclass(frozen=True)
    class MyConfig(MethodConfig):
        rank: int = setting(10, "rank of the low-rank branches", low=1)

    @register("mine")
    class Mine(Method[MyConfig]):
        Config = MyConfig

A method without settings is a plain `class Mine(Method)`. A method with settings may be written
that way too, but then the type checker knows nothing of `self.config`.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import TypeVar

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from benchmark.spec import RunSpec

PART_OF_EVERY_RUN = True  # see engine.provenance


@dataclass(frozen=True)
class Task:
    """What a method may know of the current task.

    `classes` are consecutive labels in the order in which the classes are learned; labels below
    `classes.start` were seen before, labels from `classes.stop` on do not exist yet. `repeats`: an
    earlier task had the same classes, in images of another domain.
    """

    index: int
    count: int
    classes: range
    repeats: bool = False

    @property
    def seen(self) -> int:
        """Number of classes seen up to and including this task."""
        return self.classes.stop


@dataclass(frozen=True)
class Batch:
    """images: float32 [B, 3, H, W]; labels: int64 [B]; frozen: float32 [B, d] where declared."""

    images: Tensor
    labels: Tensor
    frozen: Tensor | None = None


class TaskData(ABC):
    """The training images of the current task; not available after `end_task`."""

    @abstractmethod
    def batches(self, augment: bool) -> Iterator[Batch]:
        """One pass over the training images: shuffled and augmented, or neither."""


class ParameterGroup(TypedDict):
    """Parameters that share a learning rate: the recipe's rate times `lr_scale`.

    A recipe may override the multiplier by the group's name (`lr_scales: {heads: 2.0}`).
    """

    name: str
    params: list[nn.Parameter]
    lr_scale: float


T = TypeVar("T")


def setting(
    default: T,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[T, ...] | None = None,
    within: Literal["width", "depth"] | None = None,
    where: tuple[str, object] | None = None,
) -> T:
    """A field of a `Config`: its default (the published value), help text and valid range.

    Args:
        default: Its value where none is given.
        help: What it says.
        low: The smallest value.
        high: The largest value.
        choices: The only values.
        within: The size of the backbone that a number may reach at most; a tuple holds numbers of
            blocks from 0 on, which lie below its depth.
        where: Another field and the value that it must have for this one to be read.
    """
    limits = {"low": low, "high": high, "choices": choices, "within": within, "where": where}
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class MethodConfig:
    """Base of a method's settings; checks every field's type and range, reports all errors."""

    def __post_init__(self) -> None:
        faults = [fault for f in fields(self) for fault in _faults(f, getattr(self, f.name))]
        if faults:
            raise ValueError("; ".join(faults))

    def misfits(self, width: int, depth: int, tasks: int) -> Iterator[str]:
        """What a backbone of this width and depth or a stream of so many tasks does not have."""
        sizes = {"width": width, "depth": depth}
        for f in fields(self):
            size, value = f.metadata.get("within"), getattr(self, f.name)
            if isinstance(value, tuple) and size and any(item >= sizes[size] for item in value):
                yield f"{f.name} must be below the backbone's {size}, {sizes[size]}, not {value!r}"
            elif size == "depth" and value == f.default:
                continue  # the published number, of a deeper backbone: all blocks are adapted
            elif isinstance(value, int) and size and value > sizes[size]:
                yield f"{f.name} must be at most the backbone's {size}, {sizes[size]}, not {value}"

    def unread(self) -> dict[str, str]:
        """The fields that another one keeps from being read, with the reason."""
        texts = {}
        for f in fields(self):
            other, needed = f.metadata.get("where") or (f.name, getattr(self, f.name))
            if (found := getattr(self, other)) != needed:
                texts[f.name] = f"{f.name} is read only where {other} is {needed!r}, not {found!r}"
        return texts


def _faults(f: Field[Any], value: Any) -> Iterator[str]:
    wanted = type(f.default)
    accepted = (int, float) if wanted is float else (wanted,)
    if f.default is not None and (
        not isinstance(value, accepted) or (isinstance(value, bool) and wanted is not bool)
    ):
        yield f"{f.name} must be {wanted.__name__}, not {value!r}"
        return
    if any(isinstance(v, float) and not math.isfinite(v) for v in _items(value)):
        yield f"{f.name} must be a finite number, not {value!r}"
        return
    low, high, choices = (f.metadata.get(k) for k in ("low", "high", "choices"))
    if choices is not None and value not in choices:
        yield f"{f.name} must be one of {', '.join(map(repr, choices))}, not {value!r}"
    if value is not None and low is not None and not value >= low:
        yield f"{f.name} must be at least {low}, not {value!r}"
    if value is not None and high is not None and not value <= high:
        yield f"{f.name} must be at most {high}, not {value!r}"


def _items(value: Any) -> Iterator[Any]:
    """A value, or what it holds at any depth."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _items(item)
    else:
        yield value


ConfigT = TypeVar("ConfigT", bound=MethodConfig, default=Any)


class Method(nn.Module, Generic[ConfigT]):
    """Base of every method: trains everything, with one linear head per task and a local loss.

    Class attributes a subclass may set:
        Config: the dataclass of its settings.
        role: "bound" for a row that limits what any method can reach, "reference" for a simple
            baseline, "method" for all others.
        stream: "tasks" to learn one task after another, "joint" to learn all classes as a single
            task.
        frozen_features: the method reads the untouched backbone's features; `Batch.frozen` and the
            second argument of `predict` are then filled (float32 [B, d]).
        trains_backbone: False promises that no backbone parameter ever receives a gradient.
        groups: the names of the parameter groups that `parameter_groups` returns, in any task.
        loss_is_local: the classification loss compares the classes of the task alone, as the
            default one does: in a task of one class it is 0, which rows are marked with.
        meets_classes_once: the method cannot update a class that returns in a later task, so it is
            skipped in domain-incremental streams.
        kept: maps the start of an attribute path (`"gaussians.mean"`) to the name of what is stored
            there ("class means"), for the table of costs; anything else stored counts as "other".
        batch_dependent: the prediction for one image depends on the other images in its batch; the
            row is marked in every table.
    """

    Config: ClassVar[type[MethodConfig]] = MethodConfig

    name: ClassVar[str] = ""
    role: ClassVar[Literal["bound", "reference", "method"]] = "method"
    stream: ClassVar[Literal["tasks", "joint"]] = "tasks"
    frozen_features: ClassVar[bool] = False
    trains_backbone: ClassVar[bool] = True
    groups: ClassVar[tuple[str, ...]] = ("body", "heads")
    loss_is_local: ClassVar[bool] = True
    meets_classes_once: ClassVar[bool] = False
    kept: ClassVar[Mapping[str, str]] = {}
    batch_dependent: bool = False

    def __init__(self, backbone: VisionTransformer, config: ConfigT) -> None:
        super().__init__()
        self.backbone = backbone
        self.config = config
        self.heads = nn.ModuleList()
        self.notes: list[str] = []
        if not self.trains_backbone:
            backbone.requires_grad_(False)

    # -- hooks, in the order in which the runner calls them ------------------------------------

    def grow(self, task: Task) -> None:
        """Add what task `task` needs; shapes may depend on the task only. Default: one head."""
        if task.repeats:  # the same classes in another domain: the same head keeps learning
            return
        self.heads.requires_grad_(False)
        self.heads.append(nn.Linear(self.backbone.num_features, len(task.classes)))

    def begin_task(self, task: Task, data: TaskData) -> None:
        """Data-driven preparation before training, such as a subspace. Default: nothing."""

    def parameter_groups(self) -> list[ParameterGroup]:
        """Trainable parameters in named groups. Default: current heads, and everything else."""
        heads = [p for p in self.heads.parameters() if p.requires_grad]
        known = {id(p) for p in self.heads.parameters()}
        body = [p for p in self.parameters() if p.requires_grad and id(p) not in known]
        groups = {"body": body, "heads": heads}
        return [
            ParameterGroup(name=name, params=params, lr_scale=1.0)
            for name, params in groups.items()
            if params
        ]

    def begin_epoch(self, task: Task, epoch: int) -> None:
        """Called before every epoch, 0-based. Default: nothing."""

    def loss(self, batch: Batch, task: Task) -> Tensor:
        """Scalar to minimise. Default: cross-entropy over the classes of this task alone."""
        return self.local_loss(self.features(batch.images), batch, task)

    def after_step(self, task: Task) -> None:
        """Called after every optimizer step, such as for averages. Default: nothing."""

    def end_task(self, task: Task, data: TaskData) -> None:
        """Called after training: statistics, alignment, memory. Default: nothing."""

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """Logits [B, classes seen] of images [B, 3, H, W], independent for each image."""
        return self.logits(self.embed(images, frozen))

    @classmethod
    def skip(cls, spec: RunSpec) -> str | None:
        """A reason why this method cannot run under `spec`, or None."""
        if cls.meets_classes_once and spec.scenario == "domain":
            return "cannot update a class that returns in a later task"
        return None

    @classmethod
    def remarks(cls, spec: RunSpec) -> Iterator[str]:
        """What a reader has to know of a run under `spec`, before it begins; notes of its row."""
        sizes = (sum(spec.tasks),) if cls.stream == "joint" else spec.tasks
        single = [str(index + 1) for index, size in enumerate(sizes) if size == 1]
        if cls.loss_is_local and single:
            few = f"task{'s' * (len(single) > 1)} {', '.join(single)}"
            yield (
                f"{few if len(single) <= 8 else f'{len(single)} of {len(sizes)} tasks'} with one "
                "class: the cross-entropy within the task is 0 and trains nothing"
            )

    @classmethod
    def expanded_formula(cls, config: ConfigT, width: int, depth: int, tasks: int) -> int:
        """Parameters added to a backbone of this width and depth, classifier not counted."""
        return 0

    # -- building blocks ------------------------------------------------------------------------

    def features(self, images: Tensor) -> Tensor:
        """Class-token features [B, d] after the final norm of the adapted backbone."""
        tokens = self.backbone.forward_features(images)
        features: Tensor = self.backbone.forward_head(tokens, pre_logits=True)
        return features

    def embed(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        """Features [B, d] of images [B, 3, H, W] that `predict` classifies. Default: `features`."""
        return self.features(images)

    def logits(self, features: Tensor) -> Tensor:
        """Logits of all heads side by side: [B, d] -> [B, classes seen]."""
        return torch.cat([head(features) for head in self.heads], dim=1)

    def local_loss(self, features: Tensor, batch: Batch, task: Task) -> Tensor:
        """Cross-entropy of the newest head on labels counted from the task's first class."""
        return F.cross_entropy(self.heads[-1](features), batch.labels - task.classes.start)

    # -- accounting -----------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Add a note about this run, shown below every table; duplicates are dropped."""
        if text not in self.notes:
            self.notes.append(text)

    def expanded_parameters(self) -> int:
        """Parameters beside backbone and heads, counted by walking the module."""
        own = {id(p) for part in (self.backbone, self.heads) for p in part.parameters()}
        return sum(p.numel() for p in self.parameters() if id(p) not in own)

    def statistics(self) -> int:
        """Numbers kept between tasks beside parameters: buffers and extra state."""
        return sum(count for _, count in self.named_statistics())

    def named_statistics(self) -> Iterator[tuple[str, int]]:
        """Attribute path and size of every buffer and extra state, except the backbone's."""
        pretrained = {id(b) for b in self.backbone.buffers()}
        for name, buffer in self.named_buffers():
            if id(buffer) not in pretrained:
                yield name, buffer.numel()
        for name, module in self.named_modules():
            if type(module).get_extra_state is not nn.Module.get_extra_state:
                yield name, _numel(module.get_extra_state())


def _numel(state: Any) -> int:
    """Numbers in the tensors of a state of nested dicts, lists and tuples."""
    if isinstance(state, Tensor):
        return state.numel()
    if isinstance(state, dict):
        state = list(state.values())
    return sum(map(_numel, state)) if isinstance(state, list | tuple) else 0
