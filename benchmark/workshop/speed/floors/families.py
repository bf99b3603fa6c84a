"""The floors of every family of methods: full training, low rank, adapters, prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from benchmark.workshop.speed.floors.step import Beside, Extra, Floor, Prefix, Projection, Start


def plain_floor(start: Start) -> Floor:
    """Every weight of the backbone is trained."""
    return Floor(start, lambda images: (start.net.tokens(images)[:, 0], None))


def head_floor(start: Start) -> Floor:
    """Only a linear head, on frozen features."""
    return Floor(start, lambda images: (start.net.query(images), None))


# -- low rank -------------------------------------------------------------------------------------


def lora_floor(
    start: Start,
    branches: str = "lora",
    targets: str = "kv",
    average: float | None = None,
    penalty: float = 0.0,
) -> Floor:
    """Branches beside the targets of the first blocks.

    The penalty of C-LoRA is penalty * ||past o (U D)||^2 over all blocks. As U D is dense in any
    case, nothing is gained by taking the past sum apart into its factors: the entrywise product of
    two matrices of rank r has rank r^2, more than the width.

    Args:
        start: The method's tensors.
        branches: Name of the method's list of branches.
        targets: Which of "q", "k", "v".
        average: Decay of a moving average of the branches.
        penalty: Weight of the penalty.
    """
    places = ["qkv".index(target) for target in targets]
    pairs = [
        (start[f"{branches}.{b}.down"], start[f"{branches}.{b}.up"])
        for b in range(start.count(branches))
    ]
    projections = {
        b: _projection(start, b, down, up, start.get(f"{branches}.{b}.scale"), places)
        for b, (down, up) in enumerate(pairs)
    }
    penalised = penalty > 0 and start.task.index > 0
    squares = penalty * start["past"].square() if penalised else ()  # constant during a task

    def features(images: Tensor) -> tuple[Tensor, Tensor | None]:
        extra = None
        if penalised:
            parts = [
                _Overlap.apply(s, up, down) for s, (down, up) in zip(squares, pairs, strict=True)
            ]
            extra = torch.stack(parts).sum()
        return start.net.tokens(images, projections)[:, 0], extra

    return Floor(start, features, average)


def c_lora_floor(start: Start) -> Floor:
    """C-LoRA, with its penalty."""
    return lora_floor(start, targets=start.config.targets, penalty=start.config.penalty)


def _projection(
    start: Start, block: int, down: Tensor, up: Tensor, scale: Tensor | None, places: Sequence[int]
) -> Projection:
    """The qkv projection of a block with its branch."""
    merged = start.net.of[f"blocks.{block}.attn.qkv.weight"].clone()

    def project(h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        scaled = up if scale is None else up * scale[:, None, None]
        out: Tensor = _Merged.apply(h, weight, bias, down, scaled, merged, places)
        return out

    return project


class _Merged(torch.autograd.Function):
    """h (W + U D)^T + b with gradients for h, U [m, d, r] and D [1 or m, r, d], W frozen.

    The change is written into a copy of the weight, which costs 2 d^2 r operations a target where
    a branch on N tokens costs 4 N d r and passes over the output. The gradient of W, that of U D,
    is never formed: g^T h D^T is g^T (h D^T).
    """

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        merged: Tensor,
        places: Sequence[int],
    ) -> Tensor:
        frozen, changed = (m.view(3, -1, m.shape[1]) for m in (weight, merged))
        for i, place in enumerate(places):
            torch.addmm(frozen[place], up[i], down[min(i, len(down) - 1)], out=changed[place])
        out = F.linear(h, merged, bias)
        ctx.save_for_backward(h, down, up)
        ctx.merged, ctx.places = merged, places
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        h, down, up = ctx.saved_tensors
        grad_down = None
        # Autocast is off in backward passes: mixed precision continues as it began.
        with torch.autocast(grad.device.type, grad.dtype, enabled=grad.dtype == torch.bfloat16):
            grad_h = grad @ ctx.merged if ctx.needs_input_grad[0] else None
            rows, h = grad.flatten(0, 1), h.flatten(0, 1)
            hidden = F.linear(h, down.flatten(0, 1)).view(len(h), len(down), -1)
            parts = [rows.chunk(3, dim=1)[place] for place in ctx.places]
            last = len(down) - 1
            grad_up = torch.stack([p.T @ hidden[:, min(i, last)] for i, p in enumerate(parts)])
            if ctx.needs_input_grad[3]:
                hidden_grads = [part @ u for part, u in zip(parts, up, strict=True)]
                grad_down = torch.stack([g.T @ h for g in hidden_grads])
        return grad_h, None, None, grad_down, grad_up, None, None


class _Overlap(torch.autograd.Function):
    """sum of S o (U D)^2 for S [m, d, d], U [m, d, r], D [m, r, d], differentiable in U and D.

    With T = S o (U D), one pass over a dense product, the gradients are 2 T D^T and 2 U^T T, and
    the value itself is the inner product of U and T D^T: it is quadratic in U.
    """

    @staticmethod
    def forward(ctx: Any, squares: Tensor, up: Tensor, down: Tensor) -> Tensor:
        with torch.autocast(squares.device.type, enabled=False):
            slope = torch.bmm(up, down).mul_(squares)
            grad_up, grad_down = torch.bmm(slope, down.mT), torch.bmm(up.mT, slope)
            ctx.save_for_backward(grad_up, grad_down)
            return torch.dot(up.flatten(), grad_up.flatten())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        grad_up, grad_down = ctx.saved_tensors
        return None, 2 * grad * grad_up, 2 * grad * grad_down


# -- adapters -------------------------------------------------------------------------------------


def adapter_floor(start: Start, msa: str, mlp: str, average: float | None = None) -> Floor:
    """Adapters ("conv", "linear" or "none") beside the sub-layers of the first blocks.

    average: decay of a moving average of them.
    """
    subs = [sub for sub, kind in (("msa", msa), ("mlp", mlp)) if kind != "none"]
    beside: dict[tuple[int, str], Beside] = {}
    for i in range(start.count("online")):
        beside[i // len(subs), subs[i % len(subs)]] = _adapter(start, f"online.{i}")
    return Floor(start, lambda x: (start.net.tokens(x, beside=beside)[:, 0], None), average)


def _adapter(start: Start, name: str) -> Beside:
    """S (W2 g(W1 h + b1) + b2), where g is gelu or dropout(phi(conv(phi))).

    For the convolution the class token is an image of one pixel.
    """
    w1, b1, w2, b2, scale = (
        start[f"{name}.{part}"]
        for part in ("down.weight", "down.bias", "up.weight", "up.bias", "scale")
    )
    kernel, bias = start.get(f"{name}.conv.weight"), start.get(f"{name}.conv.bias")

    def beside(h: Tensor) -> Extra:
        z = F.linear(h, w1, b1)
        if kernel is None:
            z = F.gelu(z)
        else:
            z = F.dropout(_phi(_convolved(_phi(z), kernel, bias)), start.config.dropout)
        return Extra(z.flatten(0, 1), scale * w2, scale * b2)

    return beside


def _convolved(z: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
    middle, side = kernel.shape[-1] // 2, math.isqrt(z.shape[1] - 1)
    grid = z[:, 1:].transpose(1, 2).unflatten(2, (side, side))
    patches = F.conv2d(grid, kernel, bias, padding=middle).flatten(2).transpose(1, 2)
    token = F.linear(z[:, :1], kernel[:, :, middle, middle], bias)
    return torch.cat([token, patches], dim=1)


def _phi(z: Tensor) -> Tensor:
    return z * torch.sigmoid(1.702 * z)


def lae_floor(start: Start) -> Floor:
    """Every kind of module of LAE; TIES merges once a task and has no moving average."""
    config, average = start.config, getattr(start.config, "ema", None)
    if start.method.startswith("lae_conv"):
        return adapter_floor(start, config.msa, config.mlp, average)
    if config.pet == "adapter":
        return adapter_floor(start, "linear", "none", average)
    if config.pet == "prefix":
        return scaled_prefix_floor(start, average)
    return lora_floor(start, "online", average=average)


# -- prompts -------------------------------------------------------------------------------------


def token_pool_floor(start: Start) -> Floor:
    """L2P: the chosen prompts are input tokens, the head reads their mean output."""
    config, net, keys, prompts = start.config, start.net, start["keys"], start["prompts"]

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        similarity = _cosine(net.query(images), keys)
        chosen = similarity.topk(config.top_k, dim=1).indices
        if config.batch_vote:
            chosen = _vote(chosen, config.pool)
        tokens = _gather(prompts, chosen).flatten(1, 2)
        out = net.tokens(images, prompts=tokens)[:, : tokens.shape[1]]
        closeness = similarity.gather(1, chosen).sum(dim=1).mean()
        return out.mean(dim=1), -config.pull * closeness

    return Floor(start, features)


def prefix_pool_floor(start: Start) -> Floor:
    """L2P++: the chosen prompts are prefixes of their blocks."""
    config, net, keys, prompts = start.config, start.net, start["keys"], start["prompts"]

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        query, prefixes, distances = net.query(images), {}, []
        for i, layer in enumerate(config.layers):
            similarity = _cosine(query, keys[i])
            chosen = similarity.topk(config.top_k, dim=1).indices
            k, v = _halves(_gather(prompts[i], chosen))
            prefixes[layer] = k.flatten(1, 2), v.flatten(1, 2)
            if config.key_loss == "cross":  # every query pulls what any image has chosen
                picks = torch.zeros_like(similarity).scatter_(1, chosen, 1.0).sum(dim=0)
                distances.append((picks * (1 - similarity)).sum())
            else:
                distances.append((1 - similarity.gather(1, chosen)).sum())
        extra = config.key_weight * torch.stack(distances).sum()
        return net.tokens(images, prefixes=prefixes)[:, 0], extra

    return Floor(start, features)


def dual_floor(start: Start) -> Floor:
    """DualPrompt: general prefixes, the task's experts, keys pulled to the queries."""
    config, net, general = start.config, start.net, start["general"]
    expert, keys = (start[f"{name}.{start.task.index}"] for name in ("experts", "keys"))

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        query = net.query(images)
        weight = config.key_weight * (len(query) if config.key_loss == "cross" else 1)
        extra = weight * (1 - _cosine(query, keys)).sum()
        prefixes: dict[int, Prefix] = {}
        for layer, prompt in [
            *zip(config.general_layers, general, strict=True),
            *zip(config.layers, expert, strict=True),
        ]:
            k, v = _halves(prompt[None])
            if layer in prefixes:  # of both kinds
                before = prefixes[layer]
                k, v = torch.cat([before[0], k], dim=1), torch.cat([before[1], v], dim=1)
            prefixes[layer] = k, v
        return net.tokens(images, prefixes=prefixes)[:, 0], extra

    return Floor(start, features)


def coda_floor(start: Start) -> Floor:
    """CODA-P: prefixes are weighted sums of the new components and all frozen ones."""
    config, net = start.config, start.net
    names, tasks = ("prompts", "keys", "attention"), range(start.task.index + 1)

    def features(images: Tensor) -> tuple[Tensor, Tensor | None]:
        query = net.query(images)
        parts = [torch.cat([start[f"{name}.{t}"] for t in tasks], dim=1) for name in names]
        prompts, keys, attention = parts
        with _full_precision(query):
            # cos(q * A, K) = q . (A * K / |K|) / |q * A|
            dots = query @ (attention * F.normalize(keys, dim=-1)).mT
            weights = dots / (query.square() @ attention.square().mT).sqrt()
            assembled = (weights @ prompts.flatten(2)).unflatten(2, prompts.shape[2:])
        prefixes = {b: _halves(assembled[i]) for i, b in enumerate(config.layers)}
        extra = None
        if config.ortho_weight > 0:
            extra = (
                config.ortho_weight * torch.stack([_far_from_orthogonal(p) for p in parts]).sum()
            )
        return net.tokens(images, prefixes=prefixes)[:, 0], extra

    return Floor(start, features)


def scaled_prefix_floor(start: Start, average: float | None = None) -> Floor:
    """LAE's prefixes, with a scale on keys and on values; average: decay of a moving average."""
    names = [f"online.{b}" for b in range(start.count("online"))]
    parts = ("keys", "key_scale", "values", "value_scale")
    tensors = [[start[f"{name}.{part}"] for part in parts] for name in names]

    def features(images: Tensor) -> tuple[Tensor, None]:
        prefixes = {b: ((s * k)[None], (r * v)[None]) for b, (k, s, v, r) in enumerate(tensors)}
        return start.net.tokens(images, prefixes=prefixes, compensated=True)[:, 0], None

    return Floor(start, features, average)


def _full_precision(like: Tensor) -> torch.autocast:
    """In bfloat16 nearly equal similarities would change places."""
    return torch.autocast(like.device.type, enabled=False)


def _cosine(query: Tensor, keys: Tensor) -> Tensor:
    with _full_precision(query):
        return F.normalize(query, dim=-1) @ F.normalize(keys, dim=-1).mT


def _gather(prompts: Tensor, chosen: Tensor) -> Tensor:
    """Prompts [M, L, d] and choices [B, k] -> [B, k, L, d]."""
    return F.embedding(chosen, prompts.flatten(1)).view(*chosen.shape, *prompts.shape[1:])


def _halves(prompt: Tensor) -> Prefix:
    """[..., L, d] as keys and values of half the length."""
    half = prompt.shape[-2] // 2
    return prompt[..., :half, :], prompt[..., half:, :]


def _vote(chosen: Tensor, pool: int) -> Tensor:
    """The k prompts most often chosen, for all images; where there are fewer, the smallest."""
    counts = torch.bincount(chosen.flatten(), minlength=pool)
    order = counts.argsort(descending=True, stable=True)[: chosen.shape[1]]
    return torch.where(counts[order] > 0, order, chosen.min()).expand(len(chosen), -1)


def _far_from_orthogonal(part: Tensor) -> Tensor:
    rows = part.flatten(2)
    with _full_precision(rows):
        gram = rows @ rows.mT
        identity = torch.eye(rows.shape[1], dtype=gram.dtype, device=gram.device)
        return (gram - identity).square().mean(dim=(1, 2)).sum()
