"""A training step written out: the forward pass of a plain ViT, the loss, Adam, an average."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.method import Method, Task

Projection = Callable[[Tensor, Tensor, Tensor], Tensor]
Prefix = tuple[Tensor, Tensor]
# Images [B, 3, H, W] -> features [B, d] for the head, and what is added to the cross-entropy.
Features = Callable[[Tensor], tuple[Tensor, Tensor | None]]


class Extra(NamedTuple):
    """What is added to a sub-layer's output: rows [B * N, h] weight [d, h]^T + bias [d]."""

    rows: Tensor
    weight: Tensor
    bias: Tensor


Beside = Callable[[Tensor], Extra]


def not_plain(vit: VisionTransformer) -> str:
    """What a ViT has, or lacks, that `Network` does not know; empty for a plain one."""
    parts = ["attn.qkv", "attn.proj", "norm1", "norm2", "mlp.fc1", "mlp.fc2"]
    parts = [f"blocks.{b}.{part}" for b in range(len(vit.blocks)) for part in parts]
    weights = {f"{part}.weight" for part in ("patch_embed.proj", "norm", *parts)}
    weights |= {"cls_token", "pos_embed"}
    parameters = {_plain_name(name): p for name, p in vit.named_parameters()}
    biases = {f"{name.removesuffix('.weight')}.bias" for name in weights}
    if odd := sorted(weights - parameters.keys()) + sorted(parameters.keys() - weights - biases):
        return odd[0]
    if parameters["pos_embed"].shape[1] != vit.patch_embed.num_patches + 1 or vit.no_embed_class:
        return "pos_embed"
    if vit.global_pool != "token" or vit.dynamic_img_size:
        return f"global_pool {vit.global_pool}, dynamic_img_size {vit.dynamic_img_size}"
    for name, module in vit.named_modules():
        if name.endswith("mlp.act") and repr(module) != repr(nn.GELU()):
            return f"{name} {module}"
        if isinstance(module, nn.Dropout) and module.p > 0:
            return f"{name} {module}"
        if name.endswith(("drop_path1", "drop_path2")) and not isinstance(module, nn.Identity):
            return f"{name} {module}"
    return ""


class Network:
    """A plain timm ViT's tensors, and how images go through them.

    All tokens pass all blocks, as in timm's model. (As only the class token is read at the end,
    the last block could do without most of its work. That would be another backbone.)
    """

    def __init__(self, vit: VisionTransformer, tensors: Mapping[str, Tensor] | None = None) -> None:
        tensors = dict(vit.named_parameters()) if tensors is None else tensors
        self.of = {_plain_name(name): tensor for name, tensor in tensors.items()}
        self.eps = {n: m.eps for n, m in vit.named_modules() if isinstance(m, nn.LayerNorm)}
        self.depth, self.width = len(vit.blocks), vit.embed_dim
        first: Any = vit.blocks[0]
        self.heads = int(first.attn.num_heads)
        self.stride = vit.patch_embed.patch_size

    def tokens(
        self,
        images: Tensor,
        projections: Mapping[int, Projection] | None = None,
        beside: Mapping[tuple[int, str], Beside] | None = None,
        prefixes: Mapping[int, Prefix] | None = None,
        compensated: bool = False,
        prompts: Tensor | None = None,
    ) -> Tensor:
        """All tokens after the final norm, [B, N, d].

        projections: by block, what stands in for F.linear(h, weight, bias) with the weights of
        qkv; beside: by block and "msa" or "mlp", what of the sub-layer's input h [B, N, d] is added
        to its output; prefixes: by block, keys and values [B or 1, n, d], `compensated` as LAE has
        them; prompts: tokens [B, n, d] put first.
        """
        projections, beside, prefixes = projections or {}, beside or {}, prefixes or {}
        w = self.of
        x = F.conv2d(
            images, w["patch_embed.proj.weight"], w.get("patch_embed.proj.bias"), self.stride
        )
        x = x.flatten(2).transpose(1, 2)
        x = torch.cat([w["cls_token"].expand(len(x), -1, -1), x], dim=1) + w["pos_embed"]
        if prompts is not None:
            x = torch.cat([prompts.to(x.dtype), x], dim=1)
        for b in range(self.depth):
            block = f"blocks.{b}"
            h = self._norm(x, f"{block}.norm1")
            project, name = projections.get(b, F.linear), f"{block}.attn.qkv"
            qkv = project(h, w[f"{name}.weight"], w.get(f"{name}.bias"))  # type: ignore[arg-type]
            a = self._attention(qkv, prefixes.get(b), compensated)
            x = x + self._linear(a, f"{block}.attn.proj", h, beside.get((b, "msa")))
            h = self._norm(x, f"{block}.norm2")
            m = F.gelu(self._linear(h, f"{block}.mlp.fc1"))
            x = x + self._linear(m, f"{block}.mlp.fc2", h, beside.get((b, "mlp")))
        return self._norm(x, "norm")

    def query(self, images: Tensor) -> Tensor:
        """The class token without anything added and without gradient."""
        with torch.no_grad():
            return self.tokens(images)[:, 0]

    def _attention(self, qkv: Tensor, prefix: Prefix | None, compensated: bool) -> Tensor:
        """Attention [B, N, d] over qkv [B, N, 3 d] and a prefix.

        compensated: the prefix's weights sum to one, apart from the tokens', which are those of
        the joint softmax: in that one, prefix values count as zero.
        """
        batch, count, _ = qkv.shape
        q, k, v = qkv.view(batch, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        if prefix is None:
            a = F.scaled_dot_product_attention(q, k, v)
        else:
            keys, values = (self._by_head(part.to(q.dtype), batch) for part in prefix)
            joint = torch.zeros_like(values) if compensated else values
            a = F.scaled_dot_product_attention(
                q, torch.cat([keys, k], dim=2), torch.cat([joint, v], dim=2)
            )
            if compensated:
                a = a + F.scaled_dot_product_attention(q, keys, values)
        return a.transpose(1, 2).reshape(batch, count, -1)

    def _by_head(self, part: Tensor, batch: int) -> Tensor:
        split = part.reshape(*part.shape[:2], self.heads, -1).transpose(1, 2)
        return split.expand(batch, -1, -1, -1)

    def _linear(
        self, x: Tensor, name: str, given: Tensor | None = None, beside: Beside | None = None
    ) -> Tensor:
        weight, bias = self.of[f"{name}.weight"], self.of.get(f"{name}.bias")
        if beside is None or given is None:
            return F.linear(x, weight, bias)
        extra = beside(given)
        bias = extra.bias if bias is None else bias + extra.bias
        out = torch.addmm(bias, x.flatten(0, 1), weight.T)
        # In place: what is added takes no pass over the tokens of its own.
        out.addmm_(extra.rows.to(out.dtype), extra.weight.to(out.dtype).T)
        return out.view(*x.shape[:2], -1)

    def _norm(self, x: Tensor, name: str) -> Tensor:
        weight, bias = self.of[f"{name}.weight"], self.of.get(f"{name}.bias")
        return F.layer_norm(x, weight.shape, weight, bias, self.eps[name])


def _plain_name(name: str) -> str:
    """A parameter's name in an unmodified ViT: some methods wrap the qkv projection."""
    return name.replace(".qkv.linear.", ".qkv.")


class Start:
    """Where a floor starts from: a method's tensors by name, its settings, the task in training.

    `start[name]` is a tensor of the method: a copy, if it is trained, otherwise the tensor itself,
    which no floor writes to. `start.net` is the backbone, made of such tensors.
    """

    def __init__(self, method: Method, task: Task) -> None:
        self.method = method.name
        self.config: Any = method.config
        self.task = task
        self.trained: dict[str, Tensor] = {}
        self._tensors: dict[str, Tensor] = dict(method.named_buffers())
        for name, p in method.named_parameters():
            self._tensors[name] = p.detach()
            if p.requires_grad:
                self._tensors[name] = self.trained[name] = p.detach().clone().requires_grad_()
        start = "backbone."
        vit = {n.removeprefix(start): t for n, t in self._tensors.items() if n.startswith(start)}
        self.net = Network(method.backbone, vit)
        self.head = f"heads.{len(method.heads) - 1}"
        self.offline = any(name.startswith("offline.") for name in self._tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def get(self, name: str) -> Tensor | None:
        """The tensor of this name, or None where the method has none."""
        return self._tensors.get(name)

    def count(self, name: str) -> int:
        """How many entries a list of the method has: `name.0`, `name.1`, ..."""
        numbers = (key.split(".") for key in self._tensors)
        return len({n[1] for n in numbers if n[0] == name and len(n) > 1})


class Floor:
    """One training step on a batch.

    trained: the tensors it trains, under the names of the method's. averaged: those that follow
    them, as copies, if there is a moving average.
    """

    def __init__(self, start: Start, features: Features, average: float | None = None) -> None:
        self.trained, self._features, self._decay = start.trained, features, average
        self._first = start.task.classes.start
        self._head = start[f"{start.head}.weight"], start[f"{start.head}.bias"]
        self._optimizer = torch.optim.Adam(self.trained.values(), lr=1e-4, fused=True)
        self.averaged: dict[str, Tensor] = {}
        self._followed: list[Tensor] = []
        if average is not None and start.offline:
            for name, p in self.trained.items():
                if name.startswith("online."):
                    offline = name.replace("online.", "offline.", 1)
                    self.averaged[offline] = start[offline].clone()
                    self._followed.append(p.detach())

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy over the task's classes, plus what the method adds."""
        features, extra = self._features(images)
        loss = F.cross_entropy(F.linear(features, *self._head), labels - self._first)
        return loss if extra is None else loss + extra

    def step(self, images: Tensor, labels: Tensor, autocast: Any = None) -> Tensor:
        """One step; gives the loss before it, detached, still on the device.

        autocast: context of the forward pass, for mixed precision.
        """
        with autocast or nullcontext():
            loss = self.loss(images, labels)
        self._optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self._optimizer.step()
        if self._decay is not None and self.averaged:
            with torch.no_grad():
                torch._foreach_lerp_(list(self.averaged.values()), self._followed, 1 - self._decay)
        return loss.detach()
