"""Builds the timm model of a catalogue entry and fills in its weights strictly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import timm
import torch
from safetensors import SafetensorError
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.backbones.catalogue import BackboneSpec, VitShape
from benchmark.backbones.fetch import check_hub, check_network
from benchmark.backbones.hashing import BackboneError, hash_tensors
from benchmark.backbones.places import HUB_FILES, hub_file
from benchmark.backbones.reading import UNREADABLE, Contents, read_weights
from benchmark.backbones.shape import describe, infer_shape, misfit

PART_OF_EVERY_RUN = True  # see engine.provenance


@dataclass(frozen=True)
class Built:
    """A model (float32, eval mode, no head), its completed entry and its weights' hash.

    left_out: names in the weight file that are no part of the backbone.
    """

    model: VisionTransformer
    spec: BackboneSpec
    weight_hash: str
    left_out: tuple[str, ...] = ()


def build(spec: BackboneSpec, image_size: int | None) -> Built:
    """Gives the model of an entry, for images of a size (None: that of its pre-training)."""
    left_out: tuple[str, ...] = ()
    if spec.weight_file is None:
        model = _from_timm(spec)
    else:
        contents = read_weights(spec.weight_file)
        left_out = contents.left_out
        model, spec = _from_file(spec, spec.weight_file, contents)
    spec = _completed(spec, model)
    weight_hash = hash_tensors({key: value.numpy() for key, value in model.state_dict().items()})
    if image_size is not None and image_size != spec.input_size:
        if image_size % (spec.patch_size or 1):
            raise BackboneError(
                f"{spec.name}: image size {image_size} is no multiple of its patch size "
                f"{spec.patch_size}"
            )
        model.set_input_size(img_size=(image_size, image_size))
        spec = replace(spec, input_size=image_size)
    return Built(model.eval(), spec, weight_hash, left_out)


def _from_file(
    spec: BackboneSpec, path: Path, contents: Contents
) -> tuple[VisionTransformer, BackboneSpec]:
    """Gives the entry's model with a file's tensors, and the entry with its architecture."""
    if spec.shape is None and spec.timm_name is not None:
        model = _create(spec, pretrained=False, num_classes=0)
        _fill(model, contents.tensors, path, f"{spec.name} (timm's {spec.timm_name})")
        return model, spec
    shape = spec.shape
    if shape is None:
        shape = infer_shape(contents.tensors, spec.heads or contents.heads, path)
        wanted = f"the architecture {describe(shape)}"
    else:
        wanted = f"{spec.name} ({describe(shape)})"
        if contents.heads not in (None, shape.num_heads):
            raise BackboneError(
                f"{path} does not fit {wanted}: it has {contents.heads} heads a block, not "
                f"{shape.num_heads}"
            )
    return _filled(shape, contents.tensors, path, wanted), replace(spec, shape=shape)


def _filled(
    shape: VitShape, tensors: Mapping[str, Tensor], path: Path, wanted: str
) -> VisionTransformer:
    """Gives a model of a shape with these tensors; no random numbers are drawn for it first."""
    with torch.device("meta"):
        model = VisionTransformer(**asdict(shape), num_classes=0)
    if fault := misfit(model.state_dict(), tensors, path, wanted):
        raise fault
    model.to_empty(device="cpu")
    model.load_state_dict(dict(tensors))
    return model


def _fill(model: VisionTransformer, tensors: Mapping[str, Tensor], path: Path, wanted: str) -> None:
    """Loads all tensors into the model, naming every one that is missing, left over or misfit."""
    if fault := misfit(model.state_dict(), tensors, path, wanted):
        raise fault
    model.load_state_dict(dict(tensors))


def _from_timm(spec: BackboneSpec) -> VisionTransformer:
    """Gives an untrained architecture, or the weights of a tag as timm itself loads them.

    What an earlier download left in the hub's cache is used without asking the network. timm skips
    its check for missing tensors when it drops the classifier, so that is done afterwards.
    """
    if spec.source != "timm":
        return _create(spec, pretrained=False, num_classes=0)
    config = timm.get_pretrained_cfg(str(spec.timm_name))
    overlay: dict[str, Any] | None = None
    cached = cached_file(spec)
    if config is not None and cached is not None:
        # Of a format of its own only where the hub's file has a name of its own.
        custom = bool(config.hf_hub_filename and config.custom_load)
        overlay = {"file": str(cached), "custom_load": custom}
    elif config is not None:
        (check_hub if config.hf_hub_id else check_network)(spec)
    model = _create(spec, pretrained=True, pretrained_cfg_overlay=overlay)
    model.reset_classifier(0)
    return model


def cached_file(spec: BackboneSpec) -> Path | None:
    """The file of a timm tag in the hub's cache, for names without a tag that of timm's choice."""
    config = timm.get_pretrained_cfg(str(spec.timm_name))
    if config is None or not config.hf_hub_id:
        return None
    given = config.hf_hub_filename
    return hub_file(config.hf_hub_id, (given,) if given else HUB_FILES)


def _create(spec: BackboneSpec, **options: Any) -> VisionTransformer:
    """Gives a timm model by name; random weights follow the entry's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        try:
            model = timm.create_model(str(spec.timm_name), **options)
        except (*UNREADABLE, SafetensorError) as error:
            raise BackboneError(
                f"{spec.name}: timm cannot give {spec.timm_name} ({error}); name a local weight "
                "file with --set backbone.file=PATH"
            ) from error
    if not isinstance(model, VisionTransformer):
        raise BackboneError(f"{spec.name}: {spec.timm_name} is no VisionTransformer")
    return model


def _completed(spec: BackboneSpec, model: VisionTransformer) -> BackboneSpec:
    """Gives the entry with what only the model knows: input conventions and sizes."""
    config = cast(dict[str, Any], getattr(model, "pretrained_cfg", None) or {})
    return replace(
        spec,
        mean=spec.mean or config.get("mean"),
        std=spec.std or config.get("std"),
        input_size=model.patch_embed.img_size[0],
        patch_size=model.patch_embed.patch_size[0],
    )
