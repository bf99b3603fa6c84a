"""The architecture that tensors under timm's names belong to, read off their shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from benchmark.backbones.catalogue import VitShape
from benchmark.backbones.hashing import BackboneError
from benchmark.backbones.tensors import listing

_NEEDED = ("patch_embed.proj.weight", "pos_embed", "blocks.0.mlp.fc1.weight")
_BLOCK = re.compile(r"blocks\.(\d+)\.")
_MAX_DEPTH = 1000


def infer_shape(tensors: Mapping[str, Tensor], heads: int | None, path: Path) -> VitShape:
    """Gives the architecture that tensors under timm's names belong to.

    The number of heads cannot be read off the shapes: 64 channels a head unless it is given.
    """
    if missing := [name for name in _NEEDED if name not in tensors]:
        raise BackboneError(
            f"{path}: no timm ViT, lacks {', '.join(missing)}; it holds {listing(sorted(tensors))}"
        )
    for name, form in zip(_NEEDED, ("[W, 3, P, P]", "[1, N, W]", "[M, W]"), strict=True):
        if tensors[name].ndim != form.count(",") + 1 or 0 in tensors[name].shape:
            size = list(tensors[name].shape)
            raise BackboneError(f"{path}: no timm ViT, {name} has shape {size}, not {form}")
    width, channels, patch, other = tensors["patch_embed.proj.weight"].shape
    if channels != 3 or patch != other:
        size = [width, channels, patch, other]
        raise BackboneError(
            f"{path}: patch_embed.proj.weight has shape {size}, not [W, 3, P, P]: only square "
            "patches of colour images are supported"
        )
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
    depth = 1 + max(int(found[1]) for name in tensors if (found := _BLOCK.match(name)))
    if depth > _MAX_DEPTH:
        raise BackboneError(f"{path}: no timm ViT, it names a block {depth - 1}")
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


def describe(shape: VitShape) -> str:
    """What people call an architecture by."""
    return (
        f"a ViT of {shape.img_size} px, patch {shape.patch_size}, width {shape.embed_dim}, "
        f"{shape.depth} blocks"
    )


def misfit(
    expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], path: Path, wanted: str
) -> BackboneError | None:
    """The error for tensors that are not exactly the expected ones, naming each; None if they are.

    wanted: what the tensors should fit, in words.
    """
    shared = sorted(expected.keys() & tensors.keys())
    faults = {
        "missing": sorted(expected.keys() - tensors.keys()),
        "unexpected": sorted(tensors.keys() - expected.keys()),
        "of wrong shape": [
            f"{name} (expected {list(expected[name].shape)}, found {list(tensors[name].shape)})"
            for name in shared
            if expected[name].shape != tensors[name].shape
        ],
        "of wrong type": [
            f"{name} ({tensors[name].dtype})"
            for name in shared
            if expected[name].is_floating_point() != tensors[name].is_floating_point()
        ],
    }
    if not any(faults.values()):
        return None
    try:
        found = f"; it is {describe(infer_shape(tensors, None, path))}"
    except BackboneError:
        found = ""
    parts = [f"{fault}: {listing(names)}" for fault, names in faults.items() if names]
    return BackboneError(f"{path} does not fit {wanted}{found}; {'; '.join(parts)}")
