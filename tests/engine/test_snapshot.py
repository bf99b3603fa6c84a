"""A snapshot sees every bit that changes, and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmark.engine.state import Snapshot, tensors_of


def tensors() -> dict[str, Tensor]:
    return {
        "weight": torch.tensor([[0.0, torch.nan], [1.0, -2.0]]),
        "count": torch.tensor(3),
        "half": torch.ones(3, dtype=torch.bfloat16),
        "known": torch.tensor([True, False]),
        "nothing": torch.empty(0),
    }


def test_a_nan_is_itself_and_minus_zero_is_not_zero() -> None:
    held = tensors()
    snapshot = Snapshot(held.items())
    assert snapshot.shows(tensors().items())
    held["weight"][0, 0] = -0.0
    assert not snapshot.shows(held.items())


@pytest.mark.parametrize("name", tensors())
def test_a_tensor_that_is_gone_new_or_of_another_kind_is_a_change(name: str) -> None:
    held = tensors()
    snapshot = Snapshot(held.items())
    value = held.pop(name)
    assert not snapshot.shows(held.items())
    assert not snapshot.shows({**held, name: value, "more": value}.items())
    assert not snapshot.shows({**held, name: value.double()}.items())
    assert not snapshot.shows({**held, name: value[None]}.items())
    if value.numel():
        assert not snapshot.shows(
            {**held, name: 1 - value.int() if name == "known" else value + 1}.items()
        )
    assert snapshot.shows({name: value, **held}.items())


def test_buffers_that_are_not_stored_count() -> None:
    module = nn.BatchNorm1d(2)
    module.register_buffer("hidden", torch.zeros(1), persistent=False)
    snapshot = Snapshot(tensors_of(module))
    module.hidden.add_(1)
    assert not snapshot.shows(tensors_of(module))
