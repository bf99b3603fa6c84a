"""Reads timm's names and their relatives: DeiT, DINO, iBOT, MoCo v3, MAE and DINOv2."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from benchmark.backbones.catalogue import BackboneError, Layers
from benchmark.backbones.formats.base import MOCO, Tensors, WeightFile, with_registers
from benchmark.backbones.formats.containers import Model

# What classifiers, projection heads and masked pre-training leave beside the backbone.
_NOT_BACKBONE = (
    "head.", "head_dist.", "pre_logits", "masked_embed", "mask_token", "n_averaged", "dino_head.",
    "ibot_head.", "decoder_", "decoder.",
)  # fmt: skip
_BESIDE = ("classifier.", "fc.", "projector.", "projection_head.", "prediction_head.", "criterion.")
_TEXT = ("text.", "visual.head.", "logit_scale", "logit_bias")  # of a CLIP with a timm ViT
_CHUNK = re.compile(r"blocks\.(\d+)\.(\d+)\.(.+)")
_GAMMA = re.compile(r"(blocks\.\d+)\.gamma_([12])")
_GATED = {"mlp.w12": "mlp.fc1", "mlp.w3": "mlp.fc2"}


def read(model: Model, path: Path) -> WeightFile:
    """Return a network that has timm's patch embedding, under timm's names for all else."""
    moco = model.root.endswith(("base_encoder.", "momentum_encoder."))
    ignored = (*_NOT_BACKBONE, *(_TEXT if model.root.endswith("visual.trunk.") else ()))
    beside = (*ignored, *_BESIDE, *(("predictor.",) if moco else ()))
    names = [*model.tensors, *model.beside]
    tensors, left_out = model.without(ignored, beside, path)
    decoder = any(name.startswith("decoder") for name in left_out)
    tensors = _unchunked(tensors, path)
    gated = "blocks.0.mlp.w12.weight" in tensors
    dinov2 = gated or "register_tokens" in tensors
    dinov2 |= "mask_token" in names and "blocks.0.ls1.gamma" in tensors
    tensors = _renamed(tensors)
    if "register_tokens" in tensors:
        tensors = with_registers(tensors, path)
    layers: Layers | None = None
    if gated:
        layers = Layers(activation="silu", gated=True)
    elif "dist_token" in tensors:
        layers = Layers(distilled=True)
    positions = _has_moco_positions(tensors)
    return WeightFile(
        tensors,
        left_out,
        None,
        (f"of weights {path.name} the decoder is left out",) if decoder else (),
        _family(names, moco or positions, dinov2, decoder),
        layers,
        False if "register_tokens" in names else True if moco or decoder or positions else None,
    )


def _family(names: list[str], moco: bool, dinov2: bool, decoder: bool) -> str:
    if moco:
        return MOCO
    if dinov2:
        return "DINOv2"
    if decoder:
        return "MAE"
    if "dist_token" in names:
        return "distilled DeiT"
    dino = any(name.startswith(("head.last_layer", "masked_embed")) for name in names)
    return "DINO" if dino else ""


def _unchunked(tensors: Tensors, path: Path) -> Tensors:
    """Return blocks by their number alone, where they are stored in chunks: `blocks.1.10.norm1`.

    The second number is the block's own; each chunk begins with places left empty.
    """
    chunks = {name: match for name in tensors if (match := _CHUNK.fullmatch(name))}
    if not chunks:
        return tensors
    homes: dict[int, set[int]] = {}
    for match in chunks.values():
        homes.setdefault(int(match[2]), set()).add(int(match[1]))
    chunk_of = [min(homes[block]) for block in sorted(homes)]
    if (
        sorted(homes) != list(range(len(homes)))
        or any(len(chunk) > 1 for chunk in homes.values())
        or chunk_of != sorted(chunk_of)
    ):
        raise BackboneError(
            f"{path}: its blocks are stored in chunks, but their numbers do not run from 0 to "
            f"{len(homes) - 1} through them ({', '.join(sorted(chunks)[:3])}, ...)"
        )
    return {
        f"blocks.{chunks[name][2]}.{chunks[name][3]}" if name in chunks else name: value
        for name, value in tensors.items()
    }


def _renamed(tensors: Tensors) -> Tensors:
    """Return layer scales (DeiT III) and gated layers (DINOv2) under timm's names."""
    found: Tensors = {}
    for name, value in tensors.items():
        plain = _GAMMA.sub(r"\1.ls\2.gamma", name)
        for theirs, ours in _GATED.items():
            plain = plain.replace(f".{theirs}.", f".{ours}.")
        found[plain] = value
    return found


def _has_moco_positions(tensors: Tensors) -> bool:
    """Whether positions are the fixed ones of MoCo v3: those of rows, then of columns.

    Other fixed positions (MAE) begin with the columns.
    """
    positions = tensors.get("pos_embed")
    if positions is None or positions.ndim != 3 or positions.shape[-1] % 4:
        return False
    count, width = positions.shape[1:]
    side = int((count - 1) ** 0.5)
    if side < 2 or side**2 != count - 1:
        return False
    frequencies = 10000.0 ** -(torch.arange(width // 4, dtype=torch.float64) / (width // 4))
    angles = torch.arange(side, dtype=torch.float64)[:, None] * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], 1)
    rows = waves[:, None].expand(side, side, -1)
    columns = waves[None].expand(side, side, -1)
    fixed = torch.cat([rows, columns], 2).flatten(0, 1)
    found = positions[0].double()
    # Half precision keeps three digits.
    return bool(torch.allclose(found[1:], fixed, atol=2e-3) and (found[0].abs() < 2e-3).all())
