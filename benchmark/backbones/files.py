"""Reads a backbone's tensors out of the files people have, without running any code in them."""

from __future__ import annotations

import argparse
import math
import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.backbones.catalogue import BackboneError
from benchmark.storage import is_file

# What torch.load and np.load raise on a damaged, foreign or unsafe file.
UNREADABLE = (
    RuntimeError, OSError, ValueError, EOFError, LookupError, MemoryError, UnpicklingError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
MAX_NAMED = 8  # tensors named in one message
_CONTAINERS = ("state_dict", "model", "teacher", "student")
# Averages over training, which timm takes before the raw weights.
_AVERAGED = ("state_dict_ema", "model_ema")
_MAX_NESTING = 3  # containers within containers
_MAX_HEADER = 100_000_000  # bytes, what safetensors itself allows
_WRAPPERS = ("module.", "backbone.")
# What classifiers, projection heads and masked pre-training leave beside the backbone.
_NOT_BACKBONE = (
    "head.", "head_dist.", "head/", "pre_logits", "masked_embed", "mask_token",
    "n_averaged",
)  # fmt: skip
# The arrays of Google's ViT releases: outside the blocks, and in every block.
_GOOGLE_POSITIONS = "Transformer/posembed_input/pos_embedding"
_GOOGLE = (
    "cls", "embedding/kernel", "embedding/bias", _GOOGLE_POSITIONS,
    "Transformer/encoder_norm/scale", "Transformer/encoder_norm/bias",
)  # fmt: skip
_GOOGLE_BLOCK = (
    *(f"LayerNorm_{i}/{part}" for i in (0, 2) for part in ("scale", "bias")),
    *(
        f"MultiHeadDotProductAttention_1/{name}/{part}"
        for name in ("query", "key", "value", "out")
        for part in ("kernel", "bias")
    ),
    *(f"MlpBlock_3/Dense_{i}/{part}" for i in (0, 1) for part in ("kernel", "bias")),
)


@dataclass(frozen=True)
class WeightFile:
    """Tensors (float32) under timm's names, names left out, and heads if the file says so.

    notes: what was chosen where the file holds more than one model.
    """

    tensors: dict[str, Tensor]
    left_out: tuple[str, ...] = ()
    heads: int | None = None
    notes: tuple[str, ...] = ()


def read_weights(path: Path) -> WeightFile:
    """Read what a weight file holds of a backbone, whatever its format and its ending.

    The formats are safetensors, PyTorch's own (plain state dicts and training checkpoints, of which
    the teacher is taken) and Google's npz. Wrappers' prefixes are taken off; only what is known to
    be no part of a backbone (heads, mask tokens) is left out.

    Raises:
        BackboneError: Names the file and, where it can, the tensors.
    """
    form = _format(path)
    heads: int | None = None
    raw: Mapping[str, Tensor]
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if form == "safetensors":
        raw, heads = _read_safetensors(path)
    elif form == "npz":
        raw, heads = _read_npz(path)
    else:
        raw, others, notes = _state_dict(_read_torch(path), path)
    tensors: dict[str, Tensor] = {}
    left_out = []
    for name, value in raw.items():
        plain = _plain_name(name)
        if plain.startswith(_NOT_BACKBONE):
            left_out.append(name)
        elif plain in tensors:
            raise BackboneError(f"{path}: two tensors claim the name {plain}, one of them {name}")
        else:
            tensors[plain] = _plain_tensor(plain, value, path)
    return WeightFile(tensors, (*sorted(left_out), *others), heads, notes)


def listing(names: list[str]) -> str:
    """Return the first names and how many more there are."""
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def _format(path: Path) -> Literal["safetensors", "npz", "torch"]:
    """Tell the format by the first bytes: endings are often wrong, the hub's files have none."""
    if not is_file(path):
        raise BackboneError(f"weight file {path} does not exist or is a folder")
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if head.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                arrays = all(name.endswith(".npy") for name in archive.namelist())
            return "npz" if arrays else "torch"
    except (OSError, zipfile.BadZipFile) as error:
        raise BackboneError(f"weight file {path} cannot be read: {error} (truncated?)") from error
    if not head:
        raise BackboneError(f"weight file {path} cannot be read: it is empty")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER:
        return "safetensors"
    if head.startswith(b"version https://git-lfs"):
        raise BackboneError(f"weight file {path} is a git-lfs pointer, not the file itself")
    if head.lstrip().startswith(b"<"):
        raise BackboneError(f"weight file {path} is a web page, perhaps a failed download")
    if _is_text(head):
        raise BackboneError(f"weight file {path} cannot be read: it is a text, not weights")
    return "torch"


def _is_text(head: bytes) -> bool:
    """Whether a file begins with words; a pickle never does."""
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        text = head[: error.start].decode()
        if len(head) - error.start > 3:  # more than a letter that is cut
            return False
    return bool(text) and all(c.isprintable() or c.isspace() for c in text)


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], int | None]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
            heads = (file.metadata() or {}).get("num_heads", "")
    except (SafetensorError, OSError, TypeError, ValueError, KeyError) as error:
        raise BackboneError(f"weight file {path} cannot be read: {error}") from error
    return tensors, int(heads) if heads.isdecimal() else None


def _read_torch(path: Path) -> object:
    """Load a file of torch.save; nothing but tensors and plain values is ever built."""
    try:
        # Training checkpoints hold their command line's options, which are harmless.
        with path.open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        if foreign := re.search(r"GLOBAL (\S+)", str(error)):
            raise BackboneError(
                f"weight file {path} cannot be read: it holds Python objects beside tensors "
                f"({foreign[1].rstrip('.')}), and building them could run any code. Where its "
                "origin is trusted, save its state dict alone, best as safetensors"
            ) from error
        # The advice that follows the first line is for callers of torch.load.
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BackboneError(f"weight file {path} cannot be read: {reason}") from error


def _state_dict(
    content: object, path: Path
) -> tuple[dict[str, Tensor], tuple[str, ...], tuple[str, ...]]:
    """Return a checkpoint's tensors, the other entries' names, and notes on what was chosen.

    The tensors are found wherever their author put them.
    """
    notes: tuple[str, ...] = ()
    for _ in range(_MAX_NESTING):
        if not isinstance(content, Mapping):
            break
        held = [key for key in _CONTAINERS if isinstance(content.get(key), Mapping)]
        averaged = [key for key in _AVERAGED if isinstance(content.get(key), Mapping)]
        if averaged:
            raw = f", not the raw ones ({', '.join(held)})" if held else ""
            notes = (f"weights {path.name} are the averaged ones ({averaged[0]}){raw}",)
            held = averaged[:1]
        if "teacher" in held and "student" in held:  # self-distillation: the teacher is published
            held.remove("student")
        if len(held) > 1:
            raise BackboneError(
                f"weight file {path} holds several models ({', '.join(held)}): save the one you "
                "mean in a file of its own"
            )
        if not held:
            break
        content = content[held[0]]
    entries = content if isinstance(content, Mapping) else {}
    tensors = {str(name): value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        names = listing([str(name) for name in entries])
        holds = f"the entries {names}" if names else f"a {type(content).__name__} without any"
        raise BackboneError(f"weight file {path} holds no state dict of tensors, but {holds}")
    return tensors, tuple(str(name) for name in entries if str(name) not in tensors), notes


def _read_npz(path: Path) -> tuple[dict[str, Tensor], int | None]:
    """Read Google's arrays as timm reads them, into a model of the sizes that they have.

    timm neither names arrays that are missing nor those that it does not know. The latter keep
    their names, so that fitting the tensors to a model refuses them.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            prefix = "opt/target/" if "opt/target/cls" in file else ""
            arrays = {name.removeprefix(prefix): file[name] for name in file.files}
        model, known, heads = _google_model(arrays, path)
        model.load_pretrained(str(path), prefix=prefix)
        others = {name: torch.from_numpy(a) for name, a in arrays.items() if name not in known}
    except BackboneError:
        raise
    except (*UNREADABLE, TypeError) as error:
        raise BackboneError(f"weight file {path} cannot be read: {error}") from error
    return {**model.state_dict(), **others}, heads


def _google_model(
    arrays: Mapping[str, NDArray[np.generic]], path: Path
) -> tuple[VisionTransformer, set[str], int]:
    """Return an empty model that arrays fill exactly, these arrays' names and the heads."""
    depth = len({name.split("/")[1] for name in arrays if name.startswith("Transformer/encoderb")})
    blocks = [f"Transformer/encoderblock_{index}" for index in range(depth)]
    known = {*_GOOGLE, *(f"{block}/{name}" for block in blocks for name in _GOOGLE_BLOCK)}
    if missing := sorted(known - arrays.keys()):
        raise BackboneError(f"{path}: no ViT of Google's, missing: {listing(missing)}")
    heads = {arrays[name].shape for name in known if name.endswith("query/bias")}
    if len(heads) != 1 or len(shape := heads.pop()) != 2:
        raise BackboneError(f"{path}: its blocks have different numbers of heads or none")
    width, patch = arrays["cls"].shape[-1], arrays["embedding/kernel"].shape[0]
    patches = arrays[_GOOGLE_POSITIONS].shape[1] - 1
    with torch.device("meta"):
        model = VisionTransformer(
            img_size=patch * math.isqrt(patches),
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=shape[0],
            mlp_ratio=arrays[f"{blocks[0]}/MlpBlock_3/Dense_0/bias"].size / width,
            num_classes=0,
        )
    # timm broadcasts what is too small and resamples positions and patches.
    numbers = sum(arrays[name].size for name in known)
    if numbers != (wanted := sum(p.numel() for p in model.parameters())):
        raise BackboneError(f"{path}: its arrays hold {numbers} numbers, their model {wanted}")
    return model.to_empty(device="cpu"), known, shape[0]


def _plain_name(name: str) -> str:
    """Return a name without leading wrappers' prefixes, however often they are repeated."""
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def _plain_tensor(name: str, value: Tensor, path: Path) -> Tensor:
    """Return a dense tensor on the CPU, with floating-point numbers as float32."""
    if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
        raise BackboneError(f"{path}: {name} is not a plain tensor of numbers ({value.dtype})")
    value = value.detach()
    value = (value.float() if value.is_floating_point() else value).contiguous()
    if value.is_floating_point() and not bool(value.isfinite().all()):
        raise BackboneError(f"{path}: {name} holds numbers that are not finite")
    return value
