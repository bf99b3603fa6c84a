"""Prefix attention and input tokens, and LAE's prefix against its formula with explicit weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from torch import Tensor

from benchmark.peft.anatomy import UnsuitedError
from benchmark.peft.prefix import (
    PrefixPort,
    ScaledPrefix,
    check_backbone,
    check_config,
    join_prefixes,
    prompted_tokens,
    split_prefix,
)

WIDTH, HEADS, DEPTH = 24, 3, 3
LENGTH = 5  # of LAE's prefix


@pytest.fixture
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=WIDTH, depth=DEPTH, num_heads=HEADS, num_classes=0
    )
    for p in model.parameters():  # biases and norms away from zero and one
        p.data += 0.1 * torch.randn_like(p)
    return model.double().eval().requires_grad_(False)


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def normal(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def attention_by_hand(attn: Any, x: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Head by head and image by image, with the softmax written out."""
    size = WIDTH // HEADS
    qkv = x @ attn.qkv.weight.T + attn.qkv.bias
    out = torch.empty_like(x)
    for b in range(len(x)):
        for h in range(HEADS):
            part = slice(h * size, (h + 1) * size)
            q, k, v = (qkv[b, :, i * WIDTH : (i + 1) * WIDTH][:, part] for i in range(3))
            k = torch.cat([keys[b][:, part], k])
            v = torch.cat([values[b][:, part], v])
            scores = (q @ k.T) / size**0.5
            weights = scores.exp() / scores.exp().sum(dim=1, keepdim=True)
            out[b, :, part] = weights @ v
    return out @ attn.proj.weight.T + attn.proj.bias


def test_an_empty_prefix_leaves_every_bit(vit: VisionTransformer, images: Tensor) -> None:
    empty = normal(4, 0, WIDTH)
    plain = vit.forward_features(images)
    with_empty = prompted_tokens(vit, images, {b: (empty, empty) for b in range(DEPTH)})
    assert torch.equal(with_empty, plain)
    assert torch.equal(prompted_tokens(vit, images), plain)


def test_a_prefix_of_zeros_is_not_absent(vit: VisionTransformer, images: Tensor) -> None:
    zeros = torch.zeros(1, 4, WIDTH, dtype=torch.float64)
    moved = prompted_tokens(vit, images, {1: (zeros, zeros)}) - vit.forward_features(images)
    assert float(moved.abs().max()) > 1e-3


def test_each_block_gets_its_own_prefix(vit: VisionTransformer, images: Tensor) -> None:
    prefixes = {b: split_prefix(normal(4, 6, WIDTH, seed=b)) for b in (0, 2)}
    inputs: dict[int, Tensor] = {}
    outputs: dict[int, Tensor] = {}
    for b in range(DEPTH):
        vit.blocks[b].norm1.register_forward_hook(lambda m, i, o, b=b: inputs.update({b: o}))
        vit.blocks[b].ls1.register_forward_hook(lambda m, i, o, b=b: outputs.update({b: o}))
    prompted_tokens(vit, images, prefixes)
    for b, (keys, values) in prefixes.items():
        by_hand = attention_by_hand(vit.blocks[b].attn, inputs[b], keys, values)
        torch.testing.assert_close(outputs[b], by_hand)
    torch.testing.assert_close(outputs[1], vit.blocks[1].attn(inputs[1]))


def test_a_shared_prefix_is_everyones(vit: VisionTransformer, images: Tensor) -> None:
    shared = split_prefix(normal(1, 6, WIDTH))
    each = split_prefix(normal(1, 6, WIDTH).expand(4, -1, -1))
    torch.testing.assert_close(
        prompted_tokens(vit, images, {0: shared}), prompted_tokens(vit, images, {0: each})
    )


def test_joined_prefixes_do_not_depend_on_their_order(
    vit: VisionTransformer, images: Tensor
) -> None:
    one, two = split_prefix(normal(1, 4, WIDTH, seed=5)), split_prefix(normal(4, 6, WIDTH, seed=6))
    joined, swapped = join_prefixes([one, two]), join_prefixes([two, one])
    assert joined[0].shape == joined[1].shape == (4, 5, WIDTH)
    torch.testing.assert_close(
        prompted_tokens(vit, images, {1: joined}), prompted_tokens(vit, images, {1: swapped})
    )


def test_first_half_keys_second_half_values() -> None:
    prompt = torch.arange(8.0).view(1, 4, 2)
    keys, values = split_prefix(prompt)
    assert keys.tolist() == [[[0, 1], [2, 3]]]
    assert values.tolist() == [[[4, 5], [6, 7]]]


def test_input_tokens_stand_in_front_and_carry_no_position(
    vit: VisionTransformer, images: Tensor
) -> None:
    prompts = normal(4, 3, WIDTH)
    seen: list[Tensor] = []
    vit.blocks[0].register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    tokens = prompted_tokens(vit, images, prompts=prompts)
    assert tokens.shape == (4, 3 + 5, WIDTH)
    assert torch.equal(seen[0][:, :3], prompts)
    assert torch.equal(seen[0][:, 3:], vit._pos_embed(vit.patch_embed(images)))


def test_nothing_before_the_first_prompted_block_is_differentiated(
    vit: VisionTransformer, images: Tensor
) -> None:
    needs: list[bool] = []
    for block in vit.blocks:
        block.norm2.register_forward_pre_hook(lambda m, args: needs.append(args[0].requires_grad))
    prompt = normal(1, 4, WIDTH).requires_grad_()
    prompted_tokens(vit, images, {1: split_prefix(prompt)}).sum().backward()
    assert needs == [False, True, True]
    assert prompt.grad is not None
    assert all(p.grad is None for p in vit.parameters())


def test_mixed_precision_keeps_attention_in_the_low_type(vit: VisionTransformer) -> None:
    vit = vit.float()
    prefix = split_prefix(normal(4, 6, WIDTH).float())
    seen: list[Tensor] = []
    vit.blocks[0].attn.proj.register_forward_pre_hook(lambda m, args: seen.append(args[0]))
    with torch.autocast("cpu", torch.bfloat16):
        prompted_tokens(vit, torch.rand(4, 3, 8, 8), {0: prefix})
    assert seen[0].dtype == torch.bfloat16


def test_blocks_that_cannot_take_a_prefix_are_refused(vit: VisionTransformer) -> None:
    check_backbone(vit, [0, 2])
    with pytest.raises(ValueError, match="block 3, the backbone has 3"):
        check_backbone(vit, [0, 3])
    parallel = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=1, block_fn=ParallelScalingBlock
    )
    with pytest.raises(UnsuitedError, match="have no attention of their own"):
        check_backbone(parallel, [0])


def test_settings_report_every_fault() -> None:
    with pytest.raises(ValueError, match=r"a must be even.*b must be different block numbers"):
        check_config({"a": 3}, {"b": (1, 1)})
    for layers in ((), (-1,), (0, 0)):
        with pytest.raises(ValueError, match="different block numbers"):
            check_config({}, {"layers": layers})


# -- LAE's prefix -------------------------------------------------------------------------------


@pytest.fixture
def made() -> ScaledPrefix:
    torch.manual_seed(1)
    prefix = ScaledPrefix(WIDTH, LENGTH).double()
    with torch.no_grad():
        for p in prefix.parameters():
            p.add_(torch.randn_like(p))
    return prefix


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


def test_output_and_gradients_are_those_of_the_formula(
    vit: VisionTransformer, made: ScaledPrefix
) -> None:
    x = normal(2, 5, WIDTH)
    expected, weights = explicit(vit, made, x)
    share = 1 - weights[..., LENGTH:].sum(dim=-1)
    torch.testing.assert_close(weights.sum(dim=-1), 2 - share)  # rows sum to 2 - lambda
    wanted = torch.autograd.grad(expected.square().sum(), list(made.parameters()))

    PrefixPort(vit, 0).use(made)
    out = vit.blocks[0].attn(x)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(
        torch.autograd.grad(out.square().sum(), list(made.parameters())), wanted
    )


def test_without_a_prefix_the_backbone_is_as_it_was(
    vit: VisionTransformer, made: ScaledPrefix, images: Tensor
) -> None:
    names, before = list(vit.state_dict()), vit(images)
    port = PrefixPort(vit, 0)
    assert torch.equal(vit(images), before)
    port.use(made)
    assert not torch.allclose(vit(images), before)
    port.use(None)
    assert torch.equal(vit(images), before)
    assert list(vit.state_dict()) == names


def test_a_copied_backbone_has_ports_of_its_own(
    vit: VisionTransformer, made: ScaledPrefix, images: Tensor
) -> None:
    port = PrefixPort(vit, 0)
    port.use(made)
    twin = copy.deepcopy(vit)
    before = twin(images)
    with torch.no_grad():
        for p in vit.parameters():
            p.zero_()
    port.use(None)
    assert torch.equal(twin(images), before)


def test_starting_values_and_size() -> None:
    fresh = ScaledPrefix(768, 10)
    assert sum(p.numel() for p in fresh.parameters()) == ScaledPrefix.size(768, 10) == 15_362
    for tokens in (fresh.keys, fresh.values):
        assert tokens.min() >= 0 and 0.0095 < tokens.max() < 0.01
    assert fresh.key_scale.item() == fresh.value_scale.item() == 1


def test_a_mask_is_refused(vit: VisionTransformer, made: ScaledPrefix) -> None:
    PrefixPort(vit, 0).use(made)
    with pytest.raises(ValueError, match="mask"):
        vit.blocks[0].attn(normal(1, 5, WIDTH), is_causal=True)
