"""Loads backbones by name and hashes their weights; imports torch only to load."""

from __future__ import annotations

import logging
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError

from benchmark.backbones.catalogue import (
    BackboneError,
    BackboneSpec,
    Layers,
    Network,
    VitShape,
    WeightFacts,
    find,
    pooling_in_words,
)
from benchmark.backbones.hashing import (
    hash_tensors,
    note_of,
    read_safetensors,
    remember,
    remembered,
)
from benchmark.backbones.places import (
    absence,
    check_network,
    fetch_original,
    located,
    state_of,
    with_file,
)

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

    from benchmark.backbones.model import Backbone

PART_OF_EVERY_RUN = True  # see engine.provenance

_log = logging.getLogger(__name__)


def load_backbone(
    name: str, *, file: Path | None = None, image_size: int | None = None
) -> Backbone:
    """Load a backbone by name, fetching weights that are not on this machine.

    The weight hash is that of the tensors before positions are interpolated: it names the weights,
    not their use.

    Args:
        name: A name of the catalogue, `timm:TAG`, `file:PATH[:heads=N]` or `random:ARCH[:SEED]`.
        file: A weight file to read instead of the entry's own.
        image_size: Positions are interpolated to it; None keeps the size of the pre-training.

    Raises:
        MissingWeightsError: The weights are not here and cannot be fetched.
        BackboneError: They cannot be read, do not fit, or are not the pinned ones.
    """
    return _build(with_file(find(name), file), image_size, logging.INFO)


def weight_facts(name: str, *, file: Path | None = None, fetch: bool = True) -> WeightFacts:
    """Return what is known of weights; without torch where they are embedded or known.

    A large file is read once: its facts are remembered as long as the file does not change. Without
    `fetch` weights that are not on this machine raise `MissingWeightsError`.
    """
    spec = with_file(find(name), file)
    path = _path(spec)
    if path is None and spec.source in ("timm", "url") and not fetch and not spec.weight_file:
        check_network(spec)
        raise absence(spec, "the first run that needs them fetches them")
    # A file that changes has another state, so the cache below does not hide the change.
    return _facts(spec, None if path is None else state_of(path))


def weight_hash_of(name: str, *, file: Path | None = None, fetch: bool = True) -> str:
    """Return the hash `load_backbone` gives; see `weight_facts`."""
    return weight_facts(name, file=file, fetch=fetch).weight_hash


@lru_cache(maxsize=64)  # a plan asks once for every run
def _facts(spec: BackboneSpec, _state: tuple[int, ...] | None) -> WeightFacts:
    """Return what is known of an entry's weights, whose file is in this state."""
    known = _embedded(spec) or remembered(_note(spec))
    if known is None:
        return _build(spec, None, logging.WARNING).facts
    _check_hash(spec, known.weight_hash)
    return known


def _embedded(spec: BackboneSpec) -> WeightFacts | None:
    """Return the facts of weights that are part of the project, stored under plain names."""
    if spec.source != "embedded" or spec.weight_file is None or spec.sha256 is None:
        return None
    shape, layers = spec.shape, Layers()
    assert shape is not None
    try:
        tensors = read_safetensors(spec.weight_file)
    except (SafetensorError, OSError, KeyError) as error:
        raise BackboneError(f"weight file {spec.weight_file} cannot be read: {error}") from error
    network = Network(
        shape.num_heads,
        spec.input_size,
        spec.patch_size,
        pooling_in_words(shape.global_pool),
        layers.activation,
        layers.epsilon,
        spec.mean,
        spec.std,
    )
    return WeightFacts(hash_tensors(tensors), shape.embed_dim, shape.depth, network=network)


@cache
def shape_of(name: str) -> VitShape | None:
    """Return the architecture of a backbone without its weights; None if only they could tell.

    Raises:
        BackboneError: timm does not have it, or it is no backbone that methods can adapt.
    """
    spec = find(name)
    if spec.shape is not None:
        return spec.shape
    from benchmark.backbones import model

    if spec.weight_file is not None:
        try:
            return model.shape_of_file(spec, spec.weight_file)
        except BackboneError:
            return None  # loading it will say what is wrong
    return model.shape_of_timm(spec)


def outline_of(name: str, *, file: Path | None = None) -> VisionTransformer:
    """Return a backbone on the device `meta`, whose tensors have shapes but no content.

    Raises:
        BackboneError: timm does not have it, it is no backbone, or its file is needed and unusable.
    """
    from benchmark.backbones.model import outline

    return outline(with_file(find(name), file))


def check_images(name: str, side: int | None, *, file: Path | None = None) -> None:
    """Raise `BackboneError` where a backbone cannot take square images of so many pixels a side.

    None stands for the images of its pre-training.
    """
    spec = with_file(find(name), file)
    if side is None and (spec.shape is not None or spec.timm_name is None):
        return  # these are square
    from benchmark.backbones import architecture
    from benchmark.backbones.model import outline

    if side is None:
        architecture.check_square(outline(spec), name)
    else:
        architecture.check_side(outline(spec), side, name)


def _path(spec: BackboneSpec) -> Path | None:
    """Return the file an entry's weights are in, if they are in one that is here."""
    if spec.source == "random":
        return None
    path = located(spec)
    if path is None and spec.source == "timm" and not spec.weight_file and not spec.shape:
        from benchmark.backbones.model import cached_file

        path = cached_file(spec)  # a name that only timm can resolve
    return path


def _note(spec: BackboneSpec) -> Path | None:
    path = _path(spec)
    return None if path is None else note_of(path, spec)


def _build(spec: BackboneSpec, image_size: int | None, level: int) -> Backbone:
    """Build an entry's model, check and remember its hash, log what its file holds besides."""
    from benchmark.backbones.model import build

    note = _note(spec)  # of the file as it is before it is read
    if spec.source == "url" and spec.weight_file is None:
        spec = with_file(spec, fetch_original(spec))
    backbone = build(spec, image_size)
    _check_hash(backbone.spec, backbone.weight_hash)
    if backbone.left_out:
        from benchmark.backbones.formats.base import listing

        text = "%s: %s: ignored what is not part of the backbone: %s"
        _log.log(level, text, spec.name, spec.weight_file, listing(list(backbone.left_out)))
    remember(note or _note(spec), backbone.facts)  # it may have been fetched now
    return backbone


def _check_hash(spec: BackboneSpec, weight_hash: str) -> None:
    """Refuse weights other than the pinned ones."""
    if spec.sha256 is not None and spec.sha256 != weight_hash:
        raise BackboneError(
            f"weights of {spec.name} ({spec.weight_file}) are not the expected ones: "
            f"expected SHA-256 {spec.sha256}, found {weight_hash}"
        )
