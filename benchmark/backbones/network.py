"""Builds a timm ViT of a shape, and says what a loaded one is."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Any

from timm.layers.mlp import SwiGLUPacked
from timm.layers.norm import LayerNorm
from timm.models.deit import VisionTransformerDistilled
from timm.models.vision_transformer import VisionTransformer

from benchmark.backbones.architecture import heads_of
from benchmark.backbones.catalogue import (
    Activation,
    BackboneSpec,
    Layers,
    Network,
    VitShape,
    pooling_in_words,
)

PART_OF_EVERY_RUN = True  # see engine.provenance

# Names of activation modules, of torch and of timm, and what the activation is called.
_ACTIVATIONS: dict[str, Activation] = {
    "GELU": "gelu",
    "GELUTanh": "gelu_tanh",
    "QuickGELU": "quick_gelu",
    "SiLU": "silu",
}


def new_vit(shape: VitShape, layers: Layers) -> VisionTransformer:
    """Return a timm ViT without a head, on torch's current device."""
    kind = VisionTransformerDistilled if layers.distilled else VisionTransformer
    options: dict[str, Any] = {}
    if layers.activation != "gelu":
        options["act_layer"] = layers.activation
    if layers.epsilon != Layers().epsilon:
        assert layers.epsilon is not None, "asked for before"
        options["norm_layer"] = partial(LayerNorm, eps=layers.epsilon)
    if layers.gated:
        options["mlp_layer"] = SwiGLUPacked
    return kind(**asdict(shape), **options, num_classes=0)


def layers_of(model: VisionTransformer) -> Layers:
    """Return the layers that a model has; an activation without a name here counts as None."""
    block: Any = model.blocks[0]
    mlp = getattr(block, "mlp", None)
    name = type(getattr(mlp, "act", None)).__name__
    return Layers(
        activation=_ACTIVATIONS.get(name),
        epsilon=getattr(getattr(block, "norm1", None), "eps", None),
        gated=type(mlp).__name__ == "GluMlp",
        distilled=hasattr(model, "dist_token"),
    )


def described(model: VisionTransformer, spec: BackboneSpec) -> Network:
    """Return what was loaded; whatever a model of another kind does not have is None."""
    layers = layers_of(model)
    return Network(
        heads=heads_of(model),
        image_size=spec.input_size,
        patch_size=spec.patch_size,
        pooling=pooling_in_words(str(getattr(model, "global_pool", "")), layers.distilled),
        activation=layers.activation,
        epsilon=layers.epsilon,
        mean=spec.mean,
        std=spec.std,
    )
