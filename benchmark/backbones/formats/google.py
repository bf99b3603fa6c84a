"""Reads the arrays of Google's ViT releases and of big_vision."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmark.backbones.catalogue import BackboneError, Layers
from benchmark.backbones.formats.base import UNREADABLE, Tensors, WeightFile, listing

Arrays = dict[str, NDArray[np.generic]]

_PREFIXES = ("opt/target/", "params/img/", "params/", "img/")  # a longer one before its beginning
_IGNORED = ("head/", "pre_logits/")
# Beside a network of big_vision: the text tower, what scales its similarities, the optimizer.
_BESIDE = re.compile(r"(params/)?(txt/.*|t|b)|(opt|chrono)/.*")
_ATTENTION = ("query", "key", "value", "out")
_SCANNED = "Transformer/encoderblock/"
_BLOCK = "Transformer/encoderblock_"
# Layers of a block by their numbers in the older release and in big_vision, and timm's names.
_GOOGLE_NORMS = {"LayerNorm_0": "norm1", "LayerNorm_2": "norm2"}
_BIG_VISION_NORMS = {"LayerNorm_0": "norm1", "LayerNorm_1": "norm2"}
_GOOGLE_POSITIONS = "Transformer/posembed_input/pos_embedding"
_BIG_VISION_POSITIONS = "pos_embedding"
_POOLING = "MAPHead_0"


def read(path: Path) -> WeightFile:
    """Return a ViT of Google's under timm's names; arrays it does not know keep theirs.

    Raises:
        BackboneError: The file cannot be read, or it is no ViT of Google's.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            stored = {name: _plain(file[name]) for name in file.files}
    except (*UNREADABLE, TypeError) as error:
        raise BackboneError(f"weight file {path} cannot be read: {error}") from error
    prefix = next((p for p in _PREFIXES if f"{p}embedding/kernel" in stored), "")
    arrays: Arrays = {}
    left_out = []
    for name, array in stored.items():
        plain = name.removeprefix(prefix)
        beside = not name.startswith(prefix) and _BESIDE.fullmatch(name)
        if plain.startswith(_IGNORED):
            left_out.append(plain)
        elif beside:
            left_out.append(name)
        else:
            arrays[plain] = array
    reader = _Reader(_unstacked(arrays, path), path)
    try:
        tensors, heads = reader.tensors()
    except (TypeError, RuntimeError, IndexError) as error:  # arrays of texts, of odd shapes
        raise BackboneError(f"{path}: its arrays are not whole: {error}") from error
    return WeightFile(
        tensors,
        tuple(sorted(left_out)),
        heads,
        family="big_vision" if reader.big_vision else "Google's ViT",
        layers=Layers(),
        class_position=not reader.big_vision,
    )


def _plain(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """Return an array; numpy has no bfloat16 and keeps its two bytes untyped."""
    if array.dtype.kind == "V" and array.dtype.itemsize == 2:
        return (array.view("<u2").astype("<u4") << 16).view("<f4")
    return array


def _unstacked(arrays: Arrays, path: Path) -> Arrays:
    """Return arrays block by block, where big_vision stacked those of all blocks."""
    stacked = [name for name in arrays if name.startswith(_SCANNED)]
    depths = {arrays[name].shape[:1] for name in stacked}
    if not stacked:
        return arrays
    if len(depths) != 1 or not (depth := depths.pop()):
        raise BackboneError(f"{path}: its stacked blocks have different depths")
    found = {name: array for name, array in arrays.items() if name not in stacked}
    for name in stacked:
        for index in range(depth[0]):
            found[f"{_BLOCK}{index}/{name.removeprefix(_SCANNED)}"] = arrays[name][index]
    return found


class _Reader:
    """Takes arrays by name, so that those missing and those unknown can be named."""

    def __init__(self, arrays: Arrays, path: Path) -> None:
        self._arrays, self._path = dict(arrays), path
        self._missing: list[str] = []
        self.big_vision = not any("MlpBlock_3" in name for name in arrays) and (
            _BIG_VISION_POSITIONS in arrays or any("MlpBlock_0" in name for name in arrays)
        )

    def tensors(self) -> tuple[Tensors, int]:
        """Return all tensors under timm's names, unknown ones under theirs, and the heads."""
        depth = len({n.split("/")[1] for n in self._arrays if n.startswith(_BLOCK)})
        heads = self._heads(depth)
        found = self._outside()
        norms = _BIG_VISION_NORMS if self.big_vision else _GOOGLE_NORMS
        attention, mlp = (0, 0) if self.big_vision else (1, 3)
        for index in range(depth):
            theirs, ours = f"{_BLOCK}{index}", f"blocks.{index}"
            for norm, name in norms.items():
                found |= self._norm(f"{theirs}/{norm}", f"{ours}.{name}")
            part = self._attention(f"{theirs}/MultiHeadDotProductAttention_{attention}")
            for kind in ("weight", "bias"):
                joined = self._joined(part, kind, "query", "key", "value")
                found[f"{ours}.attn.qkv.{kind}"] = joined
                found[f"{ours}.attn.proj.{kind}"] = part[f"out.{kind}"]
            found |= self._mlp(f"{theirs}/MlpBlock_{mlp}", f"{ours}.mlp")
        if any(name.startswith(_POOLING) for name in self._arrays):
            found |= self._pooling()
        if self._missing or not depth:
            missing = listing(sorted(self._missing)) or f"{_BLOCK}0"
            raise BackboneError(f"{self._path}: no ViT of Google's, missing: {missing}")
        others = {name: torch.from_numpy(array) for name, array in self._arrays.items()}
        return {name: value.contiguous() for name, value in found.items()} | others, heads

    def _heads(self, depth: int) -> int:
        module = f"MultiHeadDotProductAttention_{0 if self.big_vision else 1}"
        names = [f"{_BLOCK}{index}/{module}/query/bias" for index in range(depth)]
        shapes = {self._arrays[name].shape for name in names if name in self._arrays}
        if len(shapes) > 1 or (shapes and len(next(iter(shapes))) != 2):
            raise BackboneError(f"{self._path}: its blocks have different numbers of heads or none")
        return int(next(iter(shapes))[0]) if shapes else 0

    def _outside(self) -> Tensors:
        """Return what is outside the blocks."""
        found = self._norm("Transformer/encoder_norm", "norm")
        if not self.big_vision or "cls" in self._arrays:
            found["cls_token"] = self._take("cls")
        positions = _BIG_VISION_POSITIONS if self.big_vision else _GOOGLE_POSITIONS
        found["pos_embed"] = self._take(positions)
        kernel = self._take("embedding/kernel")
        found["patch_embed.proj.weight"] = (
            kernel.permute(3, 2, 0, 1) if kernel.ndim == 4 else kernel
        )
        found["patch_embed.proj.bias"] = self._take("embedding/bias")
        return found

    def _pooling(self) -> Tensors:
        """Return the attention pooling of SigLIP."""
        found = {"attn_pool.latent": self._take(f"{_POOLING}/probe")}
        part = self._attention(f"{_POOLING}/MultiHeadDotProductAttention_0")
        for kind in ("weight", "bias"):
            found[f"attn_pool.q.{kind}"] = part[f"query.{kind}"]
            found[f"attn_pool.kv.{kind}"] = self._joined(part, kind, "key", "value")
            found[f"attn_pool.proj.{kind}"] = part[f"out.{kind}"]
        found |= self._norm(f"{_POOLING}/LayerNorm_0", "attn_pool.norm")
        return found | self._mlp(f"{_POOLING}/MlpBlock_0", "attn_pool.mlp")

    def _take(self, name: str) -> Tensor:
        array = self._arrays.pop(name, None)
        if array is None:
            self._missing.append(name)
            return torch.zeros(1)
        return torch.from_numpy(array)

    def _norm(self, theirs: str, ours: str) -> Tensors:
        return {
            f"{ours}.weight": self._take(f"{theirs}/scale"),
            f"{ours}.bias": self._take(f"{theirs}/bias"),
        }

    def _attention(self, module: str) -> Tensors:
        """Return layers with heads joined, of kernels [W, heads, C], the output's [heads, C, W]."""
        found = {}
        for name in _ATTENTION:
            kernel, bias = (self._take(f"{module}/{name}/{part}") for part in ("kernel", "bias"))
            inputs = kernel.flatten(0, 1) if name == "out" and kernel.ndim > 1 else kernel
            found[f"{name}.weight"] = inputs.reshape(inputs.shape[0], -1).T
            found[f"{name}.bias"] = bias.flatten()
        return found

    def _joined(self, part: Tensors, kind: str, *names: str) -> Tensor:
        """Return layers in one; of those that lack arrays, which is an error, the first."""
        layers = [part[f"{name}.{kind}"] for name in names]
        return layers[0] if self._missing else torch.cat(layers)

    def _mlp(self, theirs: str, ours: str) -> Tensors:
        found = {}
        for layer, name in (("Dense_0", "fc1"), ("Dense_1", "fc2")):
            kernel = self._take(f"{theirs}/{layer}/kernel")
            found[f"{ours}.{name}.weight"] = kernel.T if kernel.ndim == 2 else kernel
            found[f"{ours}.{name}.bias"] = self._take(f"{theirs}/{layer}/bias")
        return found
