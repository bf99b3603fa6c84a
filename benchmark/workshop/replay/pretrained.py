"""The unadapted backbone behind recorded cases, and what is recorded of it alone."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from benchmark.workshop.replay.case import Case, Meta, ReplayError
from benchmark.workshop.replay.compare import Comparison, Line

WEIGHT = "w:"


def build_vit(meta: Meta, weights: Case, *section: str) -> VisionTransformer:
    """A timm model of the sizes under `section` of `meta`, float64, filled strictly, frozen."""
    described = meta.get(*section, kind=dict) if section else meta.values
    act, pool = described.get("act", "gelu exact"), described.get("pool", "class token")
    if act != "gelu exact" or not str(pool).startswith("class token"):
        raise ReplayError(f"{meta.path}: a model with {act} and {pool} pooling is not one of ours")
    state = {
        name.removeprefix(WEIGHT): as_tensor(value)
        for name, value in weights.arrays.items()
        if name.startswith(WEIGHT)
    }
    sizes = {key: meta.get(*section, key, kind=int) for key in ("img", "patch", "embed", "heads")}
    if min(sizes.values()) < 1 or sizes["embed"] % sizes["heads"]:
        raise ReplayError(f"{meta.path}: impossible sizes of the model: {sizes}")
    patches = state.get("patch_embed.proj.weight")
    model = VisionTransformer(
        img_size=sizes["img"],
        patch_size=sizes["patch"],
        in_chans=3 if patches is None or patches.ndim != 4 else patches.shape[1],
        embed_dim=sizes["embed"],
        depth=meta.get(*section, "depth", kind=int),
        num_heads=sizes["heads"],
        mlp_ratio=meta.get(*section, "mlp", kind=float),
        qkv_bias=bool(described.get("qkv_bias", True)),
        norm_layer=partial(nn.LayerNorm, eps=float(described.get("layernorm_eps", 1e-6))),
        num_classes=0,
    )
    model.double()
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        raise ReplayError(f"{weights.path}: does not fit the model described: {error}") from error
    return model.eval()


@torch.no_grad()
def check_features(vit: VisionTransformer, data: Case, tolerance: float) -> list[Line]:
    """Lines for a data file: what it records of the unadapted backbone, and what is input."""
    comparison = Comparison(data.arrays, tolerance, f"{data.path.parent.name}/{data.path.name}:")
    for name in data.arrays:
        comparison.leave(name, "input of the cases that use it")
    probe = as_tensor(data.array("probe_x", None, None, None, None))
    train = as_tensor(data.array("train_x", None, None, None, None, None))
    tokens = vit.forward_features(probe)
    comparison.check("probe_features_pretrained", tokens[:, 0])
    first = len(data.arrays.get("probe_tokens_pretrained_first4", ()))
    comparison.check("probe_tokens_pretrained_first4", tokens[:first])
    queries = vit.forward_features(train.flatten(0, 1))[:, 0]
    comparison.check("train_features_pretrained", queries.unflatten(0, train.shape[:2]))
    return comparison.lines()


def as_tensor(array: np.ndarray) -> Tensor:
    """A float64 tensor of the array's shape that owns its numbers."""
    return torch.from_numpy(np.array(array, dtype=np.float64))
