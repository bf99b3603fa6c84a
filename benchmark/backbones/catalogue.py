"""The backbones by name: architecture, weights, hash and input conventions (no torch import)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.registry import UnknownNameError

WEIGHTS = Path(__file__).parent / "weights"
Triple = tuple[float, float, float]
Source = Literal["embedded", "timm", "file", "random"]


@dataclass(frozen=True)
class VitShape:
    """Keyword arguments of timm's VisionTransformer; the defaults are the embedded backbones'."""

    img_size: int = 32
    patch_size: int = 8
    embed_dim: int = 128
    depth: int = 6
    num_heads: int = 4
    mlp_ratio: float = 4.0
    qkv_bias: bool = True
    qk_norm: bool = False
    init_values: float | None = None
    class_token: bool = True
    reg_tokens: int = 0
    no_embed_class: bool = False
    pre_norm: bool = False
    global_pool: Literal["token", "avg"] = "token"


@dataclass(frozen=True)
class BackboneSpec:
    """What is known of a backbone before it is loaded.

    `mean` and `std` are those its pre-training used. For `timm:TAG` and `file:PATH` they, the
    input size and the patch size are None until the loader fills them in.
    """

    name: str
    description: str
    source: Source
    shape: VitShape | None = None
    timm_name: str | None = None
    weight_file: Path | None = None
    sha256: str | None = None
    mean: Triple | None = None
    std: Triple | None = None
    input_size: int | None = None
    patch_size: int | None = None
    input_range: str = "float32 in [0, 1]"
    heads: int | None = None
    seed: int = 0


def _embedded(name: str, description: str, sha256: str | None) -> BackboneSpec:
    """Gives the entry of a backbone whose weights are part of the project."""
    shape = VitShape()
    return BackboneSpec(
        name=name,
        description=description,
        source="embedded",
        shape=shape,
        weight_file=WEIGHTS / f"{name}.safetensors",
        sha256=sha256,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        input_size=shape.img_size,
        patch_size=shape.patch_size,
        input_range="float32 in [0, 1], as in pre-training",
    )


_CATALOGUE = {
    spec.name: spec
    for spec in (
        _embedded(
            "tiny_sup",
            "ViT of 1.2 M parameters, 32 px, supervised on upstream icons; embedded",
            sha256="e8929d91a2775fb9957a2be8781afd3e20136d514ed20b82a3ef205f5be22113",
        ),
    )
}
# Forms of a name that carry their own address; shown in messages beside the names.
_FORMS = ("timm:TAG", "file:PATH")
_FILE = re.compile(r"file:(?P<path>.+?)(?::heads=(?P<heads>\d+))?")
_RANDOM = re.compile(r"random:(?P<arch>[^:]+)(?::(?P<seed>\d+))?")


def available() -> list[BackboneSpec]:
    """Gives the named backbones, in the order of the catalogue."""
    return list(_CATALOGUE.values())


def find(name: str) -> BackboneSpec:
    """Gives the entry of a name.

    Besides the catalogue's names: `timm:TAG` (weights fetched or cached by timm),
    `file:PATH[:heads=N]` (a timm ViT's tensors) and `random:ARCH[:SEED]` (an untrained timm
    architecture, for tests of speed and size).
    """
    if name in _CATALOGUE:
        return _CATALOGUE[name]
    if name.startswith("timm:") and len(name) > len("timm:"):
        tag = name.removeprefix("timm:")
        return BackboneSpec(name, f"timm weights {tag}", "timm", timm_name=tag)
    if match := _FILE.fullmatch(name):
        heads = int(match["heads"]) if match["heads"] else None
        path = Path(match["path"]).expanduser()
        return BackboneSpec(name, f"weights in {path}", "file", weight_file=path, heads=heads)
    if match := _RANDOM.fullmatch(name):
        return BackboneSpec(
            name,
            f"untrained {match['arch']}",
            "random",
            timm_name=match["arch"],
            seed=int(match["seed"] or 0),
        )
    raise UnknownNameError("backbone", name, (*_CATALOGUE, *_FORMS))
