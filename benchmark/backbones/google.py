"""Reads the `.npz` files of Google's ViT releases under timm's names (no torch import)."""

from __future__ import annotations

import re
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from benchmark.backbones.hashing import BackboneError

Array = NDArray[np.generic]

_BLOCK = re.compile(r"Transformer/encoderblock_(\d+)/(.+)")
_OUTSIDE = {
    "cls": "cls_token",
    "embedding/kernel": "patch_embed.proj.weight",
    "embedding/bias": "patch_embed.proj.bias",
    "Transformer/posembed_input/pos_embedding": "pos_embed",
    "Transformer/encoder_norm/scale": "norm.weight",
    "Transformer/encoder_norm/bias": "norm.bias",
    "head/kernel": "head.weight",
    "head/bias": "head.bias",
    "pre_logits/kernel": "pre_logits.fc.weight",
    "pre_logits/bias": "pre_logits.fc.bias",
}
_INSIDE = {
    "LayerNorm_0/scale": "norm1.weight",
    "LayerNorm_0/bias": "norm1.bias",
    "LayerNorm_2/scale": "norm2.weight",
    "LayerNorm_2/bias": "norm2.bias",
    "MultiHeadDotProductAttention_1/out/kernel": "attn.proj.weight",
    "MultiHeadDotProductAttention_1/out/bias": "attn.proj.bias",
    "MlpBlock_3/Dense_0/kernel": "mlp.fc1.weight",
    "MlpBlock_3/Dense_0/bias": "mlp.fc1.bias",
    "MlpBlock_3/Dense_1/kernel": "mlp.fc2.weight",
    "MlpBlock_3/Dense_1/bias": "mlp.fc2.bias",
}
_QKV = re.compile(r"MultiHeadDotProductAttention_1/(query|key|value)/(kernel|bias)")


def read_npz(path: Path) -> tuple[dict[str, Array], int | None]:
    """Gives the arrays under timm's names, and the number of heads.

    Arrays this layout does not know keep their names, so that whoever fits them to a model names
    them. Raises `BackboneError` for a file that cannot be read; nothing in it is executed.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name.removeprefix("opt/target/"): file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError, BadZipFile) as error:
        raise BackboneError(f"weight file {path} cannot be read: {error}") from error
    named: dict[str, Array] = {}
    parts: dict[str, dict[str, Array]] = {}
    heads: set[int] = set()
    for name, array in arrays.items():
        block = _BLOCK.fullmatch(name)
        if block is None:
            named[_OUTSIDE.get(name, name)] = _turned(name, array)
        elif qkv := _QKV.fullmatch(block[2]):
            # Query, key and value are apart here, [W, heads, W / heads]; timm stacks them.
            kind = "weight" if qkv[2] == "kernel" else "bias"
            if array.ndim != (3 if kind == "weight" else 2):
                raise BackboneError(f"{path}: {name} has shape {list(array.shape)}")
            heads.add(array.shape[-2])
            flat = array.reshape(len(array), -1).T if kind == "weight" else array.reshape(-1)
            parts.setdefault(f"blocks.{block[1]}.attn.qkv.{kind}", {})[qkv[1]] = flat
        else:
            inner = _INSIDE.get(block[2])
            target = name if inner is None else f"blocks.{block[1]}.{inner}"
            named[target] = _turned(name, array)
    if len(heads) > 1:
        raise BackboneError(f"{path}: its blocks have different numbers of heads: {sorted(heads)}")
    for name, three in parts.items():
        order = ("query", "key", "value")
        shapes = {array.shape for array in three.values()}
        if len(three) < 3 or len(shapes) > 1:
            raise BackboneError(f"{path}: {name} needs query, key and value of one shape")
        named[name] = np.concatenate([three[part] for part in order])
    return named, heads.pop() if heads else None


def _turned(name: str, array: Array) -> Array:
    """Gives an array with the axes in torch's order: output first."""
    turned: Array = array
    if name.endswith("/out/kernel") and array.ndim == 3:
        turned = array.reshape(-1, array.shape[-1]).T
    elif name.endswith("/kernel") and array.ndim == 4:
        turned = array.transpose(3, 2, 0, 1)
    elif name.endswith("/kernel") and array.ndim == 2:
        turned = array.T
    return turned
