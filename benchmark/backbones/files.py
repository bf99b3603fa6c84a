"""Reads a backbone's tensors out of the files people have, without running any code in them."""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from benchmark.backbones.catalogue import BackboneError
from benchmark.backbones.formats import clip, google, hugging_face, plain
from benchmark.backbones.formats.base import UNREADABLE, WeightFile
from benchmark.backbones.formats.containers import Layout, Model, one_model, state_dict
from benchmark.storage import is_file

_MAX_HEADER = 100_000_000  # bytes, what safetensors itself allows
_READERS: dict[Layout, Callable[[Model, Path], WeightFile]] = {
    "timm": plain.read,
    "hugging_face": hugging_face.read,
    "clip": clip.read,
}


def read_weights(path: Path) -> WeightFile:
    """Read what a weight file holds of a backbone, whatever its format, layout and ending.

    The formats are safetensors, PyTorch's own (plain state dicts and training checkpoints) and
    npz; the layouts are those of `backbones.formats`. Only what is known to be no part of a
    backbone (heads, mask tokens, decoders, text) is left out.

    Raises:
        BackboneError: Names the file and, where it can, the tensors.
    """
    form = _format(path)
    heads: int | None = None
    raw: Mapping[str, Tensor]
    others: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    if form == "npz":
        found = google.read(path)
    else:
        if form == "safetensors":
            raw, heads = _read_safetensors(path)
        else:
            raw, others, notes = state_dict(_read_torch(path), path)
        found = _of_layout(one_model(raw, path), path)
    return replace(
        found,
        tensors={name: _plain_tensor(name, value, path) for name, value in found.tensors.items()},
        left_out=(*found.left_out, *others),
        heads=heads or found.heads,
        notes=(*notes, *found.notes),
    )


def _of_layout(model: Model, path: Path) -> WeightFile:
    """Return a network under timm's names; what is computed of its tensors is so in float32."""
    whole = {n: v.float() if v.is_floating_point() else v for n, v in model.tensors.items()}
    try:
        found = _READERS[model.layout](replace(model, tensors=whole), path)
    except BackboneError:
        raise
    except (LookupError, RuntimeError, ValueError, TypeError) as error:
        raise BackboneError(f"{path}: its tensors are not whole: {error}") from error
    return replace(found, notes=(*model.notes, *found.notes))


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
        if "TorchScript" in str(error):
            raise BackboneError(
                f"weight file {path} is a TorchScript archive, a program. Where its origin is "
                "trusted, save its state dict alone: torch.jit.load(PATH).state_dict()"
            ) from error
        # The advice that follows the first line is for callers of torch.load.
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BackboneError(f"weight file {path} cannot be read: {reason}") from error


def _plain_tensor(name: str, value: Tensor, path: Path) -> Tensor:
    """Return a dense tensor on the CPU, with floating-point numbers as float32."""
    if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
        raise BackboneError(f"{path}: {name} is not a plain tensor of numbers ({value.dtype})")
    value = value.detach()
    value = (value.float() if value.is_floating_point() else value).contiguous()
    if value.is_floating_point() and not bool(value.isfinite().all()):
        raise BackboneError(f"{path}: {name} holds numbers that are not finite")
    return value
