"""Prefixes and input-token prompts for timm's Vision Transformers, and LAE's prefix.

The backbone computes as ever. Within a block's attention, the prefix's keys and values precede
those of its tokens; input tokens precede all others at the first block. Blocks before the first
prompted one need no gradient and take no part in back-propagation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from benchmark.peft import anatomy

# Keys and values, each [B, n, d] or, for a prefix all images share, [1, n, d].
Prefix = tuple[Tensor, Tensor]


def split_prefix(prompt: Tensor) -> Prefix:
    """A prompt [..., L, d] as a prefix: the first half are keys, the second half values."""
    half = prompt.shape[-2] // 2
    return prompt[..., :half, :], prompt[..., half:, :]


def join_prefixes(prefixes: Iterable[Prefix]) -> Prefix:
    """Several prefixes [B or 1, n_i, d] of one block as one."""
    first, *others = prefixes
    if not others:
        return first
    keys, values = zip(first, *others, strict=True)
    count = max(len(k) for k in keys)
    return (
        torch.cat([k.expand(count, -1, -1) for k in keys], dim=1),
        torch.cat([v.expand(count, -1, -1) for v in values], dim=1),
    )


def check_config(lengths: Mapping[str, int], layers: Mapping[str, Iterable[int]]) -> None:
    """Raise ValueError that names all odd lengths and all repeated or negative layers."""
    faults = [
        f"{name} must be even (half keys, half values), not {length}"
        for name, length in lengths.items()
        if length % 2
    ]
    for name, given in layers.items():
        indices = list(given)
        if not indices or min(indices) < 0 or len(set(indices)) < len(indices):
            faults.append(f"{name} must be different block numbers from 0 on, not {indices}")
    if faults:
        raise ValueError("; ".join(faults))


def check_backbone(backbone: VisionTransformer, layers: Iterable[int]) -> None:
    """Raise ValueError when a prefix cannot be put into these blocks of the backbone."""
    depth = len(backbone.blocks)
    for layer in layers:
        if layer >= depth:
            raise ValueError(f"a prefix is asked for in block {layer}, the backbone has {depth}")
        anatomy.prefixable(backbone, layer)


def check_prompts(backbone: VisionTransformer) -> None:
    """Raise ValueError when input tokens cannot be added, or their outputs not read as features."""
    anatomy.promptable(backbone)


class _Attention(TorchFunctionMode, ABC):
    """Within it, torch's attention is replaced; all else that an attention does stays timm's."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """What `func` gives, whatever it is."""
        if func is F.scaled_dot_product_attention:
            return self.attend(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    @abstractmethod
    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
    ) -> Tensor:
        """In the place of torch's attention, each [B, heads, N, d / heads]."""


class _PrefixedAttention(_Attention):
    """Keys and values of a prefix are put before those of the tokens.

    Where positions bias the attention, the prefix has none: its bias is 0.

    compensated: after the joint softmax the prefix's weights are divided by their sum (LAE), the
    tokens' weights are not. This is the sum of two fused attentions: the joint one with zeros as
    the prefix's values, and one over the prefix alone.
    """

    def __init__(self, prefix: Prefix, compensated: bool) -> None:
        super().__init__()
        self.prefix, self.compensated = prefix, compensated

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
    ) -> Tensor:
        """Attention over the prefix and the tokens."""
        if is_causal or (attn_mask is not None and attn_mask.dtype == torch.bool):
            raise ValueError("attention with a prefix does not take a mask")
        keys, values = _by_head(self.prefix[0], k), _by_head(self.prefix[1], v)
        joint = torch.zeros_like(values) if self.compensated else values
        bias = None if attn_mask is None else F.pad(attn_mask, (keys.shape[2], 0))
        y = F.scaled_dot_product_attention(
            q,
            torch.cat([keys, k], dim=2),
            torch.cat([joint, v], dim=2),
            attn_mask=bias,
            dropout_p=dropout_p,
        )
        if self.compensated:
            y = y + F.scaled_dot_product_attention(q, keys, values, dropout_p=dropout_p)
        return y


class _UnbiasedTokens(_Attention):
    """The first `count` tokens have no position: no bias between them and any other."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count

    def attend(
        self,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
    ) -> Tensor:
        """Attention with the bias of the other tokens."""
        bias = None if attn_mask is None else F.pad(attn_mask, (self.count, 0, self.count, 0))
        return F.scaled_dot_product_attention(q, k, v, bias, dropout_p, is_causal)


def _by_head(part: Tensor, like: Tensor) -> Tensor:
    """[B or 1, n, d] as [B, heads, n, d / heads], in the dtype of `like` [B, heads, N, ...]."""
    batch, heads, _, size = like.shape
    split = part.to(like.dtype).reshape(*part.shape[:2], heads, size)
    return split.transpose(1, 2).expand(batch, -1, -1, -1)


def prefix_attention(
    attn: Any, prefix: Prefix, compensated: bool, x: Tensor, *others: Any, **options: Any
) -> Tensor:
    """Attention of timm's `attn` over normalised tokens [B, N, d] with a prefix: [B, N, d].

    Prefix keys and values are inserted after projection, norm and rotation by position, without
    W_k, W_v or a bias. others, options: what timm hands to the attention beside the tokens.
    """
    with _PrefixedAttention(prefix, compensated):
        out: Tensor = type(attn).forward(attn, x, *others, **options)
    return out


def prompted_tokens(
    backbone: VisionTransformer,
    images: Tensor,
    prefixes: Mapping[int, Prefix] | None = None,
    prompts: Tensor | None = None,
) -> Tensor:
    """All tokens after the final norm, [B, p + N, d], of images [B, 3, H, W].

    prefixes: by block number; prompts: p input tokens [B, p, d] put before the class token, after
    the position embedding. Without either, the result is that of the plain backbone.
    """
    with ExitStack() as plugged:
        for block, prefix in (prefixes or {}).items():
            attn: Any = backbone.blocks[block].attn
            attn.forward = partial(prefix_attention, attn, prefix, False)
            plugged.callback(delattr, attn, "forward")
        if prompts is not None:
            plugged.enter_context(_prompted(backbone, prompts))
        tokens: Tensor = backbone.forward_features(images)
    return tokens


@contextmanager
def _prompted(backbone: VisionTransformer, prompts: Tensor) -> Iterator[None]:
    """Put tokens [B, p, d] without positions before all others, at the input of the first block."""

    def put_before(block: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        x, *others = inputs
        return (torch.cat([prompts.to(x.dtype), x], dim=1), *others)

    count = prompts.shape[1]
    rotary = anatomy.rotary(backbone)
    hook = backbone.blocks[0].register_forward_pre_hook(put_before, prepend=True)
    for attn in rotary:  # it does not rotate the first tokens
        attn.num_prefix_tokens += count
    try:
        with _UnbiasedTokens(count) if anatomy.biased(backbone) else nullcontext():
            yield
    finally:
        hook.remove()
        for attn in rotary:
            attn.num_prefix_tokens -= count


def prompt_features(backbone: VisionTransformer, images: Tensor, prompts: Tensor) -> Tensor:
    """Features [B, d] read at p input tokens [B, p, d]: the mean of their outputs.

    The norm that timm applies after pooling follows, if the backbone has one.
    """
    tokens = prompted_tokens(backbone, images, prompts=prompts)
    features: Tensor = backbone.fc_norm(tokens[:, : prompts.shape[1]].mean(dim=1))
    return features


class ScaledPrefix(nn.Module):
    """LAE's prefix: `length` keys and as many values, each times a learned scale, initially 1."""

    def __init__(self, width: int, length: int) -> None:
        super().__init__()
        self.keys = nn.Parameter(torch.empty(length, width).uniform_(0, 0.01))
        self.values = nn.Parameter(torch.empty(length, width).uniform_(0, 0.01))
        self.key_scale = nn.Parameter(torch.ones(()))
        self.value_scale = nn.Parameter(torch.ones(()))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Keys and values, each [1, length, width]: the same for all images."""
        return self.key_scale * self.keys[None], self.value_scale * self.values[None]

    @staticmethod
    def size(width: int, length: int) -> int:
        """Number of parameters."""
        return 2 * width * length + 2


class PrefixPort:
    """Port for a prefix in the attention of a block, with LAE's compensation.

    Replaces the forward method of the attention, whose parameters keep their names.
    """

    def __init__(self, backbone: VisionTransformer, block: int) -> None:
        check_backbone(backbone, [block])
        self.host: Any = backbone.get_submodule(f"blocks.{block}.attn")
        self.prefix: nn.Module | None = None
        self.host.forward = self.attend

    def use(self, prefix: nn.Module | None, /) -> None:
        """Set the prefix in use, or None."""
        self.prefix = prefix

    def attend(self, x: Tensor, *others: Any, **options: Any) -> Tensor:
        """Attention of tokens x [B, N, d] over themselves and the prefix: [B, N, d]."""
        if self.prefix is None:
            plain: Tensor = type(self.host).forward(self.host, x, *others, **options)
            return plain
        return prefix_attention(self.host, self.prefix(), True, x, *others, **options)
