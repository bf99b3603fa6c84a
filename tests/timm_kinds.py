"""Small models of every kind of Vision Transformer in timm, and attention written out."""

from __future__ import annotations

import pickle
from functools import cache, partial
from typing import Any

import timm
import torch
from torch import Tensor, nn

WIDTH, HEADS, DEPTH, SIDE, PATCH = 24, 3, 2, 16, 8
_SMALL = {
    "embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS, "img_size": SIDE, "patch_size": PATCH,
    "num_classes": 0,
}  # fmt: skip
DIFFERENCE = getattr(timm.layers, "DiffAttention", None)  # older versions of timm do not have it
OLDER = DIFFERENCE is None
_NAFLEX = {**_SMALL, "pos_embed_grid_size": (3, 3)}
del _NAFLEX["img_size"]

# Kind -> name in timm, and what is changed beside the sizes.
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "plain": ("vit_base_patch16_224", {}),
    "no token": ("vit_medium_patch16_gap_240", {}),
    "pooled with token": ("vit_base_patch16_224", {"global_pool": "avg"}),
    "maximum": ("vit_base_patch16_224", {"global_pool": "max"}),
    "clip": ("vit_base_patch16_clip_224", {}),
    "dinov2": ("vit_small_patch14_reg4_dinov2", {"init_values": 0.5}),
    "swiglu": ("vit_giant_patch14_dinov2", {"init_values": 0.5}),
    "query norm": ("vit_base_patch16_224", {"qk_norm": True, "scale_attn_norm": True}),
    "deit3": ("deit3_base_patch16_224", {"init_values": 0.5}),
    "distilled": ("deit_base_distilled_patch16_224", {}),
    "any size": ("vit_base_patch16_224", {"dynamic_img_size": True}),
    "post-norm": ("vit_base_patch16_rpn_224", {}),
    "intern": ("vit_intern300m_patch14_448", {"init_values": 0.5}),
    "aimv2": ("aimv2_large_patch14_224", {}),
    "parallel": ("vit_base_patch16_xp_224", {}),
    "parallel things": ("vit_base_patch16_18x2_224", {}),
    "siglip": ("vit_base_patch16_siglip_224", {}),
    "relative": ("vit_relpos_base_patch16_224", {"init_values": 0.5}),
    "relative table": (
        "vit_relpos_base_patch16_224",
        {"rel_pos_type": "bias", "class_token": True, "init_values": 0.5},
    ),
    "relative shared": ("vit_srelpos_small_patch16_224", {}),
    "relative post-norm": ("vit_relpos_base_patch16_rpn_224", {"init_values": 0.5}),
    "beit": ("beit_base_patch16_224", {"init_values": 0.5}),
    "beit shared": (
        "beit_base_patch16_224",
        {"use_rel_pos_bias": False, "use_shared_rel_pos_bias": True, "init_values": 0.5},
    ),
    "eva": ("eva_giant_patch14_224", {"mlp_ratio": 4.0}),
    "eva02": ("eva02_base_patch14_224", {}),
    "eva02 clip": ("eva02_base_patch16_clip_224", {}),
    "dinov3": ("vit_base_patch16_dinov3", {"init_values": 0.5}),
    "rope mixed": ("vit_base_patch16_rope_mixed_224", {}),
    "dinov3 rope": ("vit_base_patch16_dinov3", {"init_values": None, "attn_type": "rope"}),
    "pe": ("vit_pe_core_base_patch16_224", {}),
    "naflex": ("naflexvit_base_patch16_gap", _NAFLEX),
    "naflex map": ("naflexvit_base_patch16_map", _NAFLEX),
    "naflex rope": (
        "naflexvit_base_patch16_gap",
        {**_NAFLEX, "rope_type": "axial", "attn_type": "rope", "qkv_fused": False},
    ),
}  # fmt: skip
if not OLDER:
    KINDS["difference"] = ("vit_base_patch16_224", {"attn_layer": DIFFERENCE, "num_heads": 2})
else:
    del KINDS["rope mixed"]  # which fails in float64 in those versions


def make(kind: str) -> Any:
    """The same random model of a kind at every call, in float64 and eval mode."""
    return pickle.loads(_made(kind))


@cache
@torch.no_grad()
def _made(kind: str) -> bytes:
    name, changes = KINDS[kind]
    sizes = {} if "pos_embed_grid_size" in changes else _SMALL
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model(name, **{**sizes, **changes})
        for parameter in model.parameters():  # away from zero and one, and all different
            parameter.add_(0.2 * torch.randn_like(parameter))
    return pickle.dumps(model.double().eval())  # read again in less time than a copy takes


def images(count: int = 2, side: int = SIDE) -> Tensor:
    """Random images [count, 3, side, side]."""
    draws = torch.Generator().manual_seed(1)
    return torch.rand(count, 3, side, side, generator=draws, dtype=torch.float64)


def normal(*shape: int, seed: int = 2) -> Tensor:
    """Normal numbers."""
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=draws, dtype=torch.float64)


def projections(model: Any, block: int) -> list[tuple[str, slice]]:
    """Where the weights of q, k and v of a block are: name of the parameter and its rows."""
    names = dict(model.named_parameters())
    at = f"blocks.{block}"
    if f"{at}.attn.q_proj.weight" in names:
        return [(f"{at}.attn.{one}_proj.weight", slice(0, WIDTH)) for one in "qkv"]
    name = f"{at}.attn.qkv.weight" if f"{at}.attn.qkv.weight" in names else f"{at}.in_proj.weight"
    before = len(names[name]) - 3 * WIDTH
    return [(name, slice(before + i * WIDTH, before + (i + 1) * WIDTH)) for i in range(3)]


# -- attention with everything written out --------------------------------------------------------


def _qkv(attn: Any, x: Tensor) -> list[Tensor]:
    """Queries, keys and values [B, N, d]."""
    if getattr(attn, "qkv", None) is None:
        layers = (attn.q_proj, attn.k_proj, attn.v_proj)
        return [x @ one.weight.T + (0 if one.bias is None else one.bias) for one in layers]
    bias: Any = 0 if attn.qkv.bias is None else attn.qkv.bias
    if getattr(attn, "q_bias", None) is not None:
        bias = torch.cat([attn.q_bias, torch.zeros_like(attn.q_bias), attn.v_bias])
    return list((x @ attn.qkv.weight.T + bias).chunk(3, dim=-1))


def _rotated(x: Tensor, rope: Tensor, half: bool) -> Tensor:
    """x [..., N, c] rotated in planes of two channels by the angles of rope [..., N, 2 c]."""
    sine, cosine = rope.to(x).chunk(2, dim=-1)
    turned = torch.empty_like(x)
    if half:
        middle = x.shape[-1] // 2
        turned[..., :middle], turned[..., middle:] = -x[..., middle:], x[..., :middle]
    else:
        turned[..., 0::2], turned[..., 1::2] = -x[..., 1::2], x[..., 0::2]
    return x * cosine + turned * sine


def _bias(attn: Any, shared: Tensor | None) -> Tensor | None:
    """The bias [1, heads, N, N] by relative position."""
    if getattr(attn, "rel_pos", None) is not None:
        return attn.rel_pos.get_bias()
    if getattr(attn, "relative_position_bias_table", None) is not None:
        own = attn._get_rel_pos_bias()
        return own if shared is None else own + shared
    return shared


def attention_by_hand(
    attn: Any,
    prefix: tuple[Tensor, Tensor] | None,
    before: int,
    compensated: bool,
    x: Tensor,
    rope: Tensor | None = None,
    shared_rel_pos_bias: Tensor | None = None,
    shared_rel_pos: Tensor | None = None,
    **unused: Any,
) -> Tensor:
    """Attention of any class of timm, with a softmax.

    prefix: keys and values [B or 1, n, d] that have no position; before: how many of the first
    tokens of x [B, N, d] have none either, beside those that never have.
    """
    assert not any(unused.values())
    batch = len(x)

    def by_head(part: Tensor) -> Tensor:
        return part.expand(batch, -1, -1).unflatten(-1, (HEADS, -1)).transpose(1, 2)

    q, k, v = map(by_head, _qkv(attn, x))
    if hasattr(attn, "q_norm"):
        q, k = attn.q_norm(q), attn.k_norm(k)
    if rope is not None:
        still = before + attn.num_prefix_tokens
        q, k = (
            torch.cat(
                [
                    p[:, :, :still],
                    _rotated(p[:, :, still:], rope, getattr(attn, "rotate_half", False)),
                ],
                dim=2,
            )
            for p in (q, k)
        )
    n = 0 if prefix is None else prefix[0].shape[1]
    if prefix is not None:
        k = torch.cat([by_head(prefix[0]), k], dim=2)
        v = torch.cat([by_head(prefix[1]), v], dim=2)
    scores = q @ k.mT / (WIDTH // HEADS) ** 0.5
    bias = _bias(attn, shared_rel_pos_bias if shared_rel_pos is None else shared_rel_pos)
    if bias is not None:
        scores[:, :, before:, n + before :] += bias
    weights = scores.exp() / scores.exp().sum(dim=-1, keepdim=True)
    if compensated:
        own = weights[..., :n] / weights[..., :n].sum(dim=-1, keepdim=True)
        weights = torch.cat([own, weights[..., n:]], dim=-1)
    out = (weights @ v).transpose(1, 2).flatten(2)
    if getattr(attn, "norm", None) is not None:
        out = attn.norm(out)
    if getattr(attn, "gate", None) is not None:
        out = out * attn.gate(x).sigmoid()
    return attn.proj(out)


def by_hand(
    model: Any,
    prefixes: dict[int, tuple[Tensor, Tensor]],
    before: int = 0,
    compensated: bool = False,
) -> Any:
    """A model whose attentions are all those of `attention_by_hand`."""
    for index, block in enumerate(model.blocks):
        prefix = prefixes.get(index)
        block.attn.forward = partial(
            attention_by_hand, block.attn, prefix, before, compensated and prefix is not None
        )
    return model


class Beside(nn.Module):
    """A module in the place of another: the sum of that one's output and an adapter's."""

    def __init__(self, inner: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.inner, self.adapter = inner, adapter

    def forward(self, x: Tensor, *others: Any, **options: Any) -> Tensor:
        return self.inner(x, *others, **options) + self.adapter(x)


class Before(nn.Module):
    """A block with tokens put before its own."""

    def __init__(self, block: nn.Module, tokens: Tensor) -> None:
        super().__init__()
        self.block, self.tokens = block, tokens

    def forward(self, x: Tensor, *others: Any, **options: Any) -> Tensor:
        return self.block(torch.cat([self.tokens, x], dim=1), *others, **options)
