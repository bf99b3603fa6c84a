"""CODA-Prompt, DualPrompt and L2P++ written down plainly, to make recorded cases of any size.

Every rule of the CODA-Prompt and InfLoRA codes as it stands: whole pools of which rows are
detached, key losses that index all images with all choices, Gram-Schmidt pair by pair. Nothing of
the benchmark is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from reference_inflora import Problem, Sizes, adam, forward, save, write_inputs
from torch import Tensor
from torch.nn import functional as F

Pools = dict[str, Tensor]  # by recorded name


@dataclass(frozen=True)
class Prompted:
    method: str = "coda"
    code: str = "GT-RIPL/CODA-Prompt"
    param: tuple[int, int, float] = (7, 4, 0.0)
    layers: tuple[int, ...] = (0, 2)
    general: tuple[int, ...] = ()  # DualPrompt only
    sizes: Sizes = field(default_factory=lambda: Sizes(tasks=3, images=14, batch=6, seed=1))

    @property
    def inflora(self) -> bool:
        return self.code.endswith("InfLoRA")

    @property
    def per_task(self) -> int:
        return self.param[0] // self.sizes.tasks


def gram_schmidt(rows: Tensor, draws: Tensor, first: int) -> Tensor:
    """Rows [M, d] with `draws` made orthogonal from row `first` on, and zeros after these."""
    flat, new = rows.flatten(1), torch.zeros_like(rows.flatten(1))
    new[:first] = flat[:first]
    for k, draw in enumerate(draws, start=first):
        taken = torch.zeros_like(draw)
        for j in range(k):
            taken = taken + (draw * new[j]).sum() / (new[j] * new[j]).sum() * new[j]
        new[k] = draw - taken
    for k in range(first, first + len(draws)):
        new[k] = new[k] / new[k].norm()
    return new.view_as(rows)


def penalty(rows: Tensor) -> Tensor:
    return ((rows @ rows.T - torch.eye(len(rows), dtype=rows.dtype)) ** 2).mean()


def coda(p: Prompted, pools: Pools, q: Tensor, task: int, train: bool) -> Any:
    first, last = task * p.per_task, (task + 1) * p.per_task
    prefixes, loss, extra = {}, torch.zeros((), dtype=q.dtype), []
    for layer in p.layers:
        prompt, key, attention = (
            torch.cat(
                [pools[f"e_{x}_{layer}"][:first].detach(), pools[f"e_{x}_{layer}"][first:last]]
            )
            for x in "pka"
        )
        attended = torch.einsum("bd,kd->bkd", q, attention)
        weights = torch.einsum("bkd,kd->bk", F.normalize(attended, dim=2), F.normalize(key, dim=1))
        summed = torch.einsum("bk,kld->bld", weights, prompt)
        half = p.param[1] // 2
        prefixes[layer] = (summed[:, :half], summed[:, half:])
        loss = loss + p.param[2] * (penalty(key) + penalty(attention) + penalty(prompt.flatten(1)))
        extra.append(weights)
    return prefixes, loss, {"probe_attention": torch.stack(extra)}


def pooled(p: Prompted, pools: Pools, q: Tensor, task: int, train: bool) -> Any:
    """DualPrompt and L2P++."""
    prefixes, loss = {}, torch.zeros((), dtype=q.dtype)
    cosines, choices = [], []
    for layer in p.layers:
        prompts = pools[f"e_p_{layer}"]
        cos = torch.einsum(
            "bj,kj->bk", F.normalize(q, dim=1), F.normalize(pools[f"e_k_{layer}"], dim=1)
        )
        half = p.param[1] // 2
        if p.method == "l2p":
            choice = cos.topk(5, dim=1).indices
            loss = loss + (1 - cos[:, choice]).sum()
        elif train and p.inflora:
            ids = torch.full((len(q),), task)
            loss = loss + (1 - cos[:, ids]).sum()
            choice = ids[:, None]
        elif train:
            loss = loss + (1 - cos[:, task]).sum()
            choice = torch.full((len(q), 1), task)
        else:
            choice = cos.topk(1, dim=1).indices
        rows = prompts[choice]
        prefixes[layer] = (rows[:, :, :half].flatten(1, 2), rows[:, :, half:].flatten(1, 2))
        cosines.append(cos)
        choices.append(choice)
    for layer in p.general:
        rows = pools[f"g_p_{layer}"].expand(len(q), -1, -1)
        half = rows.shape[1] // 2
        own = (rows[:, :half], rows[:, half:])
        if layer in prefixes:
            own = tuple(torch.cat(x, dim=1) for x in zip(prefixes[layer], own, strict=True))
        prefixes[layer] = own
    found = {"probe_cosine": torch.stack(cosines), "probe_topk": torch.stack(choices)}
    return prefixes, loss, found


def start(p: Prompted, draw: torch.Generator) -> Pools:
    """Pools as they are drawn; CODA-Prompt replaces them at the start of every task."""
    size, length, third = p.param
    pools = {}
    for layer in p.layers:
        shapes = {"p": (size, length, p.sizes.width), "k": (size, p.sizes.width)}
        if p.method == "coda":
            shapes["a"] = shapes["k"]
        for x, shape in shapes.items():
            pools[f"e_{x}_{layer}"] = torch.rand(shape, generator=draw, dtype=torch.float64)
    for layer in p.general:
        shape = (int(third), p.sizes.width)
        pools[f"g_p_{layer}"] = torch.rand(shape, generator=draw, dtype=torch.float64)
    return pools


def write_prompt_case(folder: Path, p: Prompted) -> Path:
    """Write `<method>/other.npz` and its inputs below `folder`; gives the case's path."""
    given, meta = write_inputs(folder, p.sizes)
    draw = torch.Generator().manual_seed(50 + p.sizes.seed)
    pools = start(p, draw)
    with torch.no_grad():
        out: dict[str, Any] = {
            "probe_query": forward(given.weights, p.sizes, given.probe)[:, 0].numpy()
        }
    for t in range(p.sizes.tasks):
        if p.method == "coda":
            for name, rows in pools.items():
                wide = rows.flatten(1).shape[1]
                draws = torch.randn(p.per_task, wide, generator=draw, dtype=torch.float64)
                out[f"gs_randn/t{t}/{name}"] = draws.numpy()
                pools[name] = gram_schmidt(rows, draws, t * p.per_task)
        out |= {f"start/t{t}/{name}": rows.numpy().copy() for name, rows in pools.items()}
        out |= {f"{name}/t{t}": value for name, value in _task(p, t, given, pools).items()}
        out |= {f"end/t{t}/{name}": rows.numpy().copy() for name, rows in pools.items()}
    meta |= {
        "implementation": p.code, "method": p.method, "prompt_param": list(p.param),
        "e_layers": list(p.layers),
    }  # fmt: skip
    if p.method == "l2p" and p.inflora:
        meta["schedule"] = "constant"
    path = folder / p.method / "other.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    save(path, out, meta)
    return path


def _task(p: Prompted, t: int, given: Problem, pools: Pools) -> dict[str, Any]:
    s, w = p.sizes, given.weights
    prompt = coda if p.method == "coda" else pooled
    rows = slice(t * s.per_task, (t + 1) * s.per_task)
    head_w = given.heads_w[rows].clone().requires_grad_()
    head_b = given.heads_b[rows].clone().requires_grad_()
    trained = [head_w, head_b, *(rows.requires_grad_() for rows in pools.values())]
    found: dict[str, Any] = {"loss": [], "prompt_loss": [], "lr": []}
    state: dict[str, Any] = {}
    constant = s.epochs == 1 or (p.method == "l2p" and p.inflora)
    for epoch in range(s.epochs):
        step = 0 if constant else max(epoch - 1, 0)
        lr = s.lr * math.cos(99 * math.pi * step / (200 * max(s.epochs - 1, 1)))
        for begin in range(0, s.images, s.batch):
            x, y = (part[t][begin : begin + s.batch] for part in (given.x, given.y))
            with torch.no_grad():
                q = forward(w, s, x)[:, 0]
            prefixes, extra, _ = prompt(p, pools, q, t, train=True)
            logits = forward(w, s, x, prefixes=prefixes)[:, 0] @ head_w.T + head_b
            loss = F.cross_entropy(logits, y - rows.start)
            if not (p.method == "coda" and p.inflora):
                loss = loss + extra
            loss.backward()
            adam(trained, state, lr)
            for name, value in (("loss", loss), ("prompt_loss", extra), ("lr", lr)):
                found[name].append(float(torch.as_tensor(value).detach()))
    for tensor in trained:
        tensor.requires_grad_(False)
    given.heads_w[rows], given.heads_b[rows] = head_w, head_b
    known_w, known_b = given.heads_w[: rows.stop], given.heads_b[: rows.stop]
    q = forward(w, s, given.probe)[:, 0]
    prefixes, _, choice = prompt(p, pools, q, t, train=False)
    logits = forward(w, s, given.probe, prefixes=prefixes)[:, 0] @ known_w.T + known_b
    found |= {"probe_logits": logits, "classifier_weight": known_w, "classifier_bias": known_b}
    return {
        name: torch.as_tensor(v, dtype=_kind(v)).numpy().copy()
        for name, v in (found | choice).items()
    }


def _kind(value: Any) -> torch.dtype:
    return value.dtype if isinstance(value, Tensor) else torch.float64
