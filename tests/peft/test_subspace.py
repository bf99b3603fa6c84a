"""Gradient memories and designs: the rules, and what must never happen."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
import torch
from reference_inflora import Memory
from torch import Tensor

from benchmark.peft.subspace import (
    GradientMemory,
    MemoryFormError,
    design,
    left_singular,
    threshold,
)


def stream(seed: int, d: int, count: int, decay: float = 0.5) -> list[Tensor]:
    """Second moments whose main directions change from one to the next."""
    draw = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        scale = torch.arange(1, d + 1, dtype=torch.float64) ** -decay
        frame = torch.linalg.qr(torch.randn(d, d, generator=draw, dtype=torch.float64))[0]
        inputs = torch.randn(4 * d, d, generator=draw, dtype=torch.float64) * scale @ frame
        found.append(inputs.T @ inputs / len(inputs))
    return found


def diagonal(*values: float) -> Tensor:
    return torch.diag(torch.tensor(values, dtype=torch.float64))


def protected(memory: GradientMemory) -> Tensor:
    """Projector of the protected space."""
    assert memory.basis is not None
    eye = torch.eye(len(memory.basis), dtype=torch.float64)
    return eye - memory.project(eye)


@pytest.mark.parametrize("dual", [True, False], ids=["dualgpm", "gpm"])
@pytest.mark.parametrize("d", [4, 9, 16])
@pytest.mark.parametrize("seed", range(6))
def test_updates_follow_the_official_rules(d: int, seed: int, dual: bool) -> None:
    """Against the plain formulas, the official slip in the first update included."""
    ours, theirs = GradientMemory(dual, first_basis="leading"), Memory(dual)
    share = 0.8 + 0.03 * seed
    for moment in stream(seed, d, 6, decay=0.2 + 0.3 * (seed % 3)):
        try:
            theirs.update(moment.numpy(), share)
        except AssertionError:
            with pytest.raises(MemoryFormError):
                ours.update(moment, share)
            return
        taken = ours.update(moment, share)
        assert ours.basis is not None
        assert (taken == 0) == theirs.skipped
        assert ours.retain == theirs.retain
        assert np.abs((ours.basis @ ours.basis.T).numpy() - theirs.projector()).max() < 1e-10
        share = min(share + 0.02, 0.999)


def test_energies_are_squares_of_the_moments_singular_values() -> None:
    # 9 : 1 : ~0 of the squares, but 3 : 1 of the values themselves.
    memory = GradientMemory()
    assert memory.update(diagonal(3, 1, 1e-3, 1e-3), 0.95) == 1
    assert GradientMemory().update(diagonal(3, 1, 1e-3, 1e-3), 0.89) == 1  # at least one


def test_the_first_update_leaves_the_crossing_direction_out_and_later_ones_take_it() -> None:
    memory = GradientMemory()
    assert memory.update(diagonal(2, 2, 0, 0, 0, 0), 0.9) == 1
    memory = GradientMemory()
    memory.update(diagonal(1, 0, 0, 0, 0, 0), 0.9)
    assert memory.update(diagonal(0, 2, 2, 0, 0, 0), 0.9) == 2
    assert memory.update(diagonal(0, 2, 2, 0, 0, 0), 0.9) == 0


@pytest.mark.parametrize("decay", [0.0, 0.3, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_both_forms_describe_the_same_subspace(seed: int, decay: float) -> None:
    plain, dual = GradientMemory(dual=False), GradientMemory(dual=True)
    for index, moment in enumerate(stream(seed, 12, 8, decay)):
        share = threshold(0.9, 0.999, index, 8)
        assert plain.update(moment, share) == dual.update(moment, share)
        assert torch.allclose(protected(plain), protected(dual), atol=1e-9)
        assert dual.columns <= 6
    assert dual.retain and not plain.retain


def test_the_form_changes_only_above_half() -> None:
    memory = GradientMemory()
    memory.update(diagonal(1, 0, 0, 0, 0, 0), 0.9)
    memory.update(diagonal(0, 1, 1, 0, 0, 0), 0.9)
    assert (memory.columns, memory.retain) == (3, False)
    memory.update(diagonal(0, 0, 0, 1, 0, 0), 0.9)
    assert (memory.columns, memory.retain) == (2, True)
    memory.update(diagonal(0, 0, 0, 0, 1, 0), 0.9)
    memory.update(diagonal(0, 0, 0, 0, 0, 1), 0.9)
    assert (memory.columns, memory.retain) == (0, True)
    assert memory.update(diagonal(1, 1, 1, 1, 1, 1), 0.9) == 0


@pytest.mark.parametrize("kept", [5, 7, 10])
def test_a_first_task_of_half_the_space_and_more_stores_the_free_rest(kept: int) -> None:
    values = diagonal(*[1.0] * kept, *[0.0] * (10 - kept)) + diagonal(*[1e-3] * 10)
    # Everything up to the kept directions lies strictly below this share of the energy.
    exact = float((values.diagonal()[:kept] ** 2).sum() / (values**2).sum()) + 1e-9
    memory = GradientMemory()
    memory.update(values, exact)
    assert memory.retain
    assert memory.columns == 10 - kept
    assert torch.allclose(protected(memory), diagonal(*[1.0] * kept, *[0.0] * (10 - kept)))
    official = GradientMemory(first_basis="leading")
    if kept == 5:
        official.update(values, exact)
        assert official.retain
        assert torch.allclose(protected(official), diagonal(*[0.0] * 5, *[1.0] * 5))
    else:
        with pytest.raises(MemoryFormError):
            official.update(values, exact)


class TestDegenerateCases:
    def test_a_zero_moment_changes_nothing(self) -> None:
        memory = GradientMemory()
        assert memory.update(torch.zeros(4, 4), 0.9) == 0
        assert memory.basis is None
        assert design(torch.zeros(4, 4), memory, 2).rank == 0
        memory.update(diagonal(2, 1, 0, 0), 0.9)
        before = protected(memory)
        assert memory.update(torch.zeros(4, 4), 0.9) == 0
        assert torch.equal(protected(memory), before)

    @pytest.mark.parametrize("share", [1.0, 1.5])
    @pytest.mark.parametrize("dual", [True, False])
    def test_shares_of_one_and_more_take_what_has_energy(self, share: float, dual: bool) -> None:
        memory = GradientMemory(dual)
        memory.update(diagonal(2, 1, 0, 0, 0), share + 1e-9)
        assert torch.allclose(protected(memory), diagonal(1, 1, 0, 0, 0))
        memory.update(diagonal(0, 1, 1, 1, 0), share + 1e-9)
        assert torch.allclose(protected(memory), diagonal(1, 1, 1, 1, 0))
        memory.update(diagonal(1, 1, 1, 1, 1), share + 1e-9)
        assert torch.allclose(protected(memory), torch.eye(5, dtype=torch.float64))
        assert memory.update(diagonal(1, 1, 1, 1, 1), share + 1e-9) == 0
        full = design(diagonal(5, 4, 3, 2, 1), memory, 3)
        assert full.rank == 0
        assert not full.rows.any()

    def test_rows_beyond_the_free_space_are_zero(self) -> None:
        memory = GradientMemory()
        memory.update(diagonal(3, 3, 3, 1e-4, 1e-4, 1e-4), 1 - 1e-9)
        found = design(stream(0, 6, 1)[0], memory, 5)
        assert found.rank == 3
        assert not found.rows[3:].any()
        assert torch.allclose(found.rows[:3] @ found.rows[:3].T, torch.eye(3).double() / 3)
        assert float((found.rows @ protected(memory)).abs().max()) < 1e-12

    def test_a_rank_above_the_width_is_filled_with_zeros(self) -> None:
        found = design(diagonal(2, 1), None, 4)
        assert found.rows.shape == (4, 2)
        assert found.rank == 2

    def test_a_single_dimension(self) -> None:
        memory = GradientMemory()
        memory.update(diagonal(2), 0.9)
        assert memory.retain and memory.columns == 0
        assert design(diagonal(2), memory, 1).rank == 0

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_moments_that_are_no_numbers_are_refused(self, bad: float) -> None:
        with pytest.raises(ValueError, match="not finite"):
            GradientMemory().update(diagonal(1, bad), 0.9)
        with pytest.raises(ValueError, match="not finite"):
            design(diagonal(1, bad), None, 1)


class TestDesign:
    @pytest.mark.parametrize("two_sided", [False, True])
    @pytest.mark.parametrize("share", [0.9, 0.99, 0.9999])
    def test_rows_are_orthogonal_and_free(self, share: float, two_sided: bool) -> None:
        first, second = stream(3, 16, 2)
        memory = GradientMemory()
        memory.update(first, share)
        found = design(second, memory, 4, two_sided)
        assert found.rank == min(4, round(16 - float(protected(memory).trace())))
        gram = torch.diag((torch.arange(4) < found.rank).double() / 3)
        assert float((found.rows @ found.rows.T - gram).abs().max()) < 1e-12
        assert float((found.rows @ protected(memory)).abs().max()) < 1e-12

    def test_without_memory_rows_are_the_main_directions(self) -> None:
        found = design(diagonal(1, 3, 2), GradientMemory(), 2)
        expected = torch.tensor([[0, 1, 0], [0, 0, 1]]) / math.sqrt(3)
        assert torch.allclose(found.rows.abs(), expected.double())
        assert found.singular_values.tolist() == [3, 2, 1]

    def test_two_sided_takes_the_main_directions_of_the_projected_inputs(self) -> None:
        """The paper's form: left singular vectors of (I - P) H."""
        draw = torch.Generator().manual_seed(0)
        old, new = stream(1, 10, 2)
        memory = GradientMemory()
        memory.update(old, 0.95)
        inputs = (
            torch.linalg.cholesky(new)
            @ torch.linalg.qr(torch.randn(10, 10, generator=draw, dtype=torch.float64))[0]
        )
        vectors, values, _ = torch.linalg.svd(memory.project(inputs))
        found = design(new, memory, 3, two_sided=True)
        leading = vectors[:, :3]
        assert torch.allclose(found.rows.T @ found.rows * 3, leading @ leading.T)
        assert torch.allclose(found.singular_values[:3], values[:3] ** 2)
        official = design(new, memory, 3)
        assert not torch.allclose(official.rows.T @ official.rows * 3, leading @ leading.T)


def test_singular_vectors_of_symmetric_matrices_need_no_definite_sign() -> None:
    vectors, values = left_singular(diagonal(1, -3, 2))
    assert values.tolist() == [3, 2, 1]
    assert vectors.abs().argmax(0).tolist() == [1, 2, 0]


def test_state_survives_saving_whatever_its_shape() -> None:
    for memory in (GradientMemory(), _filled(1), _filled(6)):
        file = io.BytesIO()
        torch.save(memory.state_dict(), file)
        file.seek(0)
        fresh = GradientMemory()
        fresh.load_state_dict(torch.load(file, weights_only=True), strict=True)
        assert fresh.retain == memory.retain
        assert fresh.columns == memory.columns
        if memory.basis is not None:
            assert fresh.basis is not None
            assert torch.equal(fresh.basis, memory.basis)


def _filled(updates: int) -> GradientMemory:
    memory = GradientMemory()
    for moment in stream(0, 8, updates):
        memory.update(moment, 0.98)
    return memory


@pytest.mark.parametrize("dual", [False, True])
def test_a_basis_bent_by_rounding_is_straightened(dual: bool) -> None:
    memory = GradientMemory(dual)
    for moment in stream(0, 8, 3):
        memory.update(moment, 0.9)
    assert memory.retain == dual
    assert memory.basis is not None
    draw = torch.Generator().manual_seed(0)
    bend = torch.randn(memory.basis.shape, generator=draw, dtype=torch.float64)
    memory.basis = memory.basis + 1e-3 * bend
    assert memory.update(stream(5, 8, 1)[0], 0.95) > 0
    gram = memory.basis.T @ memory.basis
    assert torch.allclose(gram, torch.eye(memory.columns, dtype=torch.float64), atol=1e-12)


def test_single_precision_moments_are_decided_in_double() -> None:
    memory = GradientMemory()
    memory.update(stream(0, 8, 1)[0].float(), 0.9)
    assert memory.basis is not None
    assert memory.basis.dtype == torch.float64
    assert design(stream(1, 8, 1)[0].float(), memory, 2).rows.dtype == torch.float64


def test_threshold_rises_with_the_tasks_but_does_not_reach_its_end() -> None:
    assert threshold(0.98, 1.0, 0, 10) == 0.98
    assert threshold(0.98, 1.0, 5, 10) == pytest.approx(0.99)
    assert threshold(0.98, 1.0, 9, 10) == pytest.approx(0.998)
    assert threshold(0.9, 0.5, 1, 2) == pytest.approx(0.7)
