"""InfLoRA's ablations: what each of them takes away from the design of the branches."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_world import DEPTH, WIDTH, data, learn, make

from benchmark.data.stream import make_tasks
from benchmark.peft.subspace import design

TASKS = make_tasks([2, 2])
VARIANTS = ["inflora_random", "inflora_nt", "inflora_mperp"]


def rows(method: Any, images_of: int = 0, seed: int = 1) -> torch.Tensor:
    """Down projections [blocks, r, d] for the second task, from images of the given seed."""
    torch.manual_seed(seed)
    return torch.stack([d.rows for d in method.designs(TASKS[1], data(TASKS[1], seed=images_of))])


def taught(name: str, **settings: Any) -> Any:
    """After one task, with a memory where the variant has one."""
    return learn(make(name, rank=4, **settings), TASKS[:1])


@pytest.fixture(scope="module")
def protected() -> list[torch.Tensor]:
    """What InfLoRA protects after the first task."""
    return [memory.basis for memory in taught("inflora").memories]


def overlap(found: torch.Tensor, protected: list[torch.Tensor]) -> float:
    return max(float((d @ m).abs().max()) for d, m in zip(found, protected, strict=True))


def test_random_rows_know_neither_data_nor_memory(protected: list[torch.Tensor]) -> None:
    method = taught("inflora_random")
    assert torch.equal(rows(method, images_of=0), rows(method, images_of=1))
    assert not torch.equal(rows(method, seed=1), rows(method, seed=2))
    assert torch.equal(rows(method), rows(make("inflora_random", rank=4)))  # nor the past
    assert overlap(rows(method), protected) > 0.05


def test_random_rows_have_the_scale_of_designed_ones() -> None:
    found = rows(make("inflora_random", rank=3000))
    assert float(found.square().sum(-1).mean()) == pytest.approx(1 / 3, rel=0.02)
    assert abs(float(found.mean())) < 0.01


def test_new_task_variant_takes_the_leading_inputs_whatever_is_protected(
    protected: list[torch.Tensor],
) -> None:
    method = taught("inflora_nt")
    found = rows(method)
    moments = method.moments(data(TASKS[1])).matrices()
    wanted = [design(moment, None, 4).rows for moment in moments]
    gram = found.mT @ found
    assert torch.allclose(gram, torch.stack([w.T @ w for w in wanted]), atol=1e-6)
    assert not torch.allclose(gram, rows(method, images_of=1).mT @ rows(method, images_of=1))
    assert overlap(found, protected) > 0.3
    for memory, basis in zip(method.memories, protected, strict=True):
        memory.basis = basis
    assert torch.equal(rows(method), found)


def test_memory_variant_keeps_clear_of_the_memory_and_ignores_the_data() -> None:
    method = taught("inflora_mperp")
    bases = [memory.basis for memory in method.memories]
    found = rows(method)
    assert all(basis.shape[1] > 0 for basis in bases)
    assert overlap(found, bases) < 1e-12
    assert torch.equal(found, rows(method, images_of=1))
    assert not torch.equal(found, rows(method, seed=2))
    assert torch.allclose(found @ found.mT, torch.eye(4).double().expand(DEPTH, 4, 4) / 3)


@pytest.mark.parametrize("projection", ["one_sided", "two_sided"])
def test_memory_variant_has_no_preferred_direction(projection: str) -> None:
    """Over many draws the mean of D^T D is the free projector, up to its trace."""
    method = taught("inflora_mperp", projection=projection)
    torch.manual_seed(0)
    draws = [torch.stack([d.rows for d in method.designs(TASKS[1], None)]) for _ in range(400)]
    mean = torch.stack([d.mT @ d for d in draws]).mean(0)
    for found, memory in zip(mean, method.memories, strict=True):
        free = memory.project(torch.eye(WIDTH).double())
        assert torch.allclose(found, free * 4 / 3 / free.trace(), atol=0.05)


def test_memory_variant_leaves_rows_empty_when_nothing_is_free() -> None:
    method = taught("inflora_mperp", lamb=1.0, memory="gpm")  # protects whatever has energy
    for memory in method.memories:
        memory.basis = torch.eye(WIDTH).double()[:, : WIDTH - 2]
    found = rows(method)
    assert (found.abs().amax(dim=-1) > 0).sum(dim=1).tolist() == [2] * DEPTH
    assert float(found[:, :, : WIDTH - 2].abs().max()) < 1e-12


@pytest.mark.parametrize("name", ["inflora_random", "inflora_nt"])
def test_no_memory_is_kept_where_none_is_used(name: str) -> None:
    method = taught(name)
    assert method.statistics() == 0
    assert all(memory.basis is None for memory in method.memories)
    assert taught("inflora_mperp").statistics() > 0
