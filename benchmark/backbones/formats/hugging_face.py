"""Reads the names of Hugging Face's transformers: ViT, DeiT, MAE, DINOv2, CLIP and SigLIP."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from benchmark.backbones.catalogue import Activation, BackboneError, Layers
from benchmark.backbones.formats.base import Tensors, WeightFile, renamed, with_registers
from benchmark.backbones.formats.containers import Model
from benchmark.backbones.places import CONFIG

_EMBEDDINGS = {
    "embeddings.cls_token": "cls_token",
    "embeddings.distillation_token": "dist_token",
    "embeddings.register_tokens": "register_tokens",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
_VIT = _EMBEDDINGS | {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.attention.query": "attn.q",
    "attention.attention.key": "attn.k",
    "attention.attention.value": "attn.v",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}
_DINOV2 = _EMBEDDINGS | {
    "norm1": "norm1",
    "norm2": "norm2",
    "attention.attention.query": "attn.q",
    "attention.attention.key": "attn.k",
    "attention.attention.value": "attn.v",
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "mlp.weights_in": "mlp.fc1",
    "mlp.weights_out": "mlp.fc2",
}
_CLIP = {
    "embeddings.class_embedding": "cls_token",
    "embeddings.position_embedding.weight": "pos_embed",
    "embeddings.patch_embedding": "patch_embed.proj",
    "pre_layrnorm": "norm_pre",  # spelt so there
    "post_layernorm": "norm",
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "self_attn.q_proj": "attn.q",
    "self_attn.k_proj": "attn.k",
    "self_attn.v_proj": "attn.v",
    "self_attn.out_proj": "attn.proj",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
    "head.probe": "attn_pool.latent",
    "head.attention.out_proj": "attn_pool.proj",
    "head.layernorm": "attn_pool.norm",
    "head.mlp.fc1": "attn_pool.mlp.fc1",
    "head.mlp.fc2": "attn_pool.mlp.fc2",
}
_NOT_BACKBONE = (
    "pooler.", "classifier.", "cls_classifier.", "distillation_classifier.", "decoder.",
    "embeddings.mask_token", "mask_token",
)  # fmt: skip
_NOT_CLIP = (
    "text_model.", "text_projection.", "visual_projection.", "logit_scale", "logit_bias",
    "embeddings.position_ids", "classifier.",
)  # fmt: skip
_DEFAULT_WIDTH, _DEFAULT_HEADS = 768, 12  # of all these families
_ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "quick_gelu": "quick_gelu",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_new": "gelu_tanh",
}


@dataclass(frozen=True)
class _Family:
    """A layout: its names, and what transformers builds where no configuration says otherwise."""

    name: str
    names: Mapping[str, str]
    blocks: str
    left_out: tuple[str, ...]
    layers: Layers
    activation: str = "gelu"  # where a configuration names none


# In both of these libraries' ViTs the constant beside the variance differs from timm's 1e-6.
_FAMILIES = {
    "layernorm_before": _Family(
        "Hugging Face ViT", _VIT, "encoder.layer.", _NOT_BACKBONE, Layers(epsilon=1e-12)
    ),
    "norm1": _Family("Hugging Face DINOv2", _DINOV2, "encoder.layer.", _NOT_BACKBONE, Layers()),
    "layer_norm1": _Family(
        "Hugging Face CLIP", _CLIP, "encoder.layers.", _NOT_CLIP,
        Layers(activation=None, epsilon=1e-5), "quick_gelu",
    ),
}  # fmt: skip
_SIGLIP = replace(
    _FAMILIES["layer_norm1"],
    name="Hugging Face SigLIP",
    layers=Layers(activation="gelu_tanh"),
    activation="gelu_pytorch_tanh",
)


def read(model: Model, path: Path) -> WeightFile:
    """Return a network of transformers under timm's names; queries, keys and values joined."""
    family = _family(model)
    if family is None:
        raise BackboneError(
            f"{path}: its names are Hugging Face's, but its blocks are none of a ViT, DINOv2, CLIP "
            "or SigLIP"
        )
    kept, left_out = model.without(family.left_out, family.left_out, path)
    tensors = _joined(renamed(kept, family.names, family.blocks), path)
    if "register_tokens" in tensors:
        tensors = with_registers(tensors, path)
    layers = family.layers
    if any(name.startswith("encoder.layer.0.mlp.weights_in") for name in kept):
        layers = replace(layers, activation="silu", gated=True)
    if family.names is _VIT and "cls_token" not in tensors:  # I-JEPA, whose files differ in it
        layers = replace(layers, epsilon=None)
    if "dist_token" in tensors:
        layers = replace(layers, distilled=True)
    if family.names is _CLIP:
        tensors = _clip(tensors)
    width = tensors["patch_embed.proj.weight"].shape[0]
    heads, layers, notes = _configured(family, layers, width, path)
    if any(name.startswith("decoder.") for name in left_out):
        notes += (f"of weights {path.name} the decoder is left out",)
    positions = "reg_token" not in tensors
    return WeightFile(tensors, left_out, heads, notes, family.name, layers, positions)


def _family(model: Model) -> _Family | None:
    names = model.tensors.keys()
    for first, family in _FAMILIES.items():
        if f"{family.blocks}0.{first}.weight" in names:
            siglip = family.names is _CLIP and "embeddings.class_embedding" not in names
            return _SIGLIP if siglip else family
    return None


def _joined(tensors: Tensors, path: Path) -> Tensors:
    """Return tensors with queries, keys and values in one layer, in this order."""
    found: Tensors = {}
    for name, value in tensors.items():
        block, layer, kind = name.partition(".attn.q.")
        if layer:
            parts = [value, *(tensors.get(f"{block}.attn.{part}.{kind}") for part in "kv")]
            there = [part for part in parts if part is not None]
            if len(there) < len(parts) or len({part.shape for part in there}) > 1:
                raise BackboneError(
                    f"{path}: {block} has a query {kind} without key and value of its shape"
                )
            found[f"{block}.attn.qkv.{kind}"] = torch.cat(there)
        elif ".attn.k." in name or ".attn.v." in name:
            if name.replace(".attn.k.", ".attn.q.").replace(".attn.v.", ".attn.q.") not in tensors:
                found[name] = value  # has no place in timm, and is named
        else:
            found[name] = value
    return found


def _clip(tensors: Tensors) -> Tensors:
    """Return tensors of CLIP and SigLIP with the axes of timm, the pooling's layers apart."""
    found = dict(tensors)
    if "cls_token" in found:
        found["cls_token"] = found["cls_token"].reshape(1, 1, -1)
    if found.get("pos_embed") is not None and found["pos_embed"].ndim == 2:
        found["pos_embed"] = found["pos_embed"][None]
    for kind in ("weight", "bias"):
        joined = found.pop(f"head.attention.in_proj_{kind}", None)
        if joined is not None:
            width = len(joined) // 3
            found[f"attn_pool.q.{kind}"] = joined[:width].contiguous()
            found[f"attn_pool.kv.{kind}"] = joined[width:].contiguous()
    return found


def _configured(
    family: _Family, layers: Layers, width: int, path: Path
) -> tuple[int | None, Layers, tuple[str, ...]]:
    """Return heads and layers as the configuration beside the file says, and a note of that.

    A configuration of another width is that of another file of the folder. What it does not name
    is as transformers has it by default.
    """
    file = path.parent / CONFIG
    try:
        content: Any = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None, layers, ()
    if not isinstance(content, dict) or "model_type" not in content:
        return None, layers, ()
    found = content.get("vision_config", content)
    if not isinstance(found, dict) or found.get("hidden_size", _DEFAULT_WIDTH) != width:
        return None, layers, ()
    heads = found.get("num_attention_heads", _DEFAULT_HEADS)
    given = found.get("hidden_act", family.activation)
    if given not in _ACTIVATIONS:
        raise BackboneError(f"{file}: hidden_act {given!r} is none of {', '.join(_ACTIVATIONS)}")
    if not layers.gated:
        layers = replace(layers, activation=_ACTIVATIONS[given])
    epsilon = found.get("layer_norm_eps", family.layers.epsilon)
    if not isinstance(heads, int) or not isinstance(epsilon, int | float):
        raise BackboneError(f"{file}: num_attention_heads and layer_norm_eps must be numbers")
    note = f"heads and layers of weights {path.name} are those that {CONFIG} beside them names"
    return heads, replace(layers, epsilon=float(epsilon)), (note,)
