"""The backbones by name: architecture, weights, hash and input conventions (no torch import)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmark.registry import Registry, UnknownNameError

WEIGHTS = Path(__file__).parent / "weights"
Triple = tuple[float, float, float]
Source = Literal["embedded", "timm", "url", "file", "random"]


class BackboneError(ValueError):
    """Weights that cannot be read or do not fit the architecture."""


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
    global_pool: Literal["token", "avg", "map"] = "token"
    fc_norm: bool | None = None


Activation = Literal["gelu", "gelu_tanh", "quick_gelu", "silu"]


@dataclass(frozen=True)
class Layers:
    """What no tensor's shape tells of a ViT's layers; the defaults are those of timm's ViTs.

    Attributes:
        activation: Of the MLP; None where nothing tells.
        epsilon: Added to the variance in every layer norm; None where nothing tells.
        gated: Whether the MLP's first layer has a second half that multiplies the first (SwiGLU).
        distilled: Whether features are the mean of the class and a distillation token (DeiT).
    """

    activation: Activation | None = "gelu"
    epsilon: float | None = 1e-6
    gated: bool = False
    distilled: bool = False


_POOLING = {
    "token": "the class token",
    "avg": "the mean of the patches",
    "map": "attention pooling",
}


def pooling_in_words(pool: str, distilled: bool = False) -> str:
    """Return what features are read off, by timm's name of a pooling."""
    if distilled:
        return "the mean of the class and the distillation token"
    return _POOLING.get(pool, pool)


@dataclass(frozen=True)
class Network:
    """What was loaded, as a reader of its numbers needs it; None where its model does not say.

    Attributes:
        image_size: In pixels, of the pre-training or as a run asks for.
        pooling: What features are read off, in words.
        mean: Channel means of the pre-training's input; `std` its deviations.
    """

    heads: int | None
    image_size: int | None
    patch_size: int | None
    pooling: str
    activation: str | None
    epsilon: float | None
    mean: Triple | None
    std: Triple | None

    def facts(self) -> dict[str, str]:
        """Return what is known, in words."""
        known = {
            "heads": self.heads,
            "image size": self.image_size and f"{self.image_size} px",
            "patch size": self.patch_size and f"{self.patch_size} px",
            "features": self.pooling,
            "activation": self.activation,
            "epsilon": self.epsilon and f"{self.epsilon:g}",
            "input range": self._range(),
        }
        return {name: str(value) for name, value in known.items() if value}

    def in_words(self) -> str:
        """Return what is known in one line."""
        return ", ".join(f"{name} {value}" for name, value in self.facts().items())

    def _range(self) -> str:
        if self.mean is None or self.std is None:
            return ""
        if (self.mean, self.std) == ((0.0,) * 3, (1.0,) * 3):
            return "[0, 1]"
        mean, std = (" ".join(f"{x:g}" for x in triple) for triple in (self.mean, self.std))
        return f"mean {mean} std {std}"


@dataclass(frozen=True)
class BackboneSpec:
    """What is known of a backbone before it is loaded.

    For `timm:TAG` and `file:PATH` the mean, the deviation, the input size and the patch size are
    None until the weights are loaded.

    Attributes:
        source: Where the weights come from unless a file is given.
        sha256: Pinned hash of the tensors; None where nobody published one. The hash of what is
            loaded is recorded with every result.
        mean: Channel means of the pre-training's input; `std` its deviations.
        heads: Attention heads where the user names them: shapes cannot tell.
        address: The original file, where there is one in a format that is read here.
        published: Which published numbers rest on these weights.
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
    heads: int | None = None
    seed: int = 0
    address: str = ""
    published: str = ""


@dataclass(frozen=True)
class WeightFacts:
    """What is known of weights that were read: their hash, and what a reader of a number should.

    Attributes:
        weight_hash: SHA-256 of the tensors, and of the number of heads where shapes did not tell.
        width: Channels of a token.
        depth: Blocks.
        notes: What was assumed or chosen in reading a file, in words.
        network: The network that was loaded.
    """

    weight_hash: str
    width: int
    depth: int
    notes: tuple[str, ...] = ()
    network: Network | None = None


BACKBONES: Registry[BackboneSpec] = Registry(
    "backbone", variable="BACKBONES", package="benchmark.backbones", group="clbench.backbones"
)


def _embedded(name: str, description: str, sha256: str | None) -> BackboneSpec:
    """Return the entry of a backbone whose weights are part of the project."""
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
    )


_VIT_B16 = VitShape(img_size=224, patch_size=16, embed_dim=768, depth=12, num_heads=12)
_HALF: Triple = (0.5, 0.5, 0.5)
_IMAGENET: tuple[Triple, Triple] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def _vit_b16(
    name: str,
    training: str,
    published: str,
    *,
    tag: str | None = None,
    address: str = "",
    mean_std: tuple[Triple, Triple],
) -> BackboneSpec:
    """Return the entry of a published ViT-B/16: of a timm tag, or of a file at an address."""
    return BackboneSpec(
        name=name,
        description=f"ViT-B/16, 224 px, {training}; {published}",
        source="timm" if tag else "url",
        shape=_VIT_B16,
        timm_name=tag,
        mean=mean_std[0],
        std=mean_std[1],
        input_size=_VIT_B16.img_size,
        patch_size=_VIT_B16.patch_size,
        address=address,
        published=published,
    )


BACKBONES.add(
    "tiny_sup",
    _embedded(
        "tiny_sup",
        "ViT of 1.2 M parameters, 32 px, supervised on upstream icons; embedded",
        sha256="1353d66c89028b8f8f23baf92968d45c86124924f277441c2a535036c65596c2",
    ),
)
BACKBONES.add(
    "tiny_dino",
    _embedded(
        "tiny_dino",
        "ViT of 1.2 M parameters, 32 px, DINO on upstream icons without labels; embedded",
        sha256="db5cc85104b54c6165317f526ec0f15e8c0baf46ebf587438051598368cd204f",
    ),
)
BACKBONES.add(
    "tiny_ibot",
    _embedded(
        "tiny_ibot",
        "ViT of 1.2 M parameters, 32 px, iBOT on upstream icons without labels; embedded",
        sha256="5b19ab28cd785187ac82b9970d9837a5c302b34ee606ee7791335503ccefa362",
    ),
)
BACKBONES.add(
    "vit_b16_in21k",
    _vit_b16(
        "vit_b16_in21k",
        "supervised on ImageNet-21k (augreg)",
        "main tables of InfLoRA; SLCA",
        tag="vit_base_patch16_224.augreg_in21k",
        mean_std=(_HALF, _HALF),
    ),
)
BACKBONES.add(
    "vit_b16_in21k_orig",
    _vit_b16(
        "vit_b16_in21k_orig",
        "supervised on ImageNet-21k (original release)",
        "L2P, DualPrompt and LAE as first published",
        tag="vit_base_patch16_224.orig_in21k",
        mean_std=(_HALF, _HALF),
    ),
)
BACKBONES.add(
    "vit_b16_in21k_in1k",
    _vit_b16(
        "vit_b16_in21k_in1k",
        "supervised on ImageNet-21k, fine-tuned on ImageNet-1k (augreg)",
        "CODA-Prompt, SD-LoRA, LAMDA-PILOT",
        tag="vit_base_patch16_224.augreg_in21k_ft_in1k",
        mean_std=(_HALF, _HALF),
    ),
)
BACKBONES.add(
    "vit_b16_dino",
    _vit_b16(
        "vit_b16_dino",
        "self-supervised on ImageNet-1k (DINO)",
        "self-supervised table of InfLoRA",
        tag="vit_base_patch16_224.dino",
        address="https://dl.fbaipublicfiles.com/dino/dino_vitbase16_pretrain/"
        "dino_vitbase16_pretrain.pth",
        mean_std=_IMAGENET,
    ),
)
BACKBONES.add(
    "vit_b16_ibot",
    _vit_b16(
        "vit_b16_ibot",
        "self-supervised on ImageNet-1k (iBOT)",
        "self-supervised table of InfLoRA",
        address="https://lf3-nlp-opensource.bytetos.com/obj/nlp-opensource/archive/2022/ibot/"
        "vitb_16/checkpoint_teacher.pth",
        mean_std=_IMAGENET,
    ),
)
# Forms of a name that carry their own address; shown in messages beside the names.
_FORMS = ("timm:TAG", "file:PATH")
_FILE = re.compile(r"file:(?P<path>.+?)(?::heads=(?P<heads>\d+))?")
_RANDOM = re.compile(r"random:(?P<arch>[^:]+)(?::(?P<seed>\d+))?")


def available() -> list[BackboneSpec]:
    """Return the named backbones, in the order of the catalogue."""
    return [BACKBONES.get(name) for name in BACKBONES.names()]


def find(name: str) -> BackboneSpec:
    """Return the entry of a name.

    Besides the catalogue's names: `timm:TAG` (weights fetched or cached by timm),
    `file:PATH[:heads=N]` (a timm ViT's tensors) and `random:ARCH[:SEED]` (an untrained timm
    architecture, for tests of speed and size).
    """
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
    if name not in BACKBONES:
        raise UnknownNameError(BACKBONES.kind, name, [*BACKBONES.names(), *_FORMS])
    return BACKBONES.get(name)
