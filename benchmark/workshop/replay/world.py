"""The small problem behind recorded cases: backbone, data, protocol, and its trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.data.stream import TrainingData
from benchmark.engine.trainer import Observer, train_task
from benchmark.method import Batch, Method, Task
from benchmark.spec import Recipe
from benchmark.workshop.replay.case import RecordedCase, ReplayError, read_case
from benchmark.workshop.replay.compare import ArrayResult, CaseComparison

WEIGHT = "w:"  # before the names of the backbone's tensors


@dataclass(frozen=True)
class World:
    """Inputs of a training case, read from the files that it names."""

    case: RecordedCase
    backbone: RecordedCase
    data: RecordedCase

    @property
    def tasks(self) -> int:
        """Number of recorded tasks."""
        return self.case.field("protocol", "tasks", kind=int)

    @property
    def probe(self) -> Tensor:
        """Probe images, float64 [n, 3, H, W]."""
        return as_tensor(self.data.array("probe_x", None, None, None, None))

    def vit(self) -> VisionTransformer:
        """A fresh backbone, float64, with the recorded weights."""
        return build_vit(self.case, self.backbone, "model")

    def task(self, index: int, count: int | None = None) -> Task:
        """Task `index` of `count` (default: the recorded ones)."""
        size = self.case.field("protocol", "cpt", kind=int)
        return Task(index, count or self.tasks, range(index * size, (index + 1) * size))

    def stream(self, task: Task, frozen: Callable[[Tensor], Tensor] | None = None) -> TrainingData:
        """The task's training images in the recorded order."""
        images = self.data.array("train_x", None, None, None, None, None)
        labels = self.data.array("train_y", *images.shape[:2])
        if not 0 <= task.index < len(images):
            raise ReplayError(f"{self.data.path}: no training images of task {task.index}")
        own = labels[task.index]
        if own.min() < task.classes.start or own.max() >= task.classes.stop:
            raise ReplayError(
                f"{self.data.path}: train_y of task {task.index} has labels that are not its own"
            )
        return RecordedStream(
            as_tensor(images[task.index]),
            torch.from_numpy(own).long(),
            batch_size=self.case.field("protocol", "batch", kind=int),
            frozen=frozen,
        )

    def recipe(self) -> Recipe:
        """The recorded optimizer and schedule as a recipe of ours."""
        case = self.case
        options = case.field("optimizer", kind=dict)
        algo = case.field("optimizer", "algo", kind=str).lower()
        if algo not in ("adam", "adamw", "sgd"):
            raise ReplayError(f"{case.path}: optimizer {algo!r} is not one of ours")
        if algo != "sgd" and options.get("eps", 1e-8) != 1e-8:
            raise ReplayError(f"{case.path}: eps {options['eps']}: our trainer uses 1e-8")
        betas = options.get("betas", (0.9, 0.999))
        return Recipe(
            optimizer=algo,  # type: ignore[arg-type]
            lr=case.field("optimizer", "lr", kind=float),
            epochs=case.field("protocol", "epochs", kind=int),
            batch_size=self.case.field("protocol", "batch", kind=int),
            weight_decay=float(options.get("weight_decay", 0.0)),
            momentum=float(options.get("momentum", 0.0)),
            betas=(float(betas[0]), float(betas[1])),
            schedule=_schedule(case),  # type: ignore[arg-type]
        )

    def grow(self, method: Method, task: Task) -> None:
        """`grow` in float64, with the recorded start of the classifier."""
        method.grow(task)
        method.double()
        head = method.heads[-1]
        assert isinstance(head, nn.Linear)
        weight = self.data.array("classifier_weight", None, head.in_features)
        bias = self.data.array("classifier_bias", len(weight))
        if len(weight) < task.seen:
            raise ReplayError(f"{self.data.path}: classifier_weight has no rows for all classes")
        own = slice(task.classes.start, task.classes.stop)
        with torch.no_grad():
            head.weight.copy_(as_tensor(weight[own]))
            head.bias.copy_(as_tensor(bias[own]))

    def train(
        self,
        method: Method,
        task: Task,
        observer: Observer,
        frozen: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        """Grow and train on `task` with the benchmark's own trainer."""
        self.grow(method, task)
        train_task(method, task, self.stream(task, frozen), self.recipe(), observer)
        method.eval()

    def shared_results(self, tolerance: float) -> list[ArrayResult]:
        """Lines for what the shared data file records of the unadapted backbone."""
        names = check_features(self.vit(), self.data, tolerance)
        return [line for line in names if line.covered]


class RecordedStream(TrainingData):
    """Stored images in stored order: float64 [n, 3, H, W], labels int64 [n]."""

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        frozen: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ReplayError(f"a batch of {batch_size} images")
        self._images, self._labels = images, labels
        self._size, self._frozen = batch_size, frozen

    def epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """The same pass in every epoch."""
        return islice(self.batches(augment=True), done, None)

    def batches(self, augment: bool) -> Iterator[Batch]:
        """The same pass, augmented or not: nothing was augmented when it was recorded."""
        for start in range(0, len(self._labels), self._size):
            part = slice(start, start + self._size)
            images, labels = self._images[part], self._labels[part]
            yield Batch(images, labels, self._frozen(images) if self._frozen else None)


class Follower(Observer):
    """Notes loss and learning rate of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []

    def prepared(self, method: Method, task: Task) -> None:
        """A new task begins."""
        self.losses, self.rates = [], []

    def step(self, task: Task, epoch: int, loss: Tensor, lr: float) -> None:
        """Note the step."""
        self.losses.append(float(loss))
        self.rates.append(lr)

    def values(self) -> dict[str, np.ndarray]:
        """Return losses and learning rates of the task by their recorded names."""
        return {"loss": np.asarray(self.losses), "lr": np.asarray(self.rates)}


def heads_side_by_side(method: Method) -> dict[str, Tensor]:
    """Return the heads' weights [C, d] and biases [C] by their recorded names."""
    heads = [head for head in method.heads if isinstance(head, nn.Linear)]
    return {
        "classifier_weight": torch.cat([head.weight for head in heads]),
        "classifier_bias": torch.cat([head.bias for head in heads]),
    }


def read_world(case: RecordedCase) -> World:
    """The files that `case` names as its inputs, relative to the folder above its own."""
    folder = case.path.parent.resolve().parent
    parts: dict[str, RecordedCase] = {}
    for name in case.field("inputs", kind=list):
        part = read_case(folder / str(name))
        parts["backbone" if any(key.startswith(WEIGHT) for key in part.arrays) else "data"] = part
    for role in ("backbone", "data"):
        if role not in parts:
            raise ReplayError(f"{case.path}: its inputs name no file with the {role}")
    return World(case, parts["backbone"], parts["data"])


def _schedule(case: RecordedCase) -> str:
    text = case.field("schedule", kind=str)
    if text.startswith("constant"):
        return "constant"
    if "cos(99*pi*s/(200*(epochs-1)))" in text.replace(" ", ""):
        return "late_cosine"
    raise ReplayError(f"{case.path}: schedule {text!r} is not one of ours")


def build_vit(case: RecordedCase, weights: RecordedCase, *section: str) -> VisionTransformer:
    """A timm model of the sizes that a case describes, float64, filled strictly, frozen."""
    described = case.field(*section, kind=dict) if section else case.meta
    act, pool = described.get("act", "gelu exact"), described.get("pool", "class token")
    if act != "gelu exact" or not str(pool).startswith("class token"):
        raise ReplayError(f"{case.path}: a model with {act} and {pool} pooling is not one of ours")
    state = {
        name.removeprefix(WEIGHT): as_tensor(value)
        for name, value in weights.arrays.items()
        if name.startswith(WEIGHT)
    }
    sizes = {key: case.field(*section, key, kind=int) for key in ("img", "patch", "embed", "heads")}
    if min(sizes.values()) < 1 or sizes["embed"] % sizes["heads"]:
        raise ReplayError(f"{case.path}: impossible sizes of the model: {sizes}")
    patches = state.get("patch_embed.proj.weight")
    model = VisionTransformer(
        img_size=sizes["img"],
        patch_size=sizes["patch"],
        in_chans=3 if patches is None or patches.ndim != 4 else patches.shape[1],
        embed_dim=sizes["embed"],
        depth=case.field(*section, "depth", kind=int),
        num_heads=sizes["heads"],
        mlp_ratio=case.field(*section, "mlp", kind=float),
        qkv_bias=bool(described.get("qkv_bias", True)),
        norm_layer=partial(nn.LayerNorm, eps=float(described.get("layernorm_eps", 1e-6))),
        num_classes=0,
    )
    model.double()
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ReplayError(f"{weights.path}: does not fit the model described: {error}") from error
    return model.eval()


@torch.no_grad()
def check_features(
    vit: VisionTransformer, data: RecordedCase, tolerance: float
) -> list[ArrayResult]:
    """Lines for a data file: what it records of the unadapted backbone, and what is input."""
    comparison = CaseComparison(
        data.arrays, tolerance, f"{data.path.parent.name}/{data.path.name}:"
    )
    for name in data.arrays:
        comparison.leave(name, "input of the cases that use it")
    probe = as_tensor(data.array("probe_x", None, None, None, None))
    train = as_tensor(data.array("train_x", None, None, None, None, None))
    tokens = vit.forward_features(probe)
    comparison.check("probe_features_pretrained", tokens[:, 0])
    first = len(data.arrays.get("probe_tokens_pretrained_first4", ()))
    comparison.check("probe_tokens_pretrained_first4", tokens[:first])
    queries = vit.forward_features(train.flatten(0, 1))[:, 0]
    comparison.check("train_features_pretrained", queries.unflatten(0, train.shape[:2]))
    return comparison.results()


def as_tensor(array: np.ndarray) -> Tensor:
    """A float64 tensor of the array's shape that owns its numbers."""
    return torch.from_numpy(np.array(array, dtype=np.float64))
