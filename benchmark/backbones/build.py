"""Builds the timm model of a catalogue entry and fills in its weights strictly."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, cast

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.backbones.catalogue import BackboneSpec, VitShape
from benchmark.backbones.hashing import BackboneError, hash_tensors, read_safetensors
from benchmark.backbones.tensors import as_float32, plain_names

# What torch.load raises on a damaged, foreign or unsafe file.
UNREADABLE = (RuntimeError, OSError, ValueError, EOFError, KeyError, UnpicklingError)
MAX_NAMED = 8  # tensors named in one message


def build(
    spec: BackboneSpec, image_size: int | None
) -> tuple[VisionTransformer, BackboneSpec, str]:
    """Gives the model (float32, eval mode, no head), the completed entry, the weights' hash."""
    if spec.weight_file is None:
        model, spec = _from_timm(spec, pretrained=spec.source == "timm")
    else:
        path = spec.weight_file
        tensors, heads = read_tensors(path)
        if spec.timm_name is not None:
            model, spec = _from_timm(spec, pretrained=False)
        else:
            shape = spec.shape or infer_shape(tensors, spec.heads or heads, path)
            model = VisionTransformer(**asdict(shape), num_classes=0)
            spec = replace(
                spec, shape=shape, input_size=shape.img_size, patch_size=shape.patch_size
            )
        _fill(model, tensors, path)
    weight_hash = hash_tensors({key: value.numpy() for key, value in model.state_dict().items()})
    if image_size is not None and image_size != spec.input_size:
        if image_size % (spec.patch_size or 1):
            raise BackboneError(
                f"{spec.name}: image size {image_size} is no multiple of its patch size "
                f"{spec.patch_size}"
            )
        model.set_input_size(img_size=(image_size, image_size))
        spec = replace(spec, input_size=image_size)
    return model.eval(), spec, weight_hash


def read_tensors(path: Path) -> tuple[dict[str, Tensor], int | None]:
    """Gives a file's tensors, float32 under timm's names, and the number of heads if it says so."""
    if path.suffix == ".safetensors":
        arrays, metadata = read_safetensors(path)
        tensors = {
            name: torch.from_numpy(array.copy())
            for name, array in as_float32(plain_names(arrays)).items()
        }
        heads = metadata.get("num_heads", "")
        return tensors, int(heads) if heads.isdigit() else None
    if not path.is_file():
        raise BackboneError(f"weight file {path} does not exist")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise BackboneError(f"weight file {path} cannot be read: {error}") from error
    return _state_dict(content, path), None


def _state_dict(content: object, path: Path) -> dict[str, Tensor]:
    """Gives the tensors of a loaded checkpoint, wherever its author put them."""
    for key in ("state_dict", "teacher", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        raise BackboneError(f"weight file {path} holds no state dict")
    tensors = {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
    return {
        name: value.float() if value.is_floating_point() else value
        for name, value in plain_names(tensors).items()
    }


def infer_shape(tensors: Mapping[str, Tensor], heads: int | None, path: Path) -> VitShape:
    """Gives the architecture that tensors under timm's names belong to.

    The number of heads cannot be read off the shapes: 64 channels a head unless it is given.
    """
    needed = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")
    if missing := [name for name in needed if name not in tensors]:
        raise BackboneError(f"{path}: no timm ViT, lacks {', '.join(missing)}")
    width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    class_token = "cls_token" in tensors
    registers = tensors["reg_token"].shape[1] if "reg_token" in tensors else 0
    positions = tensors["pos_embed"].shape[1]
    prefix = int(class_token) + registers
    # Positions either cover the prefix tokens or the patches alone; a square tells which.
    no_embed_class = bool(prefix) and math.isqrt(positions) ** 2 == positions
    patches = positions if no_embed_class else positions - prefix
    side = math.isqrt(max(patches, 0))
    if side == 0 or side * side != patches:
        raise BackboneError(f"{path}: pos_embed of {positions} tokens covers no square image")
    heads = heads or max(1, width // 64)
    if width % heads:
        raise BackboneError(f"{path}: width {width} cannot be split into {heads} heads")
    depth = 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("blocks."))
    return VitShape(
        img_size=side * patch,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=tensors["blocks.0.mlp.fc1.weight"].shape[0] / width,
        qkv_bias="blocks.0.attn.qkv.bias" in tensors,
        qk_norm="blocks.0.attn.q_norm.weight" in tensors,
        init_values=1.0 if "blocks.0.ls1.gamma" in tensors else None,
        class_token=class_token,
        reg_tokens=registers,
        no_embed_class=no_embed_class,
        pre_norm="norm_pre.weight" in tensors,
        global_pool="avg" if "fc_norm.weight" in tensors or not class_token else "token",
    )


def _from_timm(spec: BackboneSpec, pretrained: bool) -> tuple[VisionTransformer, BackboneSpec]:
    """Gives a timm model by name, its weights fetched or random, and the completed entry."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        try:
            model = timm.create_model(str(spec.timm_name), pretrained=pretrained, num_classes=0)
        except (RuntimeError, OSError, ValueError) as error:
            raise BackboneError(
                f"{spec.name}: timm cannot give {spec.timm_name} ({error}); offline, name a "
                "local weight file"
            ) from error
    if not isinstance(model, VisionTransformer):
        raise BackboneError(f"{spec.name}: {spec.timm_name} is no VisionTransformer")
    config = cast(dict[str, Any], model.pretrained_cfg)
    return model, replace(
        spec,
        mean=spec.mean or config.get("mean"),
        std=spec.std or config.get("std"),
        input_size=model.patch_embed.img_size[0],
        patch_size=model.patch_embed.patch_size[0],
    )


def _fill(model: VisionTransformer, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Loads all tensors into the model, naming every one that is missing, left over or misfit."""
    expected = model.state_dict()
    faults = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "of wrong shape": [
            f"{name} (expected {list(expected[name].shape)}, found {list(tensors[name].shape)})"
            for name in sorted(expected.keys() & tensors.keys())
            if expected[name].shape != tensors[name].shape
        ],
    }
    if any(faults.values()):
        parts = [f"{fault}: {_listing(names)}" for fault, names in faults.items() if names]
        raise BackboneError(f"{path} does not fit the architecture; {'; '.join(parts)}")
    model.load_state_dict(dict(tensors))


def _listing(names: list[str]) -> str:
    """Gives the first names and how many more there are."""
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
