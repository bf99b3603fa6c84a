"""Google's ViT and big_vision's as Flax defines them: arrays, and their forward pass in numpy."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from published_vits import DEPTH, HEADS, PATCH, SIDE, WIDTH
from scipy.special import erf
from torch import Tensor

Array = NDArray[np.float32]


def arrays(*, big_vision: bool, pool: str = "tok", seed: int = 0) -> dict[str, Array]:
    """Random arrays under the names of a release; pool: tok, gap or map."""
    random = np.random.default_rng(seed)
    attention, mlp, second = (0, 0, 1) if big_vision else (1, 3, 2)

    def draw(*shape: int, size: float = 0.3, shift: float = 0.0) -> Array:
        return (shift + size * random.standard_normal(shape)).astype(np.float32)

    def norm(name: str) -> dict[str, Array]:
        return {f"{name}/scale": draw(WIDTH, shift=1), f"{name}/bias": draw(WIDTH)}

    def heads(name: str) -> dict[str, Array]:
        found = {}
        for part in ("query", "key", "value"):
            found[f"{name}/{part}/kernel"] = draw(WIDTH, HEADS, WIDTH // HEADS)
            found[f"{name}/{part}/bias"] = draw(HEADS, WIDTH // HEADS)
        found[f"{name}/out/kernel"] = draw(HEADS, WIDTH // HEADS, WIDTH)
        return found | {f"{name}/out/bias": draw(WIDTH)}

    def dense(name: str) -> dict[str, Array]:
        return {
            f"{name}/Dense_0/kernel": draw(WIDTH, 4 * WIDTH),
            f"{name}/Dense_0/bias": draw(4 * WIDTH),
            f"{name}/Dense_1/kernel": draw(4 * WIDTH, WIDTH),
            f"{name}/Dense_1/bias": draw(WIDTH),
        }

    found = {
        "embedding/kernel": draw(PATCH, PATCH, 3, WIDTH, size=1e-3),
        "embedding/bias": draw(WIDTH, size=1e-3),
        "head/kernel": draw(WIDTH, 5),
        "head/bias": draw(5),
        **norm("Transformer/encoder_norm"),
    }
    if pool == "tok":
        found["cls"] = draw(1, 1, WIDTH, size=1e-3)
    if big_vision:
        found["pos_embedding"] = draw(1, SIDE**2, WIDTH, size=1e-3)
    else:
        name = "Transformer/posembed_input/pos_embedding"
        found[name] = draw(1, SIDE**2 + 1, WIDTH, size=1e-3)
    for index in range(DEPTH):
        block = f"Transformer/encoderblock_{index}"
        found |= norm(f"{block}/LayerNorm_0") | norm(f"{block}/LayerNorm_{second}")
        found |= heads(f"{block}/MultiHeadDotProductAttention_{attention}")
        found |= dense(f"{block}/MlpBlock_{mlp}")
    if pool == "map":
        found["MAPHead_0/probe"] = draw(1, 1, WIDTH)
        found |= heads("MAPHead_0/MultiHeadDotProductAttention_0")
        found |= norm("MAPHead_0/LayerNorm_0") | dense("MAPHead_0/MlpBlock_0")
    return found


def stacked(found: Mapping[str, Array]) -> dict[str, Array]:
    """The same arrays as big_vision stores scanned blocks: those of all blocks in one."""
    first = "Transformer/encoderblock_0/"
    whole = {n: a for n, a in found.items() if "encoderblock_" not in n}
    for name in found:
        if name.startswith(first):
            parts = [found[name.replace("block_0/", f"block_{i}/")] for i in range(DEPTH)]
            whole[name.replace("encoderblock_0", "encoderblock")] = np.stack(parts)
    return whole


def features(found: Mapping[str, Array], images: Tensor, *, tanh: bool = False) -> Array:
    """The class token after the last norm; without one, attention pooling or the mean of all.

    tanh: the approximation of GELU that Flax computes unless it is told not to.
    """
    a = {name: array.astype(np.float64) for name, array in found.items()}
    big_vision = "pos_embedding" in a
    attention, mlp, second = (0, 0, 1) if big_vision else (1, 3, 2)

    def norm(x: Array, name: str) -> Array:
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6)
        return x * a[f"{name}/scale"] + a[f"{name}/bias"]

    def gelu(x: Array) -> Array:
        if tanh:
            return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * (1 + erf(x / np.sqrt(2)))

    def dense(x: Array, name: str) -> Array:
        x = gelu(x @ a[f"{name}/Dense_0/kernel"] + a[f"{name}/Dense_0/bias"])
        return x @ a[f"{name}/Dense_1/kernel"] + a[f"{name}/Dense_1/bias"]

    def attend(queries: Array, keys: Array, name: str) -> Array:
        q, k, v = (
            np.einsum("bnw,whd->bhnd", x, a[f"{name}/{part}/kernel"])
            + a[f"{name}/{part}/bias"][:, None]
            for part, x in (("query", queries), ("key", keys), ("value", keys))
        )
        scores = np.exp(np.einsum("bhnd,bhmd->bhnm", q, k) / np.sqrt(WIDTH // HEADS))
        y = np.einsum("bhnm,bhmd->bhnd", scores / scores.sum(-1, keepdims=True), v)
        return np.einsum("bhnd,hdw->bnw", y, a[f"{name}/out/kernel"]) + a[f"{name}/out/bias"]

    pixels = images.double().numpy().transpose(0, 2, 3, 1)
    cut = pixels.reshape(len(images), SIDE, PATCH, SIDE, PATCH, 3)
    x = np.einsum("brpcqk,pqkw->brcw", cut, a["embedding/kernel"]) + a["embedding/bias"]
    x = x.reshape(len(images), SIDE**2, WIDTH)
    token = np.repeat(a["cls"], len(images), 0) if "cls" in a else None
    if big_vision:  # positions of patches alone
        x = x + a["pos_embedding"]
        x = x if token is None else np.concatenate([token, x], 1)
    else:
        x = np.concatenate([token, x], 1) + a["Transformer/posembed_input/pos_embedding"]
    for index in range(DEPTH):
        block = f"Transformer/encoderblock_{index}"
        y = norm(x, f"{block}/LayerNorm_0")
        x = x + attend(y, y, f"{block}/MultiHeadDotProductAttention_{attention}")
        x = x + dense(norm(x, f"{block}/LayerNorm_{second}"), f"{block}/MlpBlock_{mlp}")
    x = norm(x, "Transformer/encoder_norm")
    if "MAPHead_0/probe" in a:
        probe = np.repeat(a["MAPHead_0/probe"], len(images), 0)
        x = attend(probe, x, "MAPHead_0/MultiHeadDotProductAttention_0")
        return (x + dense(norm(x, "MAPHead_0/LayerNorm_0"), "MAPHead_0/MlpBlock_0"))[:, 0]
    return x.mean(1) if token is None else x[:, 0]
