"""Builds the timm model of a catalogue entry and fills in its weights strictly."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors import SafetensorError
from timm.models.vision_transformer import VisionTransformer

from benchmark.backbones.architecture import (
    check_class,
    check_square,
    heads_of,
    input_sizes,
    resize_input,
    shape_of_model,
)
from benchmark.backbones.catalogue import (
    BackboneError,
    BackboneSpec,
    Layers,
    VitShape,
    WeightFacts,
)
from benchmark.backbones.files import read_weights
from benchmark.backbones.formats.base import MOCO, UNREADABLE, WeightFile, listing
from benchmark.backbones.hashing import hash_tensors, with_heads
from benchmark.backbones.network import described, layers_of, new_vit
from benchmark.backbones.places import HUB_FILES, check_hub, check_network, hub_file
from benchmark.backbones.shapes import assumed, infer_shape, known_heads, shape_and_layers

PART_OF_EVERY_RUN = True  # see engine.provenance


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
        model, spec, said = _from_file(spec, spec.weight_file, weights)
        notes = (*weights.notes, *said)
    spec = _completed(spec, model)
    weight_hash = hash_tensors({key: value.numpy() for key, value in model.state_dict().items()})
    if spec.source == "file":
        weight_hash = with_heads(weight_hash, heads_of(model), layers_of(model))
    network = described(model, spec)
    facts = WeightFacts(weight_hash, model.embed_dim, len(model.blocks), notes, network)
    if image_size is not None:
        resize_input(model, image_size, spec.name)
        spec = replace(spec, input_size=image_size)
    else:
        check_square(model, spec.name)
    return Backbone(model.eval(), spec, facts, left_out)


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
) -> tuple[VisionTransformer, BackboneSpec, tuple[str, ...]]:
    """Return an entry's model with a file's tensors, the entry with its shape, and what to say."""
    if spec.shape is None and spec.timm_name is not None:
        wanted = f"{spec.name} (timm's {spec.timm_name})"
        model, said = _create_for(spec, weights, path)
        _check_fit(model, weights, path, wanted)
        _check_heads(heads_of(model), weights, path, wanted)
        said += _check_layers(spec, layers_of(model), weights, path)
        model.load_state_dict(weights.tensors)
        return model, spec, said
    shape, layers = spec.shape, Layers()
    if shape is None:
        shape, layers = shape_and_layers(weights, spec.heads, path)
        wanted = f"the architecture {_describe(shape)}"
        said = (assumed(weights, spec.heads, path),)
    else:
        wanted = f"{spec.name} ({_describe(shape)})"
        _check_heads(shape.num_heads, weights, path, wanted)
        said = _check_layers(spec, layers, weights, path)
    with torch.device("meta"):  # no random numbers are drawn for weights that are replaced
        model = new_vit(shape, layers)
    _check_fit(model, weights, path, wanted)
    model.to_empty(device="cpu")
    model.load_state_dict(weights.tensors)
    return model, replace(spec, shape=shape), said


def _create_for(
    spec: BackboneSpec, weights: WeightFile, path: Path
) -> tuple[VisionTransformer, tuple[str, ...]]:
    """Return timm's model under an entry's name, for images of the size that a file is for."""
    model = _create(spec, pretrained=False, num_classes=0)
    try:
        size = infer_shape(weights, None, path).img_size
    except BackboneError:  # what does not fit is said below
        return model, ()
    own = model.patch_embed.img_size[0]
    if size == own:
        return model, ()
    said = f"weights {path.name} are for images of {size} px, not the {own} px of {spec.name}"
    return _create(spec, pretrained=False, num_classes=0, img_size=size), (said,)


def _check_heads(heads: int, weights: WeightFile, path: Path, wanted: str) -> None:
    """Raise `BackboneError` where a file says, or its layout, that it has other heads."""
    known = known_heads(weights) if weights.heads or weights.family == MOCO else None
    if known not in (None, heads):
        raise BackboneError(
            f"{path} does not fit {wanted}: it has {known} heads a block, not {heads}"
        )


def _check_layers(
    spec: BackboneSpec, own: Layers, weights: WeightFile, path: Path
) -> tuple[str, ...]:
    """Return a note where a file's layout has another epsilon than the model it is read into.

    Raises:
        BackboneError: Its MLPs compute another activation.
    """
    theirs = weights.layers
    if theirs is None:
        return ()
    if theirs.activation is not None and own.activation not in (None, theirs.activation):
        raise BackboneError(
            f"{path} does not fit {spec.name}: its MLPs compute {theirs.activation}, not "
            f"{own.activation}"
        )
    if None in (own.epsilon, theirs.epsilon) or own.epsilon == theirs.epsilon:
        return ()
    return (
        f"weights {path.name}: norms have epsilon {own.epsilon:g} as in {spec.name}, "
        f"not {theirs.epsilon:g} as in {weights.family}",
    )


def _check_fit(model: VisionTransformer, weights: WeightFile, path: Path, wanted: str) -> None:
    """Raise `BackboneError` naming every tensor that is missing, left over or does not fit.

    timm's own loaders resample or skip such tensors.
    """
    expected, tensors = model.state_dict(), weights.tensors
    if any(name.startswith("attn_pool.") for name in tensors.keys() - expected.keys()):
        raise BackboneError(
            f"{path}: this model reads its features by attention pooling, unlike {wanted}"
        )
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
        content = f"; it is {_describe(infer_shape(weights, None, path))}"
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
    check_class(model, str(spec.timm_name))
    return cast(VisionTransformer, model)  # what methods use of it, the other classes have too


def shape_of_file(spec: BackboneSpec, path: Path) -> VitShape:
    """Return the architecture that a file's tensors have."""
    return shape_and_layers(read_weights(path), spec.heads, path)[0]


def shape_of_timm(spec: BackboneSpec) -> VitShape:
    """Return the sizes of the architecture that timm knows under an entry's name."""
    return shape_of_model(outline(spec))


def outline(spec: BackboneSpec) -> VisionTransformer:
    """Build the architecture of an entry without its weights: it takes no memory, fetches nothing.

    Raises:
        BackboneError: It is no backbone, or only weights that are not here could tell.
    """
    shape, layers = spec.shape, Layers()
    if shape is None and spec.timm_name is None and spec.weight_file is not None:
        path = spec.weight_file
        shape, layers = shape_and_layers(read_weights(path), spec.heads, path)
    with torch.device("meta"):
        if shape is not None:
            return new_vit(shape, layers)
        return _create(spec, pretrained=False, num_classes=0)


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
    sizes = input_sizes(model)
    return replace(
        spec,
        mean=spec.mean or config.get("mean"),
        std=spec.std or config.get("std"),
        input_size=sizes.image[0],
        patch_size=sizes.patch[0],
    )
