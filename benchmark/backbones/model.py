"""Builds the timm model of a catalogue entry and fills in its weights strictly."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors import SafetensorError
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.backbones.catalogue import BackboneError, BackboneSpec, VitShape, WeightFacts
from benchmark.backbones.files import UNREADABLE, WeightFile, listing, read_weights
from benchmark.backbones.hashing import hash_tensors, with_heads
from benchmark.backbones.places import HUB_FILES, check_hub, check_network, hub_file
from benchmark.words import plural

PART_OF_EVERY_RUN = True  # see engine.provenance

_NEEDED = {
    "patch_embed.proj.weight": "[W, 3, P, P]",
    "pos_embed": "[1, N, W]",
    "blocks.0.mlp.fc1.weight": "[M, W]",
}
_POOLED = (
    "reads its features by attention pooling, which no method here can adapt: take a ViT that "
    "reads its class token or the mean of its tokens"
)
_BLOCK = re.compile(r"blocks\.(\d+)\.")
_MAX_DEPTH = 1000


@dataclass(frozen=True)
class Backbone:
    """A timm ViT without a head (float32, CPU, eval mode), its entry and what is known of it.

    Attributes:
        left_out: Names in the weight file that are no part of a backbone, such as heads.
    """

    model: VisionTransformer
    spec: BackboneSpec
    facts: WeightFacts
    left_out: tuple[str, ...] = ()

    @property
    def weight_hash(self) -> str:
        """The hash that stands for the weights."""
        return self.facts.weight_hash


def build(spec: BackboneSpec, image_size: int | None) -> Backbone:
    """Build an entry's model for images of a size (None: that of its pre-training)."""
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if spec.weight_file is None:
        model = _from_timm(spec)
    else:
        weights = read_weights(spec.weight_file)
        left_out = weights.left_out
        notes = (*weights.notes, *_assumptions(spec, weights))
        model, spec = _from_file(spec, spec.weight_file, weights)
    spec = _completed(spec, model)
    weight_hash = hash_tensors({key: value.numpy() for key, value in model.state_dict().items()})
    if spec.source == "file":
        weight_hash = with_heads(weight_hash, _heads(model))
    facts = WeightFacts(weight_hash, model.embed_dim, len(model.blocks), notes)
    if image_size is not None and image_size != spec.input_size:
        if image_size % (spec.patch_size or 1):
            raise BackboneError(
                f"{spec.name}: image size {image_size} is not a multiple of its patch size "
                f"{spec.patch_size}"
            )
        model.set_input_size(img_size=(image_size, image_size))
        spec = replace(spec, input_size=image_size)
    return Backbone(model.eval(), spec, facts, left_out)


def _check_vit(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Raise `BackboneError` for tensors that are no timm ViT of square patches."""
    if any(name.startswith("attn_pool.") for name in tensors):
        raise BackboneError(f"{path}: this model {_POOLED}")
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


def _positions(
    tensors: Mapping[str, Tensor], class_token: int, registers: int, path: Path
) -> tuple[int, bool]:
    """Return the side of the square grid of patches, and whether only patches have positions.

    A square number of positions tells which. `BackboneError` where it may be either.
    """
    positions, prefix = tensors["pos_embed"].shape[1], class_token + registers
    side = math.isqrt(positions)
    scaled = "blocks.0.ls1.gamma" in tensors  # as in every published one without such positions
    if prefix and side**2 == positions:
        others = math.isqrt(max(positions - prefix, 0)) ** 2
        if others == positions - prefix > 0 or not (registers or scaled):
            with_prefix = f"{side - 1} x {side + 1}" if prefix == 1 else f"{positions - prefix}"
            raise BackboneError(
                f"{path}: pos_embed of {positions} tokens may be that of {side} x {side} patches "
                f"or of {with_prefix} and {prefix} more tokens: nothing tells which"
            )
        return side, True
    side = math.isqrt(max(positions - prefix, 0))
    if side == 0 or side * side != positions - prefix:
        raise BackboneError(
            f"{path}: pos_embed of {positions} tokens does not cover a square image"
        )
    return side, False


def infer_shape(tensors: Mapping[str, Tensor], heads: int | None, path: Path) -> VitShape:
    """Read the architecture off tensors under timm's names.

    The number of heads cannot be read off the shapes: 64 channels a head unless it is given.
    """
    _check_vit(tensors, path)
    width, _, patch, _ = tensors["patch_embed.proj.weight"].shape
    class_token = "cls_token" in tensors
    registers = tensors["reg_token"].shape[1] if "reg_token" in tensors else 0
    side, no_embed_class = _positions(tensors, int(class_token), registers, path)
    heads = heads or max(1, width // 64)
    if width % heads:
        raise BackboneError(f"{path}: width {width} cannot be split into {heads} heads")
    depth = 1 + max(int(block[1]) for name in tensors if (block := _BLOCK.match(name)))
    if depth > _MAX_DEPTH:
        raise BackboneError(f"{path}: not a timm ViT: it names a block {depth - 1}")
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


def _assumptions(spec: BackboneSpec, weights: WeightFile) -> tuple[str, ...]:
    """Return what no tensor of a file says of its architecture, in words; all others are known."""
    if spec.shape is not None or spec.timm_name is not None or spec.weight_file is None:
        return ()
    named = spec.heads or weights.heads
    shape = infer_shape(weights.tensors, named, spec.weight_file)
    side = shape.img_size // shape.patch_size
    heads = f"{plural(shape.num_heads, 'head')} a block"
    if not named:
        heads += f" (a guess, width {shape.embed_dim} / 64: file:PATH:heads=N names the number)"
    grid = f"a square grid of {side} x {side} patches"
    if shape.no_embed_class:
        grid += " with no positions for its other tokens"
    pooled = "the class token" if shape.global_pool == "token" else "the mean of the patches"
    return (f"weights {spec.weight_file.name} are read as {heads}, {grid}, features of {pooled}",)


def cached_file(spec: BackboneSpec) -> Path | None:
    """Return the file of a timm tag in the hub's cache; without a tag timm's choice counts."""
    check_timm_name(spec)
    config = timm.get_pretrained_cfg(str(spec.timm_name))
    if config is None or not config.hf_hub_id:
        return None
    given = config.hf_hub_filename
    return hub_file(config.hf_hub_id, (given,) if given else HUB_FILES)


def _from_file(
    spec: BackboneSpec, path: Path, weights: WeightFile
) -> tuple[VisionTransformer, BackboneSpec]:
    """Build the entry's model with a file's tensors; return it and the entry with its shape."""
    if spec.shape is None and spec.timm_name is not None:
        model = _create(spec, pretrained=False, num_classes=0)
        _check_fit(model, weights.tensors, path, f"{spec.name} (timm's {spec.timm_name})")
        model.load_state_dict(weights.tensors)
        return model, spec
    shape = spec.shape
    if shape is None:
        shape = infer_shape(weights.tensors, spec.heads or weights.heads, path)
        wanted = f"the architecture {_describe(shape)}"
    else:
        wanted = f"{spec.name} ({_describe(shape)})"
        if weights.heads not in (None, shape.num_heads):
            raise BackboneError(
                f"{path} does not fit {wanted}: it has {weights.heads} heads a block, not "
                f"{shape.num_heads}"
            )
    with torch.device("meta"):  # no random numbers are drawn for weights that are replaced
        model = VisionTransformer(**asdict(shape), num_classes=0)
    _check_fit(model, weights.tensors, path, wanted)
    model.to_empty(device="cpu")
    model.load_state_dict(weights.tensors)
    return model, replace(spec, shape=shape)


def _check_fit(
    model: VisionTransformer, tensors: Mapping[str, Tensor], path: Path, wanted: str
) -> None:
    """Raise `BackboneError` naming every tensor that is missing, left over or does not fit.

    timm's own loaders resample or skip such tensors.
    """
    expected = model.state_dict()
    if any(name.startswith("attn_pool.") for name in tensors):
        raise BackboneError(f"{path}: this model {_POOLED}")
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
        return
    try:
        content = f"; it is {_describe(infer_shape(tensors, None, path))}"
    except BackboneError:
        content = ""
    parts = [f"{fault}: {listing(names)}" for fault, names in faults.items() if names]
    raise BackboneError(f"{path} does not fit {wanted}{content}; {'; '.join(parts)}")


def _describe(shape: VitShape) -> str:
    return (
        f"a ViT of {shape.img_size} px, patch {shape.patch_size}, width {shape.embed_dim}, "
        f"{shape.depth} blocks"
    )


def _from_timm(spec: BackboneSpec) -> VisionTransformer:
    """Build an untrained architecture, or the weights of a tag as timm itself loads them.

    What an earlier download left in the hub's cache is used without asking the network.
    """
    if spec.source != "timm":
        return _create(spec, pretrained=False, num_classes=0)
    config = timm.get_pretrained_cfg(str(spec.timm_name))
    overlay: dict[str, Any] | None = None
    cached = cached_file(spec)
    if config is not None and cached is not None:
        # A file of the hub has a special format only where it has a special name.
        custom = bool(config.hf_hub_filename and config.custom_load)
        overlay = {"file": str(cached), "custom_load": custom}
    elif config is not None:
        (check_hub if config.hf_hub_id else check_network)(spec)
    model = _create(spec, pretrained=True, pretrained_cfg_overlay=overlay)
    # Afterwards: timm skips its check for missing tensors when it drops the classifier itself.
    model.reset_classifier(0)
    return model


def _create(spec: BackboneSpec, **options: Any) -> VisionTransformer:
    """Create a timm model by name; random weights follow the entry's seed."""
    check_timm_name(spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        try:
            model = timm.create_model(str(spec.timm_name), **options)
        except (*UNREADABLE, SafetensorError) as error:
            raise BackboneError(
                f"{spec.name}: timm cannot load {spec.timm_name} ({error}); name a local weight "
                "file with --set backbone.file=PATH"
            ) from error
    if not isinstance(model, VisionTransformer):
        raise BackboneError(f"{spec.name}: {spec.timm_name} is not a VisionTransformer")
    pool: object = model.global_pool  # timm's own list of them is incomplete
    if pool not in ("token", "avg"):
        raise BackboneError(f"{spec.name}: {spec.timm_name} {_POOLED}")
    return model


def shape_of_file(spec: BackboneSpec, path: Path) -> VitShape:
    """Return the architecture that a file's tensors have."""
    found = read_weights(path)
    return infer_shape(found.tensors, spec.heads or found.heads, path)


def shape_of_timm(spec: BackboneSpec) -> VitShape:
    """Return the architecture that timm knows under an entry's name, fetching nothing."""
    with torch.device("meta"):  # takes no memory
        model = _create(spec, pretrained=False, num_classes=0)
    return infer_shape(model.state_dict(), _heads(model), Path(spec.name))


def _heads(model: VisionTransformer) -> int:
    block: Any = model.blocks[0]
    return int(block.attn.num_heads)


def check_timm_name(spec: BackboneSpec) -> None:
    """Raise `BackboneError` for a name or a tag that timm does not have."""
    name = str(spec.timm_name)
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(architecture, timm.list_models("*vit*"), n=1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise BackboneError(f"{spec.name}: timm has no model {architecture}{hint}")
    tags = [one.partition(".")[2] for one in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        known = ", ".join(sorted(filter(None, tags))) or "none"
        raise BackboneError(f"{spec.name}: {architecture} has no tag {tag!r}, but {known}")


def _completed(spec: BackboneSpec, model: VisionTransformer) -> BackboneSpec:
    """Return the entry with what only the model knows: input conventions and sizes."""
    config = cast(dict[str, Any], getattr(model, "pretrained_cfg", None) or {})
    return replace(
        spec,
        mean=spec.mean or config.get("mean"),
        std=spec.std or config.get("std"),
        input_size=model.patch_embed.img_size[0],
        patch_size=model.patch_embed.patch_size[0],
    )
