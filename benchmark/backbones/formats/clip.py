"""Reads the image encoder of CLIP as OpenAI and open_clip name it."""

from __future__ import annotations

from pathlib import Path

from benchmark.backbones.catalogue import Layers
from benchmark.backbones.formats.base import WeightFile, renamed
from benchmark.backbones.formats.containers import Model

_NAMES = {
    "class_embedding": "cls_token",
    "positional_embedding": "pos_embed",
    "conv1": "patch_embed.proj",
    "ln_pre": "norm_pre",
    "ln_post": "norm",
    "ln_1": "norm1",
    "ln_2": "norm2",
    "attn.in_proj_weight": "attn.qkv.weight",
    "attn.in_proj_bias": "attn.qkv.bias",
    "attn.out_proj": "attn.proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "ls_1": "ls1",
    "ls_2": "ls2",
}
_PROJECTION = "proj"  # to the space that images and texts share
# Numbers that OpenAI's own files hold, and no other; its networks compute QuickGELU.
_OPENAI = {"input_resolution", "context_length", "vocab_size"}
_OPENAI_CHANNELS = 64  # of a head, in all its networks
_TEXT = (
    "transformer.", "token_embedding.", "positional_embedding", "ln_final.", "text_projection",
    "text.", "logit_scale", "logit_bias", *sorted(_OPENAI),
)  # fmt: skip


def read(model: Model, path: Path) -> WeightFile:
    """Return the image encoder under timm's names; the text's and the projection are left out."""
    kept, left_out = model.without((_PROJECTION,), _TEXT, path)
    tensors = renamed(kept, _NAMES, "transformer.resblocks.")
    width = tensors["patch_embed.proj.weight"].shape[0]
    tensors["cls_token"] = tensors["cls_token"].reshape(1, 1, -1)
    if "pos_embed" in tensors and tensors["pos_embed"].ndim == 2:
        tensors["pos_embed"] = tensors["pos_embed"][None]
    openai = model.beside.keys() >= _OPENAI
    return WeightFile(
        tensors,
        left_out,
        max(1, width // _OPENAI_CHANNELS) if openai else None,
        family="OpenAI's CLIP" if openai else "CLIP",
        layers=Layers(activation="quick_gelu" if openai else None, epsilon=1e-5),
        class_position=True,
    )
