"""Moving averages and TIES-merging do what their formulas say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark.peft.merging import (
    elect,
    flatten,
    moving_average_,
    ties,
    trim,
    trim_mask,
    unflatten_,
)


def vectors(count: int = 3, size: int = 50, seed: int = 0) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(count, size, generator=draws, dtype=torch.float64)


def test_distance_to_a_constant_shrinks_by_the_decay_at_every_step() -> None:
    average, current = nn.Linear(3, 2).double(), nn.Linear(3, 2).double()
    start = flatten(average) - flatten(current)
    for _ in range(1000):
        moving_average_(average, current, 0.9999)
    torch.testing.assert_close(flatten(average) - flatten(current), start * 0.9999**1000)


@pytest.mark.parametrize("decay", [0.0, 1.0])
def test_average_at_the_ends_of_its_range(decay: float) -> None:
    average, current = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = flatten(current if decay == 0 else average)
    moving_average_(average, current, decay)
    torch.testing.assert_close(flatten(average), expected)


def test_average_leaves_no_graph_and_does_not_touch_the_source() -> None:
    average, current = nn.Linear(3, 2), nn.Linear(3, 2)
    before = flatten(current)
    moving_average_(average, current, 0.5)
    assert torch.equal(flatten(current), before)
    assert all(p.is_leaf and p.grad is None for p in average.parameters())


def test_a_vector_goes_back_where_it_came_from() -> None:
    source, target = nn.Linear(3, 2), nn.Linear(3, 2)
    unflatten_(target, flatten(source))
    for one, other in zip(source.parameters(), target.parameters(), strict=True):
        assert torch.equal(one, other)
        assert one.data_ptr() != other.data_ptr()


@pytest.mark.parametrize(
    ("keep", "kept"), [(20, 11), (50, 26), (0.3, 16), (100, 50), (1, 50), (0.0, 1), (99.9, 50)]
)
def test_trimming_keeps_the_largest_entries(keep: float, kept: int) -> None:
    v = vectors()
    mask = trim_mask(v, keep)
    assert mask.sum(dim=1).tolist() == [kept] * 3
    for row, chosen in zip(v.abs(), mask, strict=True):
        assert row[chosen].min() >= row[~chosen].max() if kept < 50 else True
    assert torch.equal(trim(v, keep), v * mask)


def test_trimming_keeps_ties_with_the_smallest_kept_entry() -> None:
    v = torch.tensor([[3.0, -2.0, 2.0, 2.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0]])
    assert trim_mask(v, 20)[0].tolist() == [True] * 4 + [False] * 6


def test_identical_vectors_are_merged_to_themselves() -> None:
    v = vectors(1).expand(4, -1)
    torch.testing.assert_close(ties(v, keep=100), v[0], rtol=0, atol=1e-15)


def test_agreement_gives_the_mean_and_disagreement_the_larger() -> None:
    v = torch.tensor([[1.0, 4.0, -2.0, -6.0, 0.0], [3.0, -1.0, 5.0, -2.0, 7.0]])
    assert ties(v, keep=100).tolist() == [2.0, 4.0, 5.0, -4.0, 7.0]


def test_a_trimmed_entry_leaves_the_other_in_full() -> None:
    v = torch.tensor([[10.0, 1.0, 9.0], [0.5, 8.0, 7.0]])
    assert ties(v, keep=50).tolist() == [10.0, 8.0, 8.0]


@pytest.mark.parametrize("keep", [20, 50, 100])
@pytest.mark.parametrize("aggregate", ["mean", "sum", "max"])
def test_order_of_the_vectors_does_not_matter(keep: float, aggregate: str) -> None:
    v = vectors(5)
    merged = ties(v, keep, aggregate)  # type: ignore[arg-type]
    for shift in range(1, 5):
        torch.testing.assert_close(ties(v.roll(shift, 0), keep, aggregate), merged)  # type: ignore[arg-type]


def test_aggregates_of_the_agreeing_entries() -> None:
    v = torch.tensor([[1.0], [2.0], [-2.5], [4.0]])
    for aggregate, expected in (("mean", 7 / 3), ("sum", 7.0), ("max", 4.0)):
        assert ties(v, 100, aggregate).item() == pytest.approx(expected)  # type: ignore[arg-type]


def test_an_exact_tie_goes_to_the_sign_of_the_majority() -> None:
    v = torch.tensor([[1.0, 5.0, 2.0, -1.0], [-1.0, 5.0, 2.0, -1.0]])
    assert elect(v).tolist() == [1.0, 1.0, 1.0, -1.0]
    assert ties(v, 100).tolist() == [1.0, 5.0, 2.0, -1.0]


def test_nothing_learned_is_merged_to_nothing() -> None:
    assert torch.equal(ties(torch.zeros(2, 9), 20), torch.zeros(9))


def test_one_vector_is_merely_trimmed() -> None:
    v = vectors(1)
    torch.testing.assert_close(ties(v, 20), trim(v, 20)[0])
