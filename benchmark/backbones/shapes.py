"""Reads an architecture off tensors under timm's names; what they do not tell is asked for."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import timm
from torch import Tensor

from benchmark.backbones.catalogue import BackboneError, Layers, VitShape, pooling_in_words
from benchmark.backbones.formats.base import MOCO, WeightFile, listing
from benchmark.words import plural

PART_OF_EVERY_RUN = True  # see engine.provenance

_NEEDED = {
    "patch_embed.proj.weight": "[W, 3, P, P]",
    "pos_embed": "[1, N, W]",
    "blocks.0.mlp.fc1.weight": "[M, W]",
}
_BLOCK = re.compile(r"blocks\.(\d+)\.")
_MAX_DEPTH = 1000
# Heads of every published ViT with tokens this wide and MLPs that wide.
_HEADS = {
    (192, 768): 3,
    (768, 3072): 12,
    (1024, 4096): 16,
    (1152, 4304): 16,
    (1280, 5120): 16,
    (1408, 6144): 16,
    (1664, 8192): 16,
    (1536, 8192): 24,  # DINOv2's giant, whose gated MLP has twice 4096
}
_SMALL = (384, 1536)  # 6 heads in DeiT and DINO, 12 in MoCo v3, which has patches of 16 pixels
_TANH = ("Google's ViT", "big_vision")
_SIZES = {
    192: "tiny", 384: "small", 768: "base", 1024: "large", 1152: "so400m", 1280: "huge",
    1408: "giant", 1536: "giant", 1664: "gigantic",
}  # fmt: skip


def check_vit(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise `BackboneError` for tensors that are no timm ViT of square patches."""
    if missing := [name for name in _NEEDED if name not in tensors]:
        held = listing(sorted(tensors))
        raise BackboneError(f"{path}: not a timm ViT: lacks {', '.join(missing)}; it holds {held}")
    for name, form in _NEEDED.items():
        if tensors[name].ndim != form.count(",") + 1 or 0 in tensors[name].shape:
            size = list(tensors[name].shape)
            raise BackboneError(f"{path}: not a timm ViT: {name} has shape {size}, not {form}")
    width, channels, patch, other = tensors["patch_embed.proj.weight"].shape
    if channels != 3 or patch != other:
        size = [width, channels, patch, other]
        raise BackboneError(
            f"{path}: patch_embed.proj.weight has shape {size}, not [W, 3, P, P]: only square "
            "patches of colour images are supported"
        )


def _positions(weights: WeightFile, prefix: int, path: Path) -> tuple[int, bool]:
    """Return the side of the square grid of patches, and whether only patches have positions.

    Where the layout does not say which, a square number of positions does; `BackboneError` where
    it may be either.
    """
    tensors = weights.tensors
    positions = tensors["pos_embed"].shape[1]
    side = math.isqrt(positions)
    scaled = "blocks.0.ls1.gamma" in tensors  # as in every published one without such positions
    if prefix and side**2 == positions and weights.class_position is not True:
        others = math.isqrt(max(positions - prefix, 0)) ** 2
        also = others == positions - prefix > 0
        registers = "reg_token" in tensors
        if weights.class_position is None and (also or not (registers or scaled)):
            with_prefix = f"{side - 1} x {side + 1}" if prefix == 1 else f"{positions - prefix}"
            raise BackboneError(
                f"{path}: pos_embed of {positions} tokens may be that of {side} x {side} patches "
                f"or of {with_prefix} and {prefix} more tokens: nothing tells which"
            )
        return side, True
    rest = positions - (0 if weights.class_position is False else prefix)
    side = math.isqrt(max(rest, 0))
    if side == 0 or side * side != rest:
        raise BackboneError(
            f"{path}: pos_embed of {positions} tokens does not cover a square image"
        )
    return side, False


def known_heads(weights: WeightFile) -> int | None:
    """Return the heads of a block where the file, its layout or its shapes fix their number."""
    tensors = weights.tensors
    if weights.heads or not all(name in tensors for name in _NEEDED):
        return weights.heads
    width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    norm = tensors.get("blocks.0.attn.q_norm.weight")
    if norm is not None and norm.numel() and width % norm.numel() == 0:
        return width // norm.numel()  # it has the channels of one head
    sizes = (width, tensors["blocks.0.mlp.fc1.weight"].shape[0])
    if sizes != _SMALL:
        return _HEADS.get(sizes)
    if weights.family == MOCO:
        return 12
    others = ("blocks.0.ls1.gamma", "reg_token", "dist_token")  # that MoCo v3 does not have
    other = weights.family in ("DINO", "DINOv2") or any(name in tensors for name in others)
    return 6 if other or patch != 16 else None


def infer_shape(weights: WeightFile, heads: int | None, path: Path) -> VitShape:
    """Read the architecture off tensors under timm's names.

    Args:
        weights: What a file holds.
        heads: Attention heads where they are known; else their number is not checked, and is 1.
        path: Named in messages.
    """
    tensors = weights.tensors
    check_vit(tensors, path)
    width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    class_token = "cls_token" in tensors
    registers = tensors["reg_token"].shape[1] if "reg_token" in tensors else 0
    prefix = int(class_token) + registers + int("dist_token" in tensors)
    side, no_embed_class = _positions(weights, prefix, path)
    if heads is not None and (heads < 1 or width % heads):
        raise BackboneError(f"{path}: width {width} cannot be split into {heads} heads")
    depth = 1 + max(int(block[1]) for name in tensors if (block := _BLOCK.match(name)))
    if depth > _MAX_DEPTH:
        raise BackboneError(f"{path}: not a timm ViT: it names a block {depth - 1}")
    pool: Literal["token", "avg", "map"]
    pool = "avg" if "fc_norm.weight" in tensors or not class_token else "token"
    if any(name.startswith("attn_pool.") for name in tensors):
        pool = "map"
    return VitShape(
        img_size=side * patch,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=heads or 1,
        mlp_ratio=_ratio(tensors["blocks.0.mlp.fc1.weight"].shape[0], width),
        qkv_bias="blocks.0.attn.qkv.bias" in tensors,
        qk_norm="blocks.0.attn.q_norm.weight" in tensors,
        init_values=1.0 if "blocks.0.ls1.gamma" in tensors else None,
        class_token=class_token,
        reg_tokens=registers,
        no_embed_class=no_embed_class,
        pre_norm="norm_pre.weight" in tensors,
        global_pool=pool,
        fc_norm=False if pool == "avg" and "norm.weight" in tensors else None,
    )


def _ratio(hidden: int, width: int) -> float:
    """Return the ratio from which timm computes just this many channels of the MLP."""
    ratio = hidden / width
    return ratio if int(width * ratio) == hidden else math.nextafter(ratio, math.inf)


def shape_and_layers(weights: WeightFile, named: int | None, path: Path) -> tuple[VitShape, Layers]:
    """Return shape and layers of a file's network.

    Args:
        weights: What the file holds.
        named: Attention heads where the user names them.
        path: Named in messages.

    Raises:
        BackboneError: It is no ViT, or neither its tensors nor its layout tell all of it.
    """
    check_vit(weights.tensors, path)
    if named is not None and weights.heads not in (None, named):
        raise BackboneError(f"{path} says that it has {weights.heads} heads a block, not {named}")
    heads = known_heads(weights) if named is None else named
    shape = infer_shape(weights, heads, path)
    layers = _layers(weights, shape, path)
    if heads is None:
        raise BackboneError(_ask_for_heads(shape, path))
    return shape, layers


def _layers(weights: WeightFile, shape: VitShape, path: Path) -> Layers:
    """Return the layers as layout and tensors tell them; `BackboneError` where they do not."""
    tensors, layers = weights.tensors, weights.layers
    hidden = tensors["blocks.0.mlp.fc1.weight"].shape[0]
    second = tensors.get("blocks.0.mlp.fc2.weight")
    halved = second is not None and second.ndim == 2 and 2 * second.shape[1] == hidden
    scaled = shape.init_values is not None
    if layers is not None and layers.activation is not None and layers.gated == halved:
        if layers.epsilon is None:
            names = _candidates(shape, "gap_")
            what = "the epsilon of its norms (config.json beside the file does):"
            raise BackboneError(_ask(path, what, names))
        return layers
    if halved:
        if layers is None and (shape.embed_dim, scaled) == (1536, True):
            return Layers(activation="silu", gated=True)
        raise BackboneError(_ask(path, "which activation its gated MLPs compute:"))
    if shape.pre_norm:
        names = _candidates(shape, "clip_quickgelu_", "clip_")
        raise BackboneError(_ask(path, "whether its MLPs compute QuickGELU or GELU (CLIP):", names))
    if shape.global_pool == "map":
        names = _candidates(shape, "siglip_")
        raise BackboneError(_ask(path, "which GELU its MLPs compute (SigLIP):", names))
    if not (shape.class_token or scaled) and shape.fc_norm is False:
        names = _candidates(shape, "gap_", "siglip_gap_")
        raise BackboneError(_ask(path, "which GELU its MLPs compute (no class token):", names))
    if not (shape.class_token or scaled or shape.qkv_bias):
        names = _candidates(shape, "rpn_")
        raise BackboneError(_ask(path, "whether norms come before or after its layers:", names))
    if layers is not None:
        raise BackboneError(_ask(path, "which activation its MLPs compute:"))
    return Layers()


def _ask_for_heads(shape: VitShape, path: Path) -> str:
    width = shape.embed_dim
    if (width, round(width * shape.mlp_ratio)) == _SMALL:
        why = "6 in DeiT, DINO and timm's ViT-S, 12 in MoCo v3's"
    else:
        guess = f"; with 64 channels each they are {width // 64}" if width % 64 == 0 else ""
        why = f"no published ViT fixes it for {width} channels{guess}"
    what = f"the number of attention heads ({why}): name it, file:{path}:heads=N, or"
    return _ask(path, what, _candidates(shape, ""))


def _candidates(shape: VitShape, *kinds: str) -> list[str]:
    """Return timm's names for an architecture of this shape, as far as it has some."""
    size = _SIZES.get(shape.embed_dim, "")
    names = [
        f"vit_{size}_patch{shape.patch_size}_{kind}{image}"
        for kind in kinds
        for image in dict.fromkeys((shape.img_size, 224, 256, 240))
    ]
    return [name for name in names if timm.is_model(name)]


def _ask(path: Path, what: str, names: Sequence[str] = ()) -> str:
    """Return the message on what a file does not tell, with what to do."""
    first, *others = names or ["NAME"]
    given = shlex.quote(f"backbone.file={path}")
    also = f" (or {', '.join(others)})" if others else ""
    return (
        f"{path}: its tensors do not tell {what} name the architecture: --backbone timm:{first} "
        f"--set {given}{also}"
    )


def assumed(weights: WeightFile, named: int | None, path: Path) -> str:
    """Return how a file is read, in words: what its tensors do not say, or say only together."""
    shape, layers = shape_and_layers(weights, named, path)
    side = shape.img_size // shape.patch_size
    heads = f"{plural(shape.num_heads, 'head')} a block"
    if not (named or weights.heads):
        heads += f" (as in every published ViT of width {shape.embed_dim})"
    grid = f"a square grid of {side} x {side} patches"
    if shape.no_embed_class:
        grid += " with no positions for its other tokens"
    features = f"features of {pooling_in_words(shape.global_pool, layers.distilled)}"
    parts = [weights.family, heads, grid, features]
    if layers.activation != "gelu":
        parts.append(f"activation {layers.activation}")
    if weights.family in _TANH:
        parts.append("GELU as in timm (the release computes its tanh approximation)")
    if layers.epsilon != Layers().epsilon:
        parts.append(f"epsilon {layers.epsilon:g} in its norms")
    return f"weights {path.name} are read as {', '.join(filter(None, parts))}"
