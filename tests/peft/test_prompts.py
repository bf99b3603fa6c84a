"""Prefix attention, input tokens, selection, CODA's weights and its Gram-Schmidt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from benchmark.peft.prefix import (
    check_backbone,
    check_config,
    join_prefixes,
    prefix_attention,
    prompted_tokens,
    split_prefix,
)
from benchmark.peft.prompt_pool import (
    chosen_prefix,
    component_weights,
    cosines,
    gather_prompts,
    orthogonal_rows,
    orthogonality,
    vote,
    weighted_prompts,
)

WIDTH, HEADS, DEPTH = 24, 3, 3


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


def test_prefix_attention_equals_the_loop_over_heads(vit: VisionTransformer) -> None:
    attn, x = vit.blocks[0].attn, normal(4, 5, WIDTH)
    keys, values = normal(4, 7, WIDTH, seed=3), normal(4, 7, WIDTH, seed=4)
    torch.testing.assert_close(
        prefix_attention(attn, x, (keys, values)), attention_by_hand(attn, x, keys, values)
    )


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
    gated = VisionTransformer(
        img_size=8, patch_size=4, embed_dim=8, depth=1, num_heads=1, scale_attn_norm=True
    )
    with pytest.raises(ValueError, match="no plain timm attention"):
        check_backbone(gated, [0])


def test_settings_report_every_fault() -> None:
    with pytest.raises(ValueError, match=r"a must be even.*b must be different block numbers"):
        check_config({"a": 3}, {"b": (1, 1)})
    for layers in ((), (-1,), (0, 0)):
        with pytest.raises(ValueError, match="different block numbers"):
            check_config({}, {"layers": layers})


def test_every_image_gets_its_own_prompts() -> None:
    prompts, chosen = normal(6, 4, 2), torch.tensor([[5, 0], [1, 2], [5, 5]])
    gathered = gather_prompts(prompts, chosen)
    keys, values = chosen_prefix(prompts, chosen)
    for b, ids in enumerate(chosen):
        for j, m in enumerate(ids):
            assert torch.equal(gathered[b, j], prompts[m])
            assert torch.equal(keys[b, 2 * j : 2 * j + 2], prompts[m, :2])
            assert torch.equal(values[b, 2 * j : 2 * j + 2], prompts[m, 2:])


def test_cosines_are_those_of_torch_and_in_full_precision() -> None:
    query, keys = normal(5, WIDTH).float(), normal(2, 4, WIDTH, seed=3).float()
    expected = F.cosine_similarity(query[None, :, None], keys[:, None], dim=-1)
    with torch.autocast("cpu", torch.bfloat16):
        found = cosines(query, keys)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("chosen", "voted"),
    [
        ([[3, 1], [3, 2], [3, 1]], [3, 1]),  # counts 3: 3, 1: 2, 2: 1
        ([[2, 1], [0, 3]], [0, 1]),  # all equal: the smaller numbers
        ([[3, 2], [2, 3]], [2, 3]),
        ([[2, 2], [2, 2]], [2, 2]),  # fewer than k: filled up with the smallest chosen
        ([[3, 3], [3, 2], [3, 3]], [3, 2]),
    ],
)
def test_vote(chosen: list[list[int]], voted: list[int]) -> None:
    result = vote(torch.tensor(chosen), pool=5)
    assert result.tolist() == [voted] * len(chosen)


def naive_weights(query: Tensor, keys: Tensor, attention: Tensor) -> Tensor:
    attended = torch.einsum("bd,lmd->lbmd", query, attention)
    return torch.einsum("lbmd,lmd->lbm", F.normalize(attended, dim=-1), F.normalize(keys, dim=-1))


def test_component_weights_equal_the_naive_formula_with_gradients() -> None:
    query = normal(5, WIDTH)
    results = []
    for formula in (component_weights, naive_weights):
        keys, attention = (normal(2, 7, WIDTH, seed=s).requires_grad_() for s in (3, 4))
        weights = formula(query, keys, attention)
        weights.square().sum().backward()
        results.append((weights.detach(), keys.grad, attention.grad))
    for efficient, naive in zip(*results, strict=True):
        torch.testing.assert_close(efficient, naive)
    assert float(results[0][0].min()) < 0, "weights are no softmax: they may be negative"


def test_component_weights_of_a_zero_query_are_zero_with_finite_gradients() -> None:
    keys, attention = (normal(1, 3, WIDTH, seed=s).requires_grad_() for s in (3, 4))
    weights = component_weights(torch.zeros(2, WIDTH, dtype=torch.float64), keys, attention)
    weights.sum().backward()
    assert not weights.any()
    assert torch.isfinite(keys.grad).all() and torch.isfinite(attention.grad).all()


def test_weighted_prompts_are_sums_over_components() -> None:
    weights, prompts = normal(2, 5, 7), normal(2, 7, 4, WIDTH, seed=3)
    torch.testing.assert_close(
        weighted_prompts(weights, prompts), torch.einsum("lbm,lmtd->lbtd", weights, prompts)
    )


def test_orthogonality_is_the_mean_square_off_the_identity() -> None:
    rows = torch.tensor([[[1.0, 0.0], [1.0, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    # Layer 0: R R^T - I = [[0, 1], [1, 1]], mean square 3 / 4; layer 1 is orthonormal.
    assert float(orthogonality(rows)) == pytest.approx(0.75)


def test_first_components_are_orthonormal() -> None:
    rows = orthogonal_rows(normal(0, 40), normal(9, 40))
    torch.testing.assert_close(rows @ rows.T, torch.eye(9, dtype=torch.float64))


def test_later_components_are_orthogonal_to_untrained_old_ones() -> None:
    old = orthogonal_rows(normal(0, 40), normal(9, 40))
    kept = old.clone()
    new = orthogonal_rows(old, normal(5, 40, seed=3))
    assert torch.equal(old, kept)
    assert float((new @ old.T).abs().max()) < 1e-12


def test_gram_schmidt_is_classical_and_scales_at_the_end() -> None:
    old, draws = normal(3, 12), normal(4, 12, seed=3)  # old rows neither orthogonal nor of length 1
    rows = list(old)
    for draw in draws:
        rows.append(draw - sum((draw @ u) / (u @ u) * u for u in rows))  # type: ignore[misc]
    expected = torch.stack([u / u.norm() for u in rows[3:]])
    torch.testing.assert_close(orthogonal_rows(old, draws), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_more_components_than_directions_begin_a_new_set(dtype: torch.dtype) -> None:
    rows = orthogonal_rows(normal(0, 4).to(dtype), normal(10, 4).to(dtype))
    for part in (rows[:4], rows[4:8]):
        torch.testing.assert_close(part @ part.T, torch.eye(4, dtype=dtype))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(10, dtype=dtype))
    again = orthogonal_rows(rows, normal(3, 4, seed=3).to(dtype))
    assert torch.isfinite(again).all()
    torch.testing.assert_close(again.norm(dim=1), torch.ones(3, dtype=dtype))


def test_old_rows_of_zeros_are_passed_over() -> None:
    rows = orthogonal_rows(torch.zeros(2, 6, dtype=torch.float64), normal(2, 6))
    torch.testing.assert_close(rows @ rows.T, torch.eye(2, dtype=torch.float64))
