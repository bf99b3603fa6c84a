"""Floors of the prompt methods: one query pass without gradient, one prompted pass."""

from __future__ import annotations

from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from benchmark.speed.floors.vit import Network, Step, make_step


def _cosine(query: Tensor, keys: Tensor) -> Tensor:
    return F.normalize(query, dim=-1) @ F.normalize(keys, dim=-1).mT


def _halves(prompt: Tensor) -> tuple[Tensor, Tensor]:
    """[B, L, d] as keys and values of half the length."""
    half = prompt.shape[-2] // 2
    return prompt[..., :half, :], prompt[..., half:, :]


def token_pool_step(vit: VisionTransformer, classes: int, config: Any) -> Step:
    """L2P: the chosen prompts are input tokens, the head reads their mean output."""
    net = Network(vit)
    prompts = net.new(config.pool, config.length, net.width)
    keys = net.new(config.pool, net.width)

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        similarity = _cosine(net.query(images), keys)
        best, chosen = similarity.topk(config.top_k, dim=1)
        tokens = prompts[chosen].flatten(1, 2)
        out = net.tokens(images, prompts=tokens)[:, : tokens.shape[1]]
        return out.mean(dim=1), -config.pull * best.sum(dim=1).mean()

    return make_step(net, classes, [prompts, keys], features)


def prefix_pool_step(vit: VisionTransformer, classes: int, config: Any) -> Step:
    """L2P++: the chosen prompts are prefixes of their blocks."""
    net = Network(vit)
    prompts = net.new(len(config.layers), config.pool, config.length, net.width)
    keys = net.new(len(config.layers), config.pool, net.width)

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        query, prefixes = net.query(images), {}
        extra = query.new_zeros(())
        for i, layer in enumerate(config.layers):
            similarity = _cosine(query, keys[i])
            chosen = similarity.topk(config.top_k, dim=1)[1]
            k, v = _halves(prompts[i][chosen])
            prefixes[layer] = (k.flatten(1, 2), v.flatten(1, 2))
            picks = torch.zeros_like(similarity).scatter_(1, chosen, 1.0).sum(0)
            extra = extra + (picks * (1 - similarity)).sum()
        return net.tokens(images, prefixes=prefixes)[:, 0], extra

    return make_step(net, classes, [prompts, keys], features)


def dual_step(vit: VisionTransformer, classes: int, config: Any) -> Step:
    """DualPrompt: general prefixes, the task's experts, keys pulled to the queries."""
    net = Network(vit)
    general = net.new(len(config.general_layers), config.general_length, net.width)
    experts = net.new(len(config.layers), config.length, net.width)
    keys = net.new(len(config.layers), net.width)

    def features(images: Tensor) -> tuple[Tensor, Tensor]:
        extra = (1 - _cosine(net.query(images), keys)).sum()
        prompts = dict(zip(config.general_layers, general, strict=True))
        prompts |= dict(zip(config.layers, experts, strict=True))
        prefixes = {layer: _halves(prompt[None]) for layer, prompt in prompts.items()}
        return net.tokens(images, prefixes=prefixes)[:, 0], extra

    return make_step(net, classes, [general, experts, keys], features)


def coda_step(vit: VisionTransformer, classes: int, config: Any) -> Step:
    """CODA-P in the second of ten tasks: new components beside as many frozen ones."""
    net = Network(vit)
    layers, count = len(config.layers), config.components // 10

    def pair(*shape: int) -> tuple[Tensor, Tensor]:
        return net.new(layers, count, *shape).requires_grad_(False), net.new(layers, count, *shape)

    parts = [pair(config.length, net.width), pair(net.width), pair(net.width)]

    def features(images: Tensor) -> tuple[Tensor, None]:
        query = net.query(images)
        prompts, keys, attention = (torch.cat(part, dim=1) for part in parts)
        # cos(q * A, K) = q . (A * K / |K|) / |q * A|
        dots = query @ (attention * F.normalize(keys, dim=-1)).mT
        weights = dots / (query.square() @ attention.square().mT).sqrt()
        assembled = (weights @ prompts.flatten(2)).unflatten(2, prompts.shape[2:])
        prefixes = {b: _halves(assembled[i]) for i, b in enumerate(config.layers)}
        return net.tokens(images, prefixes=prefixes)[:, 0], None

    return make_step(net, classes, [part[1] for part in parts], features)
