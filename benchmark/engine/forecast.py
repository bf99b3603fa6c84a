"""What open runs will cost: judged by finished runs like them, else roughly forecast.

A forecast loads no weights and trains nothing: it follows from the operations of a run, by formula,
and from how fast this machine multiplies matrices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import torch

from benchmark.backbones.catalogue import VitShape
from benchmark.backbones.load import shape_of
from benchmark.data import dataset_info
from benchmark.data.base import DataError, DataSource, default_root
from benchmark.engine.cost import matrix_peak
from benchmark.engine.evaluation import TOP
from benchmark.method import Method
from benchmark.registry import METHODS

if TYPE_CHECKING:
    from benchmark.engine.plan import PlannedRun
    from benchmark.results.store import Result, ResultStore
    from benchmark.spec import RunSpec

# Share of the rate of a large matrix product that training reaches, small operations included.
EFFICIENCY = 0.5
MATRIX = {"cpu": 512, "cuda": 4096}  # side of the product that is timed
# Numbers kept for the backward pass, per token, block and channel: inputs of the norms, of the
# linear layers, of attention and of the activation. The official InfLoRA code takes 13.4 GB for
# batches of 128 on a ViT-B/16.
KEPT_FOR_BACKWARD = 14
PROCESS_MB = 700.0  # Python, torch and a few images
RESULT_MB = 0.02
# Bytes of an image in the stored predictions of one stage, and what compression leaves of them.
PREDICTION_BYTES = TOP * (2 + 2) + 2
COMPRESSED = 0.7


@dataclass(frozen=True)
class Cost:
    """Time of a run, its largest memory, its results on disk and its largest checkpoint."""

    seconds: float
    memory_mb: float
    disk_mb: float
    checkpoint_mb: float = 0.0


@dataclass
class Estimate:
    """Time of all runs one after another, largest memory and checkpoint of one, disk of all.

    Attributes:
        runs: Number of open runs.
        unknown: Those of which nothing can be said; they count in no other figure.
        rough: Those that were forecast because no finished run is like them.
    """

    runs: int = 0
    unknown: int = 0
    rough: int = 0
    seconds: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0
    checkpoint_mb: float = 0.0

    def add(self, cost: Cost) -> None:
        """Count the cost of one more run."""
        self.seconds += cost.seconds
        self.memory_mb = max(self.memory_mb, cost.memory_mb)
        self.disk_mb += cost.disk_mb
        self.checkpoint_mb = max(self.checkpoint_mb, cost.checkpoint_mb)


def estimate(planned: Iterable[PlannedRun], store: ResultStore, forecaster: Forecaster) -> Estimate:
    """The cost of the open runs among `planned`."""
    finished = [r for r in store.results() if r["outcome"]["status"] == "done"]
    total = Estimate()
    for run in planned:
        if not run.open:
            continue
        total.runs += 1
        if alike := [result for result in finished if _alike(run, result)]:
            total.add(_like_finished(run, alike, store))
        elif cost := forecaster.forecast(run):
            total.rough += 1
            total.add(cost)
        else:
            total.unknown += 1
    return total


def _alike(run: PlannedRun, result: Result) -> bool:
    recorded: Mapping[str, object] = result["spec"]
    same = ("method", "dataset", "backbone", "precision")
    return all(getattr(run.spec, name) == recorded[name] for name in same)


def _like_finished(run: PlannedRun, alike: list[Result], store: ResultStore) -> Cost:
    """The cost of finished runs of the same kind, its time in proportion to the epochs."""
    per_epoch = fmean(
        result["environment"]["seconds"] / max(result["spec"]["recipe"]["epochs"], 1)
        for result in alike
    )
    folders = [store.folder(result["key"]) for result in alike]
    return Cost(
        seconds=per_epoch * max(run.spec.recipe.epochs, 1),
        memory_mb=max(result["outcome"]["peak_memory_mb"] for result in alike),
        disk_mb=fmean(sum(f.stat().st_size for f in folder.iterdir()) / 1e6 for folder in folders),
    )


class Forecaster:
    """Forecasts runs on one device of this machine.

    Attributes:
        rates: Operations a second of a large matrix product by precision, timed when first asked
            for; 0 where the device is not on this machine.
        images: Training and test images by data set and split.
    """

    def __init__(self, device: str, threads: int, data_root: Path | None) -> None:
        self.asked, self.threads = device, threads
        self.rates: dict[str, float] = {}
        self.images: dict[tuple[str, str], tuple[int, int]] = {}
        self._root = data_root or default_root()

    @property
    def device(self) -> torch.device:
        """The device asked for."""
        gpu = torch.cuda.is_available()
        return torch.device(("cuda" if gpu else "cpu") if self.asked == "auto" else self.asked)

    def forecast(self, run: PlannedRun) -> Cost | None:
        """The cost of one run; None when its data, architecture or device say too little."""
        shape = shape_of(run.spec.backbone)
        images = self._counts(run)
        if shape is None or not all(images):
            return None
        if run.spec.backbone_image_size is not None:
            shape = replace(shape, img_size=run.spec.backbone_image_size)
        rate = self._rate(run.spec.precision)
        return run_cost(run.spec, shape, images, rate) if rate else None

    def _rate(self, precision: str) -> float:
        if precision not in self.rates:
            before = torch.get_num_threads()
            torch.set_num_threads(self.threads)
            self.rates[precision] = 0.0
            # A build of torch without CUDA fails an assertion of its own.
            with suppress(RuntimeError, AssertionError, KeyError):
                device = self.device
                self.rates[precision] = matrix_peak(device, precision, MATRIX[device.type])
            torch.set_num_threads(before)
        return self.rates[precision]

    def _counts(self, run: PlannedRun) -> tuple[int, int]:
        """Training and test images: counted where the data are here, else as published."""
        name = run.spec.dataset, run.spec.split
        if name not in self.images:
            info = dataset_info(run.spec.dataset)
            self.images[name] = info.expected_images(run.spec.split)
            if run.data_hash and (info.files or not all(info.images)):
                with suppress(DataError):  # the run itself will say what is wrong with them
                    data = info.load(DataSource(self._root, run.spec.split))
                    self.images[name] = len(data.train.images), len(data.test.images)
        return self.images[name]


def run_cost(spec: RunSpec, shape: VitShape, images: tuple[int, int], rate: float) -> Cost:
    """The cost of a run on a ViT of this shape.

    Args:
        spec: The run.
        shape: The architecture of its backbone.
        images: Numbers of training and test images.
        rate: Operations a second of a large matrix product.
    """
    kind = METHODS.get(spec.method)
    adapts = _adapts(kind, spec, shape)
    parameters = 4 * parameter_count(shape) / 1e6  # MB
    memory = PROCESS_MB + 2 * parameters  # the frozen network and the method's own
    checkpoint = 2 * parameters if adapts else 1.0  # before the task, and within it
    if kind.trains_backbone:
        moments = {"adam": 2, "adamw": 2, "sgd": 1}[spec.recipe.optimizer] * parameters
        memory += parameters + moments
        checkpoint += moments
    if adapts and spec.recipe.epochs:
        kept = 4.0 * KEPT_FOR_BACKWARD * _tokens(shape) * shape.embed_dim * shape.depth
        memory += spec.recipe.batch_size * kept / 1e6
    evaluated = _evaluated(kind, spec, images)
    return Cost(
        seconds=operations(spec, shape, images) / (rate * EFFICIENCY),
        memory_mb=memory,
        disk_mb=RESULT_MB + evaluated * PREDICTION_BYTES * COMPRESSED / 1e6,
        checkpoint_mb=checkpoint,
    )


def operations(spec: RunSpec, shape: VitShape, images: tuple[int, int]) -> float:
    """Operations of a run over `images` training and test images.

    Counted: training with its backward passes, one pass over a task's images for each of
    `begin_task` and `end_task` that the method has, and every evaluation. Not counted: what a
    method does beside passing images through the network, and the decoding of images.
    """
    kind = METHODS.get(spec.method)
    trained, tested = _split(spec, images)
    query = 1 if kind.frozen_features else 0
    passes = trained * training_passes(spec, shape) + tested * query
    if _adapts(kind, spec, shape) or not query:
        passes += _evaluated(kind, spec, images)
    return passes * forward_flops(shape)


def training_passes(spec: RunSpec, shape: VitShape) -> int:
    """Forward passes that a training image takes, those of all epochs; a backward pass is two."""
    kind = METHODS.get(spec.method)
    adapts = _adapts(kind, spec, shape)
    query = 1 if kind.frozen_features else 0
    step = query + (3 if kind.trains_backbone else 2 if adapts else 1 - query)
    hooks = ("begin_task", "end_task")
    around = sum(getattr(kind, hook) is not getattr(Method, hook) for hook in hooks)
    own_groups = kind.parameter_groups is not Method.parameter_groups
    trains_nothing = not adapts and own_groups and kind.loss is Method.loss
    return (0 if trains_nothing else spec.recipe.epochs) * step + around


def _split(spec: RunSpec, images: tuple[int, int]) -> tuple[float, float]:
    """Images that are trained and tested on: validation takes a share of those of training."""
    trained, tested = images
    if spec.validation > 0:
        return trained * (1 - spec.validation), trained * spec.validation
    return trained, tested


def _evaluated(kind: type[Method], spec: RunSpec, images: tuple[int, int]) -> float:
    """Images of all evaluations: after every task those of the tasks so far."""
    stages = 1 if kind.stream == "joint" else len(spec.tasks)
    return _split(spec, images)[1] * (stages + 1) / 2


def forward_flops(shape: VitShape) -> float:
    """Operations of one image's forward pass; a multiply-add counts two."""
    tokens, width = _tokens(shape), shape.embed_dim
    linear = 2 * tokens * width**2 * (4 + 2 * shape.mlp_ratio)
    attention = 4 * tokens**2 * width
    patches = (shape.img_size // shape.patch_size) ** 2
    embedding = 2 * patches * 3 * shape.patch_size**2 * width
    return shape.depth * (linear + attention) + embedding


def parameter_count(shape: VitShape) -> float:
    """Parameters of the network without a head, norms and biases left out."""
    width = shape.embed_dim
    return shape.depth * width**2 * (4 + 2 * shape.mlp_ratio) + width * (
        3 * shape.patch_size**2 + _tokens(shape)
    )


def _adapts(kind: type[Method], spec: RunSpec, shape: VitShape) -> bool:
    """Whether anything inside the network is trained: its own weights, or what is added to it."""
    if kind.trains_backbone:
        return True
    tasks = len(spec.tasks)
    return kind.expanded_formula(spec.settings, shape.embed_dim, shape.depth, tasks) > 0


def _tokens(shape: VitShape) -> int:
    patches = (shape.img_size // shape.patch_size) ** 2
    return patches + int(shape.class_token) + shape.reg_tokens
