"""What a run will roughly cost, from first principles: nothing is loaded and nothing is run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.backbones.catalogue import BackboneSpec, VitShape, find
from benchmark.engine.evaluation import TOP
from benchmark.method import Method
from benchmark.registry import METHODS

if TYPE_CHECKING:
    from benchmark.spec import RunSpec

# Share of the rate of a large matrix product that training reaches, small operations included.
EFFICIENCY = 0.5
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
    """Operations of a run, its largest memory, its results on disk and its largest checkpoint."""

    flops: float
    memory_mb: float
    disk_mb: float
    checkpoint_mb: float

    def seconds(self, rate: float) -> float:
        """Time of the run where a large matrix product reaches `rate` operations a second."""
        return self.flops / (rate * EFFICIENCY)


def cost(spec: RunSpec, shape: VitShape, images: tuple[int, int]) -> Cost:
    """The cost of a run over `images` training and test images on a ViT of this shape.

    Counted: training with its backward passes, one pass over a task's images for each of
    `begin_task` and `end_task` that the method has, and every evaluation. Not counted: what a
    method does beside passing images through the network, and the decoding of images.
    """
    kind = METHODS.get(spec.method)
    trained, tested = (float(count) for count in images)
    if spec.validation > 0:
        trained, tested = trained * (1 - spec.validation), trained * spec.validation
    forward = forward_flops(shape)
    adapts = _adapts(kind, spec, shape)
    query = 1 if kind.frozen_features else 0

    step = query + (3 if kind.trains_backbone else 2 if adapts else 1 - query)
    hooks = ("begin_task", "end_task")
    around = sum(getattr(kind, hook) is not getattr(Method, hook) for hook in hooks)
    epochs = 0 if _trains_nothing(kind, adapts) else spec.recipe.epochs
    passes = trained * (epochs * step + around)

    stages = 1 if kind.stream == "joint" else len(spec.tasks)
    evaluated = tested * (stages + 1) / 2  # all images of the tasks so far, after every task
    passes += evaluated * (1 if adapts or not query else 0) + tested * query

    parameters = 4 * parameter_count(shape) / 1e6  # MB
    moments = {"adam": 2, "adamw": 2, "sgd": 1}[spec.recipe.optimizer]
    memory = PROCESS_MB + 2 * parameters  # the frozen network and the method's own
    if kind.trains_backbone:
        memory += (1 + moments) * parameters
    if adapts and epochs:
        memory += spec.recipe.batch_size * _activations(shape) / 1e6
    return Cost(
        flops=passes * forward,
        memory_mb=memory,
        disk_mb=RESULT_MB + evaluated * PREDICTION_BYTES * COMPRESSED / 1e6,
        checkpoint_mb=parameters if adapts else 1.0,
    )


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


@cache
def shape_of(backbone: str) -> VitShape | None:
    """The architecture of a backbone, without its weights; None where only they could tell."""
    spec = find(backbone)
    if spec.shape is not None:
        return spec.shape
    return _shape_of_tensors(spec)


def _shape_of_tensors(spec: BackboneSpec) -> VitShape | None:
    """The architecture of a timm name, built without memory, or of a file that is here."""
    import timm
    import torch

    from benchmark.backbones.catalogue import BackboneError
    from benchmark.backbones.files import read_weights
    from benchmark.backbones.model import infer_shape

    try:
        if spec.weight_file is not None:
            found = read_weights(spec.weight_file)
            return infer_shape(found.tensors, spec.heads or found.heads, spec.weight_file)
        with torch.device("meta"):
            model = timm.create_model(str(spec.timm_name), pretrained=False, num_classes=0)
        return infer_shape(model.state_dict(), None, Path(spec.name))
    except (BackboneError, RuntimeError, OSError, ValueError):
        return None  # loading it will say what is wrong


def _adapts(kind: type[Method], spec: RunSpec, shape: VitShape) -> bool:
    """Whether anything inside the network is trained: its own weights, or what is added to it."""
    if kind.trains_backbone:
        return True
    config = kind.Config(**spec.settings)
    tasks = len(spec.tasks)
    return kind.expanded_formula(config, shape.embed_dim, shape.depth, tasks) > 0


def _trains_nothing(kind: type[Method], adapts: bool) -> bool:
    """Whether a method says itself what is trained, and neither adds anything nor has a loss."""
    own_groups = kind.parameter_groups is not Method.parameter_groups
    return not adapts and own_groups and kind.loss is Method.loss


def _tokens(shape: VitShape) -> int:
    patches = (shape.img_size // shape.patch_size) ** 2
    return patches + int(shape.class_token) + shape.reg_tokens


def _activations(shape: VitShape) -> float:
    """Bytes that training keeps of one image for the backward pass."""
    return 4.0 * KEPT_FOR_BACKWARD * _tokens(shape) * shape.embed_dim * shape.depth
