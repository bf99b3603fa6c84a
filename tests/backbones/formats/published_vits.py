"""Small ViTs as their authors define them, with the names that their files have.

Written from the papers and the released definitions, to be independent of timm and of clbench. All
parameters are random, those of the embeddings small: the constant in the norms then counts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTH, HEADS, DEPTH, PATCH, SIDE = 48, 4, 3, 4, 3
IMAGE = PATCH * SIDE


def randomise(model: nn.Module, seed: int = 0) -> None:
    """Random parameters, no two layers alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            small = any(word in name for word in ("embed", "token", "conv1", "probe"))
            size = 1e-3 if small else 0.3
            shift = 1.0 if name.endswith("weight") and parameter.ndim == 1 else 0.0
            parameter.copy_(size * torch.randn(parameter.shape, generator=generator) + shift)


def images(count: int = 2) -> Tensor:
    return torch.rand(count, 3, IMAGE, IMAGE, generator=torch.Generator().manual_seed(1))


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Softmax attention of [B, N, W], head by head."""
    width = q.shape[-1] // heads
    parts = []
    for head in range(heads):
        own = slice(head * width, (head + 1) * width)
        scores = q[..., own] @ k[..., own].transpose(1, 2) / width**0.5
        parts.append(scores.softmax(-1) @ v[..., own])
    return torch.cat(parts, -1)


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(1.702 * x)


# -- names of DeiT, DINO, MoCo v3, MAE and DINOv2 ------------------------------------------------


class Patches(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, PATCH)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(x).flatten(2).transpose(1, 2)


class FusedAttention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.proj(attend(*self.qkv(x).chunk(3, -1), self.heads))


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class SwiGlu(nn.Module):
    """The gated MLP of DINOv2's giant: gate and value come from one layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = (int(4 * width * 2 / 3) + 7) // 8 * 8
        self.w12, self.w3 = nn.Linear(width, 2 * hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.w12(x).chunk(2, -1)
        return self.w3(F.silu(gate) * value)


class Scale(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class Block(nn.Module):
    def __init__(self, width: int, heads: int, *, scaled: bool, gated: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(width, eps=1e-6) for _ in range(2))
        self.attn = FusedAttention(width, heads)
        self.mlp = SwiGlu(width) if gated else Mlp(width)
        if scaled:
            self.ls1, self.ls2 = Scale(width), Scale(width)
        self.scaled = scaled

    def forward(self, x: Tensor) -> Tensor:
        y = self.attn(self.norm1(x))
        x = x + (self.ls1(y) if self.scaled else y)
        y = self.mlp(self.norm2(x))
        return x + (self.ls2(y) if self.scaled else y)


class Vit(nn.Module):
    """A ViT with the names of DeiT, and of what followed it."""

    def __init__(
        self,
        width: int = WIDTH,
        heads: int = HEADS,
        depth: int = DEPTH,
        *,
        registers: int = 0,
        distilled: bool = False,
        scaled: bool = False,
        gated: bool = False,
    ) -> None:
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        if distilled:
            self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        if registers:
            self.register_tokens = nn.Parameter(torch.zeros(1, registers, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, SIDE**2 + 1 + distilled, width))
        self.patch_embed = Patches(width)
        self.blocks = nn.ModuleList(
            Block(width, heads, scaled=scaled, gated=gated) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.registers, self.distilled = registers, distilled
        randomise(self)

    def forward(self, x: Tensor) -> Tensor:
        """The class token after the last norm; the mean with the distillation token where there."""
        first = [self.cls_token, *([self.dist_token] if self.distilled else [])]
        x = torch.cat([*(t.expand(len(x), -1, -1) for t in first), self.patch_embed(x)], 1)
        x = x + self.pos_embed
        if self.registers:  # after the positions, behind the class token
            tokens = self.register_tokens.expand(len(x), -1, -1)
            x = torch.cat([x[:, :1], tokens, x[:, 1:]], 1)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        return (x[:, 0] + x[:, 1]) / 2 if self.distilled else x[:, 0]


# -- names of Hugging Face -----------------------------------------------------------------------


def _module(**parts: nn.Module) -> nn.Module:
    """A module that only holds others under these names; `__` stands for a dot."""
    found = nn.Module()
    for name, part in parts.items():
        *path, last = name.split("__")
        here = found
        for step in path:
            if not hasattr(here, step):
                here.add_module(step, nn.Module())
            here = getattr(here, step)
        here.add_module(last, part)
    return found


class HuggingFaceVit(nn.Module):
    """ViT, DeiT and MAE of transformers."""

    def __init__(
        self, *, distilled: bool = False, class_token: bool = True, eps: float = 1e-12
    ) -> None:
        super().__init__()
        self.embeddings = _module(patch_embeddings__projection=nn.Conv2d(3, WIDTH, PATCH, PATCH))
        count = SIDE**2 + class_token + distilled
        if class_token:
            self.embeddings.cls_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        if distilled:
            self.embeddings.distillation_token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.embeddings.position_embeddings = nn.Parameter(torch.zeros(1, count, WIDTH))
        self.encoder = _module(
            layer=nn.ModuleList(
                _module(
                    layernorm_before=nn.LayerNorm(WIDTH),
                    layernorm_after=nn.LayerNorm(WIDTH),
                    attention__attention__query=nn.Linear(WIDTH, WIDTH),
                    attention__attention__key=nn.Linear(WIDTH, WIDTH),
                    attention__attention__value=nn.Linear(WIDTH, WIDTH),
                    attention__output__dense=nn.Linear(WIDTH, WIDTH),
                    intermediate__dense=nn.Linear(WIDTH, 4 * WIDTH),
                    output__dense=nn.Linear(4 * WIDTH, WIDTH),
                )
                for _ in range(DEPTH)
            )
        )
        self.layernorm = nn.LayerNorm(WIDTH)
        self.pooler = _module(dense=nn.Linear(WIDTH, WIDTH))
        self.eps = eps
        randomise(self)

    def _norm(self, norm: nn.LayerNorm, x: Tensor) -> Tensor:
        return F.layer_norm(x, (WIDTH,), norm.weight, norm.bias, self.eps)

    def forward(self, x: Tensor) -> Tensor:
        e = self.embeddings
        x = e.patch_embeddings.projection(x).flatten(2).transpose(1, 2)
        tokens = [getattr(e, n, None) for n in ("cls_token", "distillation_token")]
        there = [t.expand(len(x), -1, -1) for t in tokens if t is not None]
        x = torch.cat([*there, x], 1) + e.position_embeddings
        for layer in self.encoder.layer:
            inner = layer.attention.attention
            y = self._norm(layer.layernorm_before, x)
            y = attend(inner.query(y), inner.key(y), inner.value(y), HEADS)
            x = x + layer.attention.output.dense(y)
            y = layer.intermediate.dense(self._norm(layer.layernorm_after, x))
            x = x + layer.output.dense(F.gelu(y))
        x = self._norm(self.layernorm, x)
        return x[:, : len(there)].mean(1) if there else x.mean(1)


class HuggingFaceDinov2(nn.Module):
    """DINOv2 of transformers, with or without registers."""

    def __init__(self, *, registers: int = 0, gated: bool = False) -> None:
        super().__init__()
        self.embeddings = _module(patch_embeddings__projection=nn.Conv2d(3, WIDTH, PATCH, PATCH))
        for name, shape in {
            "cls_token": (1, 1, WIDTH),
            "mask_token": (1, WIDTH),
            "position_embeddings": (1, 1 + SIDE**2, WIDTH),
            **({"register_tokens": (1, registers, WIDTH)} if registers else {}),
        }.items():
            setattr(self.embeddings, name, nn.Parameter(torch.zeros(shape)))
        hidden = 128
        first, second = ("weights_in", "weights_out") if gated else ("fc1", "fc2")
        layers = []
        for _ in range(DEPTH):
            layer = _module(
                norm1=nn.LayerNorm(WIDTH),
                norm2=nn.LayerNorm(WIDTH),
                attention__attention__query=nn.Linear(WIDTH, WIDTH),
                attention__attention__key=nn.Linear(WIDTH, WIDTH),
                attention__attention__value=nn.Linear(WIDTH, WIDTH),
                attention__output__dense=nn.Linear(WIDTH, WIDTH),
                layer_scale1=nn.Module(),
                layer_scale2=nn.Module(),
                **{
                    f"mlp__{first}": nn.Linear(WIDTH, 2 * hidden if gated else hidden),
                    f"mlp__{second}": nn.Linear(hidden, WIDTH),
                },
            )
            for scale in (layer.layer_scale1, layer.layer_scale2):
                scale.lambda1 = nn.Parameter(torch.ones(WIDTH))
            layers.append(layer)
        self.encoder = _module(layer=nn.ModuleList(layers))
        self.layernorm = nn.LayerNorm(WIDTH)
        self.registers, self.gated = registers, gated
        randomise(self)

    def forward(self, x: Tensor) -> Tensor:
        def norm(layer: nn.LayerNorm, x: Tensor) -> Tensor:
            return F.layer_norm(x, (WIDTH,), layer.weight, layer.bias, 1e-6)

        e = self.embeddings
        x = e.patch_embeddings.projection(x).flatten(2).transpose(1, 2)
        x = torch.cat([e.cls_token.expand(len(x), -1, -1), x], 1) + e.position_embeddings
        if self.registers:
            tokens = e.register_tokens.expand(len(x), -1, -1)
            x = torch.cat([x[:, :1], tokens, x[:, 1:]], 1)
        for layer in self.encoder.layer:
            inner = layer.attention.attention
            y = norm(layer.norm1, x)
            y = attend(inner.query(y), inner.key(y), inner.value(y), HEADS)
            x = x + layer.attention.output.dense(y) * layer.layer_scale1.lambda1
            y = norm(layer.norm2, x)
            if self.gated:
                gate, value = layer.mlp.weights_in(y).chunk(2, -1)
                y = layer.mlp.weights_out(F.silu(gate) * value)
            else:
                y = layer.mlp.fc2(F.gelu(layer.mlp.fc1(y)))
            x = x + y * layer.layer_scale2.lambda1
        return norm(self.layernorm, x)[:, 0]


class HuggingFaceClip(nn.Module):
    """The image encoder of CLIP in transformers."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.embeddings = _module(
            patch_embedding=nn.Conv2d(3, WIDTH, PATCH, PATCH, bias=False),
            position_embedding=nn.Embedding(1 + SIDE**2, WIDTH),
        )
        self.embeddings.class_embedding = nn.Parameter(torch.zeros(WIDTH))
        self.embeddings.register_buffer("position_ids", torch.arange(1 + SIDE**2)[None])
        self.pre_layrnorm = nn.LayerNorm(WIDTH, eps=1e-5)
        self.encoder = _module(
            layers=nn.ModuleList(
                _module(
                    layer_norm1=nn.LayerNorm(WIDTH, eps=1e-5),
                    layer_norm2=nn.LayerNorm(WIDTH, eps=1e-5),
                    self_attn__k_proj=nn.Linear(WIDTH, WIDTH),
                    self_attn__v_proj=nn.Linear(WIDTH, WIDTH),
                    self_attn__q_proj=nn.Linear(WIDTH, WIDTH),
                    self_attn__out_proj=nn.Linear(WIDTH, WIDTH),
                    mlp__fc1=nn.Linear(WIDTH, 4 * WIDTH),
                    mlp__fc2=nn.Linear(4 * WIDTH, WIDTH),
                )
                for _ in range(DEPTH)
            )
        )
        self.post_layernorm = nn.LayerNorm(WIDTH, eps=1e-5)
        self.activation = activation
        randomise(self)

    def forward(self, x: Tensor) -> Tensor:
        e = self.embeddings
        x = e.patch_embedding(x).flatten(2).transpose(1, 2)
        x = torch.cat([e.class_embedding.expand(len(x), 1, -1), x], 1)
        x = self.pre_layrnorm(x + e.position_embedding(e.position_ids))
        return self.post_layernorm(self.layers(x)[:, 0])

    def layers(self, x: Tensor) -> Tensor:
        for layer in self.encoder.layers:
            inner, y = layer.self_attn, layer.layer_norm1(x)
            y = attend(inner.q_proj(y), inner.k_proj(y), inner.v_proj(y), HEADS)
            x = x + inner.out_proj(y)
            y = layer.mlp.fc1(layer.layer_norm2(x))
            x = x + layer.mlp.fc2(self.activation(y))
        return x


class HuggingFaceSiglip(HuggingFaceClip):
    """The image encoder of SigLIP in transformers: no class token, pooling by attention."""

    def __init__(self) -> None:
        super().__init__(lambda x: F.gelu(x, approximate="tanh"))
        del self.embeddings.class_embedding, self.embeddings.position_ids, self.pre_layrnorm
        self.embeddings.patch_embedding = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.embeddings.position_embedding = nn.Embedding(SIDE**2, WIDTH)
        self.head = _module(
            attention=nn.MultiheadAttention(WIDTH, HEADS, batch_first=True),
            layernorm=nn.LayerNorm(WIDTH),
            mlp__fc1=nn.Linear(WIDTH, 4 * WIDTH),
            mlp__fc2=nn.Linear(4 * WIDTH, WIDTH),
        )
        self.head.probe = nn.Parameter(torch.zeros(1, 1, WIDTH))
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = 1e-6
        randomise(self)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embeddings.patch_embedding(x).flatten(2).transpose(1, 2)
        x = self.layers(x + self.embeddings.position_embedding.weight)
        x, head = self.post_layernorm(x), self.head
        x = head.attention(head.probe.expand(len(x), -1, -1), x, x, need_weights=False)[0]
        y = head.mlp.fc1(head.layernorm(x))
        return (x + head.mlp.fc2(self.activation(y)))[:, 0]


# -- names of CLIP -------------------------------------------------------------------------------


class ClipBlock(nn.Module):
    def __init__(self, width: int, heads: int, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mlp = _module(c_fc=nn.Linear(width, 4 * width), c_proj=nn.Linear(4 * width, width))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        y = self.ln_1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp.c_proj(self.activation(self.mlp.c_fc(self.ln_2(x))))


class Clip(nn.Module):
    """The image encoder of CLIP as OpenAI and open_clip define it."""

    def __init__(
        self,
        activation: Callable[[Tensor], Tensor] = quick_gelu,
        width: int = 128,
        heads: int = 2,
        depth: int = DEPTH,
        patch: int = PATCH,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, patch, patch, bias=False)
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.positional_embedding = nn.Parameter(torch.zeros(1 + SIDE**2, width))
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        blocks = nn.ModuleList(ClipBlock(width, heads, activation) for _ in range(depth))
        self.transformer = _module(resblocks=blocks)
        self.proj = nn.Parameter(torch.zeros(width, 16))
        randomise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Features before the projection that images and texts share."""
        x = self.conv1(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1)
        x = self.ln_pre(x + self.positional_embedding)
        for block in self.transformer.resblocks:
            x = block(x)
        return self.ln_post(x[:, 0])
