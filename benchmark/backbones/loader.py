"""Loads backbones by name and gives the hash of their weights (imports torch only to load)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.backbones.catalogue import BackboneSpec, find
from benchmark.backbones.hashing import BackboneError, hash_tensors, read_safetensors
from benchmark.backbones.tensors import as_float32, plain_names

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

__all__ = ["Backbone", "BackboneError", "load_backbone", "weight_hash_of"]


@dataclass(frozen=True)
class Backbone:
    """A timm ViT without a head (float32, CPU, eval mode), its entry and its weights' hash."""

    model: VisionTransformer
    spec: BackboneSpec
    weight_hash: str


def load_backbone(
    name: str, *, file: Path | None = None, image_size: int | None = None
) -> Backbone:
    """Gives the backbone `name`, with the weights of `file` if given, for images of a size.

    Positions are interpolated when `image_size` differs from the size of the pre-training. The
    hash is that of the tensors before interpolation, so it names the weights, not their use.
    """
    from benchmark.backbones.build import build

    model, spec, weight_hash = build(_with_file(find(name), file), image_size)
    _check_hash(spec, weight_hash)
    return Backbone(model, spec, weight_hash)


def weight_hash_of(name: str, *, file: Path | None = None) -> str:
    """Gives the hash `load_backbone` would give; without torch for safetensors files."""
    spec = _with_file(find(name), file)
    if spec.weight_file is None or spec.weight_file.suffix != ".safetensors":
        return load_backbone(name, file=file).weight_hash
    tensors, _ = read_safetensors(spec.weight_file)
    weight_hash = hash_tensors(as_float32(plain_names(tensors)))
    _check_hash(spec, weight_hash)
    return weight_hash


def _with_file(spec: BackboneSpec, file: Path | None) -> BackboneSpec:
    """Gives the entry with another weight file, which no pinned hash can vouch for."""
    return spec if file is None else replace(spec, weight_file=file, sha256=None)


def _check_hash(spec: BackboneSpec, found: str) -> None:
    """Refuses weights other than the pinned ones."""
    if spec.sha256 is not None and spec.sha256 != found:
        raise BackboneError(
            f"weights of {spec.name} ({spec.weight_file}) are not the expected ones: "
            f"expected SHA-256 {spec.sha256}, found {found}"
        )
