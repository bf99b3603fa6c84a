"""InfLoRA written down plainly from its formulas, to make recorded cases of any size.

Nothing of the benchmark is used: the network is a chain of formulas on a dict of weights, the
branches of all tasks stay side by side, Adam and the gradient memory are spelled out.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sizes:
    depth: int = 3
    width: int = 24
    heads: int = 3
    image: int = 24
    patch: int = 8
    mlp: int = 2
    rank: int = 2
    tasks: int = 4
    sessions: int = 5
    per_task: int = 3
    images: int = 20
    batch: int = 8
    epochs: int = 3
    probe: int = 7
    lr: float = 4e-3
    lamb: float = 0.99
    lame: float = 0.9999
    seed: int = 0
    layers: int = 3  # adapted, from the first


Weights = dict[str, Tensor]
Branch = tuple[Tensor, Tensor, Tensor]  # down [r, d], up of keys and of values [d, r]


def random_weights(s: Sizes) -> Weights:
    draw = torch.Generator().manual_seed(s.seed)

    def normal(*shape: int, scale: float) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64) * scale

    d, h = s.width, s.mlp * s.width
    shapes = {"attn.qkv": (3 * d, d), "attn.proj": (d, d), "mlp.fc1": (h, d), "mlp.fc2": (d, h)}
    tokens = (s.image // s.patch) ** 2 + 1
    weights = {
        "cls_token": normal(1, 1, d, scale=1.0),
        "pos_embed": normal(1, tokens, d, scale=1.0),
        "patch_embed.proj.weight": normal(d, 3, s.patch, s.patch, scale=0.1),
        "patch_embed.proj.bias": normal(d, scale=0.1),
    }
    for b in range(s.depth):
        for norm in ("norm1", "norm2"):
            weights[f"blocks.{b}.{norm}.weight"] = 1 + normal(d, scale=0.3)
            weights[f"blocks.{b}.{norm}.bias"] = normal(d, scale=0.05)
        for name, (rows, columns) in shapes.items():
            weights[f"blocks.{b}.{name}.weight"] = normal(rows, columns, scale=columns**-0.5)
            weights[f"blocks.{b}.{name}.bias"] = normal(rows, scale=0.1)
    weights["norm.weight"] = 1 + normal(d, scale=0.1)
    weights["norm.bias"] = normal(d, scale=0.1)
    return weights


def layer_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / (centred.square().mean(-1, keepdim=True) + 1e-6).sqrt() * weight + bias


def forward(
    w: Weights,
    s: Sizes,
    images: Tensor,
    branches: list[list[Branch]] | None = None,
    inputs: list[Tensor] | None = None,
    prefixes: dict[int, tuple[Tensor, Tensor]] | None = None,
) -> Tensor:
    """All tokens after the final norm, [B, N, d]; `inputs` collects what enters each qkv.

    prefixes: by block, keys and values [B, n, d] that stand before the block's own.
    """
    n, side = len(images), s.image // s.patch
    patches = images.reshape(n, 3, side, s.patch, side, s.patch).permute(0, 2, 4, 1, 3, 5)
    x = patches.reshape(n, side * side, -1) @ w["patch_embed.proj.weight"].flatten(1).T
    x = x + w["patch_embed.proj.bias"]
    x = torch.cat([w["cls_token"].expand(n, 1, -1), x], dim=1) + w["pos_embed"]
    for b in range(s.depth):
        p = f"blocks.{b}."
        y = layer_norm(x, w[p + "norm1.weight"], w[p + "norm1.bias"])
        if inputs is not None:
            inputs.append(y)
        weight = w[p + "attn.qkv.weight"]
        q, k, v = weight.chunk(3)
        for task in branches or []:
            if b < len(task):
                down, up_k, up_v = task[b]
                k, v = k + up_k @ down, v + up_v @ down
        q, k, v = (
            (y @ m.T + bias).unflatten(-1, (s.heads, -1)).transpose(1, 2)
            for m, bias in zip((q, k, v), w[p + "attn.qkv.bias"].chunk(3), strict=True)
        )
        if prefixes and b in prefixes:
            k, v = (
                torch.cat([own.unflatten(-1, (s.heads, -1)).transpose(1, 2), part], dim=2)
                for own, part in zip(prefixes[b], (k, v), strict=True)
            )
        attention = (q @ k.transpose(-1, -2) / math.sqrt(s.width / s.heads)).softmax(-1)
        y = (attention @ v).transpose(1, 2).flatten(2)
        x = x + y @ w[p + "attn.proj.weight"].T + w[p + "attn.proj.bias"]
        y = layer_norm(x, w[p + "norm2.weight"], w[p + "norm2.bias"])
        y = y @ w[p + "mlp.fc1.weight"].T + w[p + "mlp.fc1.bias"]
        y = y * (1 + torch.erf(y / math.sqrt(2))) / 2
        x = x + y @ w[p + "mlp.fc2.weight"].T + w[p + "mlp.fc2.bias"]
    return layer_norm(x, w["norm.weight"], w["norm.bias"])


class Memory:
    """The two-form gradient memory, with every rule of the official code as it stands."""

    def __init__(self, dual: bool = True) -> None:
        self.m: np.ndarray | None = None
        self.retain, self.dual = False, dual
        self.skipped = False

    def projector(self) -> np.ndarray:
        assert self.m is not None
        return self.m @ self.m.T

    def update(self, c: np.ndarray, eps: float) -> None:
        d, self.skipped = len(c), False
        total = (np.linalg.svd(c, compute_uv=False) ** 2).sum()
        if self.m is None:
            u, sv, _ = np.linalg.svd(c)
            k = max(int((np.cumsum(sv**2 / total) < eps).sum()), 1)
            self.m, self.retain = u[:, :k], self.dual and not k < d / 2
        elif not self.retain:
            u, sv, _ = np.linalg.svd(c - self.projector() @ c)
            kept, taken = (total - (sv**2).sum()) / total, 0
            while taken < d and kept < eps:
                kept += sv[taken] ** 2 / total
                taken += 1
            self.skipped = taken == 0
            self.m = np.hstack([self.m, u[:, :taken]])[:, :d]
        else:
            u, sv, _ = np.linalg.svd(self.projector() @ c)
            rest, taken = (sv**2).sum() / total, 0
            while taken < d and rest >= 1 - eps:
                rest -= sv[taken] ** 2 / total
                taken += 1
            self.skipped = taken == 0
            if taken:
                lost = u[:, :taken]
                left, _, _ = np.linalg.svd(self.m - lost @ (lost.T @ self.m))
                self.m = left[:, : max(self.m.shape[1] - taken, 0)]
        if self.dual and not self.retain and self.m.shape[1] > d / 2:
            u, _, _ = np.linalg.svd(self.m)
            self.m, self.retain = u[:, self.m.shape[1] :], True
        if self.retain:
            assert self.m.shape[1] <= d / 2


def moments(w: Weights, s: Sizes, images: Tensor, branches: list[list[Branch]]) -> np.ndarray:
    """[L, d, d], mean over all images and tokens."""
    inputs: list[Tensor] = []
    with torch.no_grad():
        forward(w, s, images, branches, inputs)
    return np.stack(
        [(x.flatten(0, 1).T @ x.flatten(0, 1) / x[..., 0].numel()).numpy() for x in inputs]
    )


def adam(params: list[Tensor], state: dict[str, Any], lr: float) -> None:
    state["t"] = state.get("t", 0) + 1
    for i, p in enumerate(params):
        assert p.grad is not None
        m, v = state.get(f"m{i}", 0.0), state.get(f"v{i}", 0.0)
        state[f"m{i}"] = m = 0.9 * m + 0.1 * p.grad
        state[f"v{i}"] = v = 0.999 * v + 0.001 * p.grad**2
        step = m / (1 - 0.9 ** state["t"]) / ((v / (1 - 0.999 ** state["t"])) ** 0.5 + 1e-8)
        with torch.no_grad():
            p -= lr * step
        p.grad = None


@dataclass(frozen=True)
class Problem:
    """What a training run starts from."""

    weights: Weights
    x: Tensor  # [T, n, 3, H, W]
    y: Tensor  # [T, n]
    probe: Tensor
    heads_w: Tensor
    heads_b: Tensor


def write_inputs(folder: Path, s: Sizes) -> tuple[Problem, dict[str, Any]]:
    """Write the shared files below `folder`; gives the problem and what a case says of it."""
    draw = torch.Generator().manual_seed(100 + s.seed)
    w = random_weights(s)
    classes = s.tasks * s.per_task
    x = torch.rand(s.tasks, s.images, 3, s.image, s.image, generator=draw, dtype=torch.float64)
    # Every task has its own statistics, so that subspaces differ.
    x = x * (0.5 + torch.rand(s.tasks, 1, 3, 1, s.image, generator=draw, dtype=torch.float64))
    y = torch.randint(s.per_task, (s.tasks, s.images), generator=draw)
    y += s.per_task * torch.arange(s.tasks)[:, None]
    probe = torch.rand(s.probe, 3, s.image, s.image, generator=draw, dtype=torch.float64)
    heads_w = torch.randn(classes, s.width, generator=draw, dtype=torch.float64) * 0.1
    heads_b = torch.randn(classes, generator=draw, dtype=torch.float64) * 0.1

    with torch.no_grad():
        tokens = forward(w, s, probe)
        train_features = torch.stack([forward(w, s, images)[:, 0] for images in x])
    data = {
        "train_x": x.numpy(),
        "train_y": y.numpy(),
        "probe_x": probe.numpy(),
        "probe_y": np.zeros(s.probe, dtype=np.int64),
        "classifier_weight": heads_w.numpy().copy(),
        "classifier_bias": heads_b.numpy().copy(),
        "probe_features_pretrained": tokens[:, 0].numpy(),
        "train_features_pretrained": train_features.numpy(),
        "probe_tokens_pretrained_first4": tokens[:4].numpy(),
    }
    model = {
        "img": s.image, "patch": s.patch, "embed": s.width, "depth": s.depth, "heads": s.heads,
        "mlp": s.mlp, "qkv_bias": True, "layernorm_eps": 1e-6, "act": "gelu exact",
        "pool": "class token after final norm",
    }  # fmt: skip
    protocol = {
        "batch": s.batch, "cpt": s.per_task, "epochs": s.epochs, "lr": s.lr, "n_train": s.images,
        "probe": s.probe, "tasks": s.tasks,
    }  # fmt: skip
    shared = {**model, **protocol}
    (folder / "common").mkdir(parents=True, exist_ok=True)
    save(
        folder / "common" / "backbone_other.npz",
        {f"w:{k}": v.numpy() for k, v in w.items()},
        shared,
    )
    save(folder / "common" / "data_other.npz", data, shared)
    meta = {
        "inputs": ["common/backbone_other.npz", "common/data_other.npz"], "model": model,
        "protocol": protocol,
        "schedule": "factor cos(99*pi*s/(200*(epochs-1))) with s=max(epoch-1,0)",
        "optimizer": {"algo": "Adam", "betas": [0.9, 0.999], "eps": 1e-8, "lr": s.lr,
                      "weight_decay": 0.0, "reset_per_task": True},
    }  # fmt: skip
    return Problem(w, x, y, probe, heads_w, heads_b), meta


def write_case(folder: Path, s: Sizes | None = None) -> Path:
    """Write `inflora/other.npz` and its inputs below `folder`; gives the case's path."""
    s = s or Sizes()
    given, meta = write_inputs(folder, s)
    out: dict[str, Any] = {}
    memories = [Memory() for _ in range(s.layers)]
    branches: list[list[Branch]] = []
    for t in range(s.tasks):
        out.update(
            _task(
                given.weights, s, t, given.x[t], given.y[t], given.probe, given.heads_w,
                given.heads_b, memories, branches,
            )
        )  # fmt: skip
    meta |= {
        "implementation": "plain formulas", "method": "InfLoRA", "rank": s.rank, "lamb": s.lamb,
        "lame": s.lame, "total_sessions": s.sessions, "adapted_layers": list(range(s.layers)),
        "source_files": ["methods/inflora.py"],
    }  # fmt: skip
    path = folder / "inflora" / "other.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, out, meta)
    return path


def save(path: Path, arrays: dict[str, Any], meta: dict[str, Any]) -> None:
    np.savez(path, meta_json=np.array(json.dumps(meta)), **arrays)


def _task(
    w: Weights,
    s: Sizes,
    t: int,
    x: Tensor,
    y: Tensor,
    probe: Tensor,
    heads_w: Tensor,
    heads_b: Tensor,
    memories: list[Memory],
    branches: list[list[Branch]],
) -> dict[str, Any]:
    before = moments(w, s, x, branches)[: s.layers]
    designed, spectra, own = [], [], []
    for c, memory in zip(before, memories, strict=True):
        if memory.m is None:
            matrix = c
        else:
            p = memory.projector()
            matrix = p @ c if memory.retain else c - p @ c
        u, sv, _ = np.linalg.svd(matrix)
        designed.append(u[:, : s.rank].T / math.sqrt(3))
        spectra.append(sv)
        zeros = [torch.zeros(s.width, s.rank, dtype=torch.float64) for _ in "kv"]
        own.append((torch.from_numpy(designed[-1].copy()), *(z.requires_grad_() for z in zeros)))
    branches.append(own)

    rows = slice(t * s.per_task, (t + 1) * s.per_task)
    head_w, head_b = heads_w[rows].clone().requires_grad_(), heads_b[rows].clone().requires_grad_()
    trained = [head_w, head_b, *(up for _, *ups in own for up in ups)]
    losses, rates = [], []
    state: dict[str, Any] = {}
    for epoch in range(s.epochs):
        step = max(epoch - 1, 0)
        lr = s.lr * math.cos(99 * math.pi * step / (200 * (s.epochs - 1))) if s.epochs > 1 else s.lr
        for start in range(0, s.images, s.batch):
            part = slice(start, start + s.batch)
            logits = forward(w, s, x[part], branches)[:, 0] @ head_w.T + head_b
            chosen = logits.log_softmax(1).gather(1, (y[part] - rows.start)[:, None])
            loss = -chosen.mean()
            loss.backward()
            adam(trained, state, lr)
            losses.append(float(loss.detach()))
            rates.append(lr)
    for tensor in trained:
        tensor.requires_grad_(False)
    heads_w[rows], heads_b[rows] = head_w, head_b

    after = moments(w, s, x, branches)[: s.layers]
    eps = (s.lame - s.lamb) * t / s.sessions + s.lamb
    for c, memory in zip(after, memories, strict=True):
        memory.update(c, eps)
    features = forward(w, s, probe, branches)[:, 0]
    found = {
        "cov_before": before,
        "cov_before_n": np.full(s.layers, s.images * ((s.image // s.patch) ** 2 + 1)),
        "design_singular_values": np.stack(spectra),
        "lora_A": np.stack(designed),
        "lora_B_k": torch.stack([up for _, up, _ in own]).numpy().copy(),
        "lora_B_v": torch.stack([up for _, _, up in own]).numpy().copy(),
        "loss": np.array(losses),
        "lr": np.array(rates),
        "cov_after": after,
        "threshold": np.array(eps),
        "gpm_P": np.stack([memory.projector() for memory in memories]),
        "gpm_dim": np.array([memory.m.shape[1] for memory in memories if memory.m is not None]),
        "gpm_is_retain": np.array([int(memory.retain) for memory in memories]),
        "classifier_weight": heads_w[: rows.stop].numpy().copy(),
        "classifier_bias": heads_b[: rows.stop].numpy().copy(),
        "probe_logits": (features @ heads_w[: rows.stop].T + heads_b[: rows.stop]).numpy(),
        "probe_features": features.numpy(),
    }
    return {f"{name}/t{t}": value for name, value in found.items()}
