"""Floors of the methods with prompts: one query pass without gradient, one prompted pass."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.workshop.speed.floors.floor import Floor, Start
from benchmark.workshop.speed.floors.vit import Prefix


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
