"""The forward pass of a ViT written out, and the training steps that change nothing in it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

Step = Callable[[Tensor, Tensor], None]
QkvBranch = Callable[[int, Tensor, Tensor], Tensor]
Beside = Callable[[int, str, Tensor], Tensor]


class Network:
    """A timm ViT's tensors by name, frozen unless asked for."""

    def __init__(self, vit: VisionTransformer, trained: bool = False) -> None:
        self.of = {name: p.detach().clone() for name, p in vit.named_parameters()}
        for p in self.of.values():
            p.requires_grad_(trained)
        first: Any = vit.blocks[0]
        self.depth, self.eps = len(vit.blocks), float(first.norm1.eps)
        self.heads, self.width = int(first.attn.num_heads), vit.embed_dim
        self.stride = vit.patch_embed.patch_size
        self.device = first.attn.qkv.weight.device

    def new(self, *shape: int, zero: bool = False) -> Tensor:
        """A trained tensor of its own."""
        values = torch.zeros(shape) if zero else torch.randn(shape) * self.width**-0.5
        return values.to(self.device).requires_grad_()

    def tokens(
        self,
        images: Tensor,
        qkv_branch: QkvBranch | None = None,
        beside: Beside | None = None,
        prefixes: Mapping[int, tuple[Tensor, Tensor]] | None = None,
        prompts: Tensor | None = None,
    ) -> Tensor:
        """All tokens after the final norm.

        qkv_branch(block, input, qkv) may change qkv; beside(block, "msa" | "mlp", input) is added
        to a sub-layer's output; prefixes: keys and values [B or 1, n, d] by block; prompts: tokens
        [B, n, d] put first.
        """
        w, prefixes = self.of, prefixes or {}
        x = F.conv2d(
            images, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=self.stride
        )
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x], dim=1) + w["pos_embed"]
        if prompts is not None:
            x = torch.cat([prompts, x], dim=1)
        for b in range(self.depth):
            h = self._norm(x, f"blocks.{b}.norm1")
            qkv = self._linear(h, f"blocks.{b}.attn.qkv")
            if qkv_branch is not None:
                qkv = qkv_branch(b, h, qkv)
            q, k, v = qkv.view(*qkv.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
            if b in prefixes:
                k, v = (
                    torch.cat([self._by_head(p, len(x)), own], dim=2)
                    for p, own in zip(prefixes[b], (k, v), strict=True)
                )
            a = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(x.shape)
            a = self._linear(a, f"blocks.{b}.attn.proj")
            x = x + (a if beside is None else a + beside(b, "msa", h))
            h = self._norm(x, f"blocks.{b}.norm2")
            m = F.gelu(self._linear(h, f"blocks.{b}.mlp.fc1"))
            m = self._linear(m, f"blocks.{b}.mlp.fc2")
            x = x + (m if beside is None else m + beside(b, "mlp", h))
        return self._norm(x, "norm")

    def query(self, images: Tensor) -> Tensor:
        """The class token without anything added and without gradient."""
        with torch.no_grad():
            return self.tokens(images)[:, 0]

    def _by_head(self, prefix: Tensor, batch: int) -> Tensor:
        split = prefix.view(*prefix.shape[:2], self.heads, -1).transpose(1, 2)
        return split.expand(batch, -1, -1, -1)

    def _linear(self, x: Tensor, name: str) -> Tensor:
        return F.linear(x, self.of[f"{name}.weight"], self.of[f"{name}.bias"])

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.of[f"{name}.weight"], self.of[f"{name}.bias"]
        return F.layer_norm(x, weight.shape, weight, bias, self.eps)


def make_step(
    net: Network,
    classes: int,
    trained: Iterable[Tensor],
    features: Callable[[Tensor], tuple[Tensor, Tensor | None]],
    average: tuple[float, list[Tensor], list[Tensor]] | None = None,
) -> Step:
    """Features and an extra loss, a linear head, cross-entropy, backward, Adam.

    average: decay, averaged and online tensors of an exponential moving average.
    """
    head, bias = net.new(classes, net.width), net.new(classes, zero=True)
    optimiser = torch.optim.Adam([*trained, head, bias], lr=1e-4, fused=True)

    def step(images: Tensor, labels: Tensor) -> None:
        f, extra = features(images)
        loss = F.cross_entropy(F.linear(f, head, bias), labels)
        if extra is not None:
            loss = loss + extra
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        if average is not None:
            decay, averaged, online = average
            with torch.no_grad():
                torch._foreach_lerp_(averaged, online, 1 - decay)

    return step


def plain_step(vit: VisionTransformer, classes: int) -> Step:
    """Every weight of the backbone is trained."""
    net = Network(vit, trained=True)
    return make_step(net, classes, net.of.values(), lambda x: (net.tokens(x)[:, 0], None))


def head_step(vit: VisionTransformer, classes: int) -> Step:
    """Only a linear head, on frozen features."""
    net = Network(vit)
    return make_step(net, classes, [], lambda x: (net.query(x), None))
