"""What every reader of a layout gives, and the words they share."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError

from torch import Tensor

from benchmark.backbones.catalogue import BackboneError, Layers

# What torch.load and np.load raise on a damaged, foreign or unsafe file.
UNREADABLE = (
    RuntimeError, OSError, ValueError, EOFError, LookupError, MemoryError, UnpicklingError,
    struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
MOCO = "MoCo v3"  # whose ViT-S has twice the heads of all others
MAX_NAMED = 8  # tensors named in one message
_NUMBERED = re.compile(r"\d+\..*")

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class WeightFile:
    """What a file holds of a backbone, under timm's names.

    Attributes:
        tensors: Float32 where they are floating-point numbers.
        left_out: Names that are no part of a backbone, such as heads.
        heads: Attention heads of a block where the file says their number.
        notes: What was chosen where the file holds more than one model, or left out of it.
        family: Whose layout it is; empty for timm's own names with nothing beside.
        layers: What the layout says of the layers; None where it says nothing.
        class_position: Whether tokens beside the patches have positions; None where only the
            number of positions can tell.
    """

    tensors: Tensors
    left_out: tuple[str, ...] = ()
    heads: int | None = None
    notes: tuple[str, ...] = ()
    family: str = ""
    layers: Layers | None = None
    class_position: bool | None = None


def listing(names: list[str]) -> str:
    """Return the first names and how many more there are."""
    more = len(names) - MAX_NAMED
    return ", ".join(names[:MAX_NAMED]) + (f" and {more} more" if more > 0 else "")


def renamed(tensors: Mapping[str, Tensor], parts: Mapping[str, str], blocks: str) -> Tensors:
    """Return tensors with the names of layers replaced; those that no rule knows keep theirs.

    Args:
        tensors: Under the names of another library.
        parts: Their names of layers, in a block without its number, and timm's.
        blocks: What stands before the number of a block there, such as `encoder.layer.`.
    """
    found: Tensors = {}
    for name, value in tensors.items():
        number, inner = "", name
        if name.startswith(blocks) and _NUMBERED.fullmatch(rest := name.removeprefix(blocks)):
            number, _, inner = rest.partition(".")
        layer, dot, kind = inner.rpartition(".")
        if inner in parts:
            layer, dot, kind = parts[inner], "", ""
        elif layer in parts:
            layer = parts[layer]
        else:
            found[name] = value
            continue
        found[(f"blocks.{number}." if number else "") + f"{layer}{dot}{kind}"] = value
    return found


def with_registers(tensors: Tensors, path: Path) -> Tensors:
    """Return tensors whose class token holds its position, which timm gives to patches alone."""
    found = dict(tensors)
    registers, positions = found.pop("register_tokens"), found.get("pos_embed")
    token = found.get("cls_token")
    if positions is None or token is None or positions.ndim != 3 or token.ndim != 3:
        raise BackboneError(f"{path}: register_tokens without cls_token and pos_embed of 3 axes")
    found["reg_token"] = registers
    found["cls_token"] = token + positions[:, :1]
    found["pos_embed"] = positions[:, 1:].contiguous()
    return found
