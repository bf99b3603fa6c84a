"""Choice of prompts by a query, votes, CODA's weights and its Gram-Schmidt."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.peft.prompt_pool import (
    chosen_prefix,
    component_weights,
    cosines,
    gather_prompts,
    orthogonal_rows,
    orthogonality,
    vote,
)

WIDTH = 24


def normal(*shape: int, seed: int = 2) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


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
