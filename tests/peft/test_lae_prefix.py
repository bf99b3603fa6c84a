"""LAE's prefix attention against its formula with explicit attention weights."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.peft.prefix import PrefixPort, ScaledPrefix

WIDTH, HEADS, LENGTH = 12, 3, 5


def vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=8, patch_size=4, embed_dim=WIDTH, depth=2, num_heads=HEADS, num_classes=0
    ).eval()


def prefix() -> ScaledPrefix:
    torch.manual_seed(1)
    made = ScaledPrefix(WIDTH, LENGTH)
    with torch.no_grad():
        for p in made.parameters():
            p.add_(torch.randn_like(p))
    return made


def by_head(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(-2, -3)


def explicit(backbone: VisionTransformer, made: ScaledPrefix, x: Tensor) -> tuple[Tensor, Tensor]:
    """Output of block 0's attention, and the weights with compensation [B, heads, N, L + N]."""
    attn = backbone.blocks[0].attn
    q, k, v = (by_head(part) for part in attn.qkv(x).chunk(3, dim=-1))
    keys = by_head(made.key_scale * made.keys).expand(len(x), -1, -1, -1)
    values = by_head(made.value_scale * made.values).expand(len(x), -1, -1, -1)
    scores = q @ torch.cat([keys, k], dim=2).transpose(-1, -2) / (WIDTH // HEADS) ** 0.5
    weights = scores.softmax(dim=-1)
    own = weights[..., :LENGTH]
    weights = torch.cat([own / own.sum(dim=-1, keepdim=True), weights[..., LENGTH:]], dim=-1)
    out = (weights @ torch.cat([values, v], dim=2)).transpose(1, 2).flatten(2)
    return attn.proj(out), weights


def test_output_and_gradients_are_those_of_the_formula() -> None:
    backbone, made = vit(), prefix()
    x = torch.randn(2, 5, WIDTH)
    expected, weights = explicit(backbone, made, x)
    share = 1 - weights[..., LENGTH:].sum(dim=-1)
    torch.testing.assert_close(weights.sum(dim=-1), 2 - share)  # rows sum to 2 - lambda
    wanted = torch.autograd.grad(expected.square().sum(), list(made.parameters()))

    port = PrefixPort(backbone, 0)
    port.use(made)
    out = backbone.blocks[0].attn(x)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(
        torch.autograd.grad(out.square().sum(), list(made.parameters())), wanted
    )


def test_without_a_prefix_the_backbone_is_as_it_was() -> None:
    backbone = vit()
    names, images = list(backbone.state_dict()), torch.rand(2, 3, 8, 8)
    before = backbone(images)
    port = PrefixPort(backbone, 0)
    assert torch.equal(backbone(images), before)
    port.use(prefix())
    assert not torch.allclose(backbone(images), before)
    port.use(None)
    assert torch.equal(backbone(images), before)
    assert list(backbone.state_dict()) == names


def test_a_copied_backbone_has_ports_of_its_own() -> None:
    backbone, images = vit(), torch.rand(2, 3, 8, 8)
    port = PrefixPort(backbone, 0)
    port.use(prefix())
    twin = copy.deepcopy(backbone)
    before = twin(images)
    with torch.no_grad():
        for p in backbone.parameters():
            p.zero_()
    port.use(None)
    assert torch.equal(twin(images), before)


def test_starting_values_and_size() -> None:
    made = ScaledPrefix(768, 10)
    assert sum(p.numel() for p in made.parameters()) == ScaledPrefix.size(768, 10) == 15_362
    for tokens in (made.keys, made.values):
        assert tokens.min() >= 0 and 0.0095 < tokens.max() < 0.01
    assert made.key_scale.item() == made.value_scale.item() == 1


def test_a_mask_is_refused() -> None:
    backbone = vit()
    PrefixPort(backbone, 0).use(prefix())
    with pytest.raises(ValueError, match="mask"):
        backbone.blocks[0].attn(torch.randn(1, 5, WIDTH), is_causal=True)
