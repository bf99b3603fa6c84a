"""Loads backbones by name and gives the hash of their weights (imports torch only to load)."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.backbones.catalogue import BackboneSpec, find
from benchmark.backbones.fetch import check_network, fetch_original
from benchmark.backbones.hashing import BackboneError, hash_tensors, read_safetensors
from benchmark.backbones.memory import FileState, remember, remembered, state_of
from benchmark.backbones.places import MissingWeightsError, absence, located, with_file
from benchmark.backbones.tensors import as_float32, plain_names

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from benchmark.backbones.build import Built

PART_OF_EVERY_RUN = True  # see engine.provenance

__all__ = [
    "Backbone",
    "BackboneError",
    "MissingWeightsError",
    "load_backbone",
    "weight_hash_of",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Backbone:
    """A timm ViT without a head (float32, CPU, eval mode), its entry and its weights' hash.

    left_out: names in the weight file that are no part of a backbone, such as heads.
    """

    model: VisionTransformer
    spec: BackboneSpec
    weight_hash: str
    left_out: tuple[str, ...] = ()


def load_backbone(
    name: str, *, file: Path | None = None, image_size: int | None = None
) -> Backbone:
    """Gives the backbone `name`, with the weights of `file` if given, for images of a size.

    Weights that are not on this machine are fetched; `MissingWeightsError` where that fails.
    Positions are interpolated when `image_size` differs from the size of the pre-training. The
    hash is that of the tensors before interpolation, so it names the weights, not their use.
    """
    spec = _entry(name, file)
    state = _state(spec)
    built = _build(spec, image_size)
    _report_left_out(built, logging.INFO)
    if state is not None and remembered(state) != built.weight_hash:
        remember(state, built.weight_hash)
    return Backbone(built.model, built.spec, built.weight_hash, built.left_out)


def weight_hash_of(name: str, *, file: Path | None = None, fetch: bool = True) -> str:
    """Gives the hash `load_backbone` would give; without torch where it is embedded or known.

    A large file is read once: its hash is remembered as long as the file does not change. Without
    `fetch` weights that are not on this machine raise `MissingWeightsError`.
    """
    spec = _entry(name, file)
    state = _state(spec)
    if state is None and spec.source in ("timm", "url") and not fetch and not spec.weight_file:
        check_network(spec)
        raise absence(spec, "the first run that needs them fetches them")
    return _hash(spec, state)


@lru_cache(maxsize=64)  # a plan asks once for every run
def _hash(spec: BackboneSpec, state: FileState | None) -> str:
    """The hash of an entry's weights; `state` is that of the file they are in, if it is here."""
    if spec.source == "embedded" and spec.weight_file is not None and spec.sha256 is not None:
        tensors, _ = read_safetensors(spec.weight_file)
        found = hash_tensors(as_float32(plain_names(tensors, spec.weight_file)[0]))
        _check_hash(spec, found)
        return found
    known = None if state is None else remembered(state)
    if known is not None:
        _check_hash(spec, known)
        return known
    built = _build(spec, None)
    _report_left_out(built, logging.WARNING)
    state = state or _state(with_file(spec, None))  # it may have been fetched just now
    if state is not None:
        remember(state, built.weight_hash)
    return built.weight_hash


def _state(spec: BackboneSpec) -> FileState | None:
    """The state of the file an entry's weights are in, if they are in one that is here."""
    path = None if spec.source == "random" else located(spec) or _cached(spec)
    return None if path is None else state_of(path, spec)


def _cached(spec: BackboneSpec) -> Path | None:
    """The cached file of a timm name that only timm can lead to: imports torch."""
    if spec.source != "timm" or spec.weight_file is not None or spec.shape is not None:
        return None
    from benchmark.backbones.build import cached_file

    return cached_file(spec)


def _entry(name: str, file: Path | None) -> BackboneSpec:
    """The entry of a name with the file it is read from; what is fetched by us may be missing."""
    return with_file(find(name), file)


def _build(spec: BackboneSpec, image_size: int | None) -> Built:
    from benchmark.backbones.build import build

    if spec.source == "url" and spec.weight_file is None:
        spec = with_file(spec, fetch_original(spec))
    built = build(spec, image_size)
    _check_hash(built.spec, built.weight_hash)
    return built


def _report_left_out(built: Built, level: int) -> None:
    if built.left_out:
        names = ", ".join(built.left_out)
        text = "%s: %s: left out what is no part of the backbone: %s"
        _log.log(level, text, built.spec.name, built.spec.weight_file, names)


def _check_hash(spec: BackboneSpec, found: str) -> None:
    """Refuses weights other than the pinned ones."""
    if spec.sha256 is not None and spec.sha256 != found:
        raise BackboneError(
            f"weights of {spec.name} ({spec.weight_file}) are not the expected ones: "
            f"expected SHA-256 {spec.sha256}, found {found}"
        )
