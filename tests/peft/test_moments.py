"""Second moments of what goes into a layer: the mean over tokens, precision, early ends."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmark.peft.moments import InputMoments


def test_mean_over_all_tokens_of_unequal_batches() -> None:
    layer = nn.Linear(6, 2).double()
    x = torch.randn(7, 5, 6, dtype=torch.float64)
    with InputMoments([layer]) as moments:
        for part in x.split(3):
            layer(part)
    layer(x)  # no longer counted
    tokens = x.flatten(0, 1)
    assert moments.counts == [35]
    (matrix,) = moments.matrices()
    assert torch.equal(matrix, matrix.T)
    assert torch.allclose(matrix, tokens.T @ tokens / 35)


def test_hooks_go_when_the_pass_fails() -> None:
    layer = nn.Linear(6, 2)
    with pytest.raises(RuntimeError), InputMoments([layer]) as moments:
        layer(torch.zeros(2, 5))
    layer(torch.zeros(2, 6))
    assert moments.counts == [2]
    assert not layer._forward_pre_hooks


def test_products_stay_in_single_precision_under_autocast() -> None:
    layer = nn.Linear(32, 2)
    x = torch.randn(500, 32) + 3
    with torch.autocast("cpu", torch.bfloat16), InputMoments([layer]) as moments:
        layer(x)
    (matrix,) = moments.matrices()
    exact = x.double().T @ x.double() / 500
    assert float((matrix - exact).abs().max() / exact.abs().max()) < 1e-6


def test_gathering_ends_at_the_last_layer() -> None:
    first, second, third = nn.Linear(6, 4), nn.Linear(4, 3), nn.Linear(3, 2)
    ran: list[nn.Module] = []
    for layer in (first, second, third):
        layer.register_forward_hook(lambda module, *_: ran.append(module))
    model, x = nn.Sequential(first, second, third), torch.randn(5, 6)
    with InputMoments([first, second]) as moments:
        moments.gather(model, x)
    assert moments.counts == [5, 5]
    assert ran == [first]
    model(x)
    assert ran == [first, first, second, third]


def test_a_failing_pass_is_not_taken_for_an_early_end() -> None:
    model = nn.Sequential(nn.Linear(6, 2), nn.Linear(2, 2))
    with pytest.raises(RuntimeError), InputMoments([model[1]]) as moments:
        moments.gather(model, torch.zeros(2, 5))


def test_no_input_is_an_error() -> None:
    with InputMoments([nn.Linear(2, 2)]) as moments:
        pass
    with pytest.raises(ValueError, match="no training images"):
        moments.matrices()
