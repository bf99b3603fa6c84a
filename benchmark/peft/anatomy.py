"""Where timm's Vision Transformers have the parts that methods adapt, and what else they lack.

A part that is not there raises `UnsuitedError`, which a plan turns into the reason why a method
cannot run on a backbone. Only classes whose forward pass is known are looked into: a projection
that its class does not call as a module could be replaced without any effect.
"""

from __future__ import annotations

from typing import Any

import timm.layers
from timm.layers.attention import Attention, AttentionRope
from timm.models import beit, eva
from timm.models.vision_transformer import Block, ParallelScalingBlock, VisionTransformer
from timm.models.vision_transformer_relpos import (
    RelPosAttention,
    RelPosBlock,
    VisionTransformerRelPos,
)
from torch import nn

# Attentions with one projection to queries, keys and values, or one for each.
_PLAIN = (Attention, AttentionRope, eva.EvaAttention, beit.Attention, RelPosAttention)
# The difference of two attentions; older versions of timm do not have it.
_DIFFERENCE = tuple(filter(None, [getattr(timm.layers, "DiffAttention", None)]))
# Blocks that add attention, then an MLP of the normed sum.
_SERIAL = (Block, eva.EvaBlock, beit.Block, RelPosBlock)


class UnsuitedError(ValueError):
    """A backbone without a part that a method needs; the text follows "cannot run on it: "."""


def blocks(backbone: VisionTransformer) -> list[Any]:
    """The blocks, first to last."""
    return list(backbone.blocks)


def attention(backbone: VisionTransformer, block: int) -> Any:
    """The attention of a block, a module of its own that the block calls with tokens [B, N, d]."""
    found = getattr(backbone.blocks[block], "attn", None)
    if not isinstance(found, nn.Module):
        raise UnsuitedError(f"its {_kind(backbone, block)}s have no attention of their own")
    return found


def mlp(backbone: VisionTransformer, block: int) -> Any:
    """The MLP of a block, a module of its own that the block calls with tokens [B, N, d]."""
    found = getattr(backbone.blocks[block], "mlp", None)
    if not isinstance(found, nn.Module):
        raise UnsuitedError(f"its {_kind(backbone, block)}s have no MLP of their own")
    return found


def residual(backbone: VisionTransformer, block: int) -> tuple[Any, Any]:
    """A block whose MLP reads norm2 of the residual stream, and that norm.

    The block's output is the stream that norm2 is given, plus the MLP's output in whatever scale.
    """
    found = backbone.blocks[block]
    if type(found) not in _SERIAL:
        raise UnsuitedError(
            f"its {_kind(backbone, block)}s have no residual stream between attention and MLP"
        )
    return found, found.norm2


def prefixable(backbone: VisionTransformer, block: int) -> Any:
    """The attention of a block if keys and values can be put before those of its tokens.

    It is made to call torch's attention, which a prefix is put into.
    """
    found = attention(backbone, block)
    if type(found) not in _PLAIN:
        raise UnsuitedError(f"a prefix cannot be put into its {type(found).__name__}")
    if found.proj.in_features != backbone.embed_dim:
        raise UnsuitedError("its attention has another width than its tokens")
    found.fused_attn = True
    return found


def projections(backbone: VisionTransformer, block: int) -> tuple[Any, tuple[str, ...], int]:
    """The owner and the names of a block's projections to queries, keys and values.

    Returns:
        The module that has them; one name for a projection to all three, else three; and the number
        of outputs that precede them, which belong to the MLP of a block with both in parallel.
    """
    owner: Any = backbone.blocks[block]
    names: tuple[str, ...] = ("in_proj",)
    start = 0
    if type(owner) is ParallelScalingBlock:
        if getattr(owner, "qkv_bias", None) is not None:  # older versions, of some of these blocks
            raise UnsuitedError("this version of timm does not call its projections as modules")
        start = owner.in_split[0]
    else:
        owner = attention(backbone, block)
        if type(owner) not in (*_PLAIN, *_DIFFERENCE):
            raise UnsuitedError(f"the projections of its {type(owner).__name__} are not known")
        fused = getattr(owner, "qkv", None) is not None
        names = ("qkv",) if fused else ("q_proj", "k_proj", "v_proj")
    layers = [getattr(owner, name) for name in names]
    for layer in layers:
        if type(layer) is not nn.Linear:
            raise UnsuitedError(f"LoRA needs linear projections, found {type(layer).__name__}")
    width = backbone.embed_dim if len(names) == 3 else start + 3 * backbone.embed_dim
    if any(layer.out_features != width for layer in layers):
        raise UnsuitedError("its queries, keys and values are not as wide as its tokens")
    if getattr(owner, "q_bias", None) is not None and len(names) == 1:
        owner.qkv_bias_separate = True  # otherwise the weight is read without calling the module
    return owner, names, start


def final_norm(backbone: VisionTransformer) -> str:
    """The name of the LayerNorm that features come from: `fc_norm` where it follows pooling."""
    if getattr(backbone, "attn_pool", None) is not None:
        raise UnsuitedError("its features come from attention pooling, not from a LayerNorm")
    name = "norm" if isinstance(backbone.fc_norm, nn.Identity) else "fc_norm"
    found = getattr(backbone, name)
    if isinstance(found, nn.Identity):
        raise UnsuitedError("it has no LayerNorm after its blocks")
    if not isinstance(found, nn.LayerNorm):
        raise UnsuitedError(f"its last norm is a {type(found).__name__}, not a LayerNorm")
    return name


def promptable(backbone: VisionTransformer) -> None:
    """Raise `UnsuitedError` where input tokens cannot be added and read as features."""
    if getattr(backbone, "attn_pool", None) is not None:
        raise UnsuitedError("its features come from attention pooling, not from tokens")
    if biased(backbone):  # torch's attention takes the bias
        for block in range(len(backbone.blocks)):
            attention(backbone, block).fused_attn = True


def biased(backbone: VisionTransformer) -> bool:
    """Whether attention is biased by relative positions, of as many tokens as it is built for."""
    model: Any = backbone  # methods know of one class alone
    return isinstance(model, beit.Beit | VisionTransformerRelPos)


def rotary(backbone: VisionTransformer) -> list[Any]:
    """The attentions that rotate queries and keys of all tokens but the first by position."""
    found = [getattr(block, "attn", None) for block in backbone.blocks]
    return [attn for attn in found if isinstance(attn, AttentionRope | eva.EvaAttention)]


def _kind(backbone: VisionTransformer, block: int) -> str:
    return type(backbone.blocks[block]).__name__


def is_plain(backbone: VisionTransformer) -> bool:
    """Whether it has every part that methods adapt: a ViT as first published, or nearly so."""
    kinds = [(type(block), type(getattr(block, "attn", None))) for block in backbone.blocks]
    if type(backbone) is not VisionTransformer or set(kinds) != {(Block, Attention)}:
        return False
    try:
        final_norm(backbone)
        for block in range(len(kinds)):
            projections(backbone, block)
    except UnsuitedError:
        return False
    return True
