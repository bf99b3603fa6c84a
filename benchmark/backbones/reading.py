"""Reads a backbone's tensors out of the files people have, without running any code in them."""

from __future__ import annotations

import argparse
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from benchmark.backbones.google import read_npz
from benchmark.backbones.hashing import BackboneError
from benchmark.backbones.tensors import listing, plain_names

# What torch.load raises on a damaged, foreign or unsafe file.
UNREADABLE = (RuntimeError, OSError, ValueError, EOFError, KeyError, UnpicklingError)
_CONTAINERS = ("state_dict", "model", "teacher", "student")
_MAX_DEPTH = 3  # containers within containers
_MAX_HEADER = 100_000_000  # what safetensors itself allows


@dataclass(frozen=True)
class Contents:
    """Tensors (float32) under timm's names, names left out, and heads if the file says so."""

    tensors: dict[str, Tensor]
    left_out: tuple[str, ...] = ()
    heads: int | None = None


def read_weights(path: Path) -> Contents:
    """Gives what a weight file holds of a backbone, whatever its format and its ending.

    safetensors, PyTorch's own (plain state dicts and training checkpoints, of which the teacher is
    taken) and Google's npz. Raises `BackboneError` naming the file and, where it can, the tensors.
    """
    form = _form(path)
    heads: int | None = None
    found: Mapping[str, Tensor]
    others: tuple[str, ...] = ()
    if form == "safetensors":
        found, heads = _read_safetensors(path)
    elif form == "npz":
        arrays, heads = read_npz(path)
        found = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    else:
        found, others = _state_dict(_read_torch(path), path)
    kept, left_out = plain_names(found, path)
    tensors = {name: _plain_tensor(name, value, path) for name, value in kept.items()}
    return Contents(tensors, (*left_out, *others), heads)


def _form(path: Path) -> Literal["safetensors", "npz", "torch"]:
    """The format by the first bytes: endings are often wrong, and the hub's own files have none."""
    if not path.exists():
        raise BackboneError(f"weight file {path} does not exist")
    if not path.is_file():
        raise BackboneError(f"weight file {path} is no file but a folder")
    try:
        with path.open("rb") as file:
            head = file.read(64)
        if head.startswith(b"PK"):
            with zipfile.ZipFile(path) as archive:
                arrays = all(name.endswith(".npy") for name in archive.namelist())
            return "npz" if arrays else "torch"
    except (OSError, zipfile.BadZipFile) as error:
        raise BackboneError(f"weight file {path} cannot be read: {error} (cut short?)") from error
    if not head:
        raise BackboneError(f"weight file {path} cannot be read: it is empty")
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= _MAX_HEADER:
        return "safetensors"
    if head.startswith(b"version https://git-lfs"):
        raise BackboneError(f"weight file {path} is a git-lfs pointer, not the file itself")
    if head.lstrip().startswith(b"<"):
        raise BackboneError(f"weight file {path} is a web page, perhaps an error of a download")
    return "torch"


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], int | None]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            heads = (file.metadata() or {}).get("num_heads", "")
    except (SafetensorError, OSError, TypeError, ValueError, KeyError) as error:
        raise BackboneError(f"weight file {path} cannot be read: {error}") from error
    return tensors, int(heads) if heads.isdecimal() else None


def _read_torch(path: Path) -> object:
    """The content of a file of torch.save; nothing but tensors and plain values is ever built."""
    try:
        # Training checkpoints hold their command line's options, which are harmless.
        with path.open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        if foreign := re.search(r"GLOBAL (\S+)", str(error)):
            raise BackboneError(
                f"weight file {path} cannot be read: it holds Python objects beside tensors "
                f"({foreign[1].rstrip('.')}), and building them could run any code. Where its "
                "origin is trusted, save its state dict alone, best as safetensors"
            ) from error
        raise BackboneError(f"weight file {path} cannot be read: {_first_line(error)}") from error
    except UNREADABLE as error:
        raise BackboneError(f"weight file {path} cannot be read: {_first_line(error)}") from error


def _state_dict(content: object, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors of a checkpoint, wherever its author put them, and what else lay among them."""
    for _ in range(_MAX_DEPTH):
        inner = _container(content, path)
        if inner is None:
            break
        content = inner
    entries = content if isinstance(content, Mapping) else {}
    tensors = {str(name): value for name, value in entries.items() if isinstance(value, Tensor)}
    if not tensors:
        holds = f"a {type(content).__name__}"
        if isinstance(content, Mapping):
            holds = f"the entries {listing([str(name) for name in content])}" if content else "none"
        raise BackboneError(f"weight file {path} holds no state dict of tensors, but {holds}")
    return tensors, tuple(str(name) for name in entries if str(name) not in tensors)


def _container(content: object, path: Path) -> object | None:
    """The one entry of a checkpoint that holds the model, if it has any."""
    if not isinstance(content, Mapping):
        return None
    found = [key for key in _CONTAINERS if isinstance(content.get(key), Mapping)]
    if "teacher" in found and "student" in found:  # self-distillation: the teacher is published
        found.remove("student")
    if len(found) > 1:
        raise BackboneError(
            f"weight file {path} holds several models ({', '.join(found)}): save the one you mean "
            "in a file of its own"
        )
    inner: object = content[found[0]] if found else None
    return inner


def _plain_tensor(name: str, value: Tensor, path: Path) -> Tensor:
    """A dense tensor of its own on the CPU, with floating-point numbers as float32."""
    if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
        raise BackboneError(f"{path}: {name} is no plain tensor of numbers ({value.dtype})")
    value = value.detach()
    value = (value.float() if value.is_floating_point() else value).contiguous()
    if value.is_floating_point() and not bool(value.isfinite().all()):
        raise BackboneError(f"{path}: {name} holds numbers that are not finite")
    return value


def _first_line(error: BaseException) -> str:
    """What an error says, without the advice that follows."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
