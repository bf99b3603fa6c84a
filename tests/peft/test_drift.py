"""Estimated drift of stored means, where the true one is known."""

from __future__ import annotations

import torch

from benchmark.peft.drift import mean_shift


def test_a_common_drift_moves_every_mean_by_just_that() -> None:
    torch.manual_seed(0)
    before, drift = torch.randn(20, 4).double(), torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
    means = 5 * torch.randn(3, 4)  # float32, as methods keep them
    for sigma in (0.1, 4.0):
        shift = mean_shift(means, before, before + drift, sigma)
        torch.testing.assert_close(shift, drift.expand(3, 4), rtol=0, atol=1e-12)
    assert not mean_shift(means, before, before, 4.0).any()


def test_a_mean_follows_the_images_near_it() -> None:
    torch.manual_seed(0)
    near, far = 0.1 * torch.randn(10, 2), 100 + 0.1 * torch.randn(10, 2)
    before = torch.cat([near, far])
    after = torch.cat([near, far + 1])
    means = torch.tensor([[0.0, 0.0], [100.0, 100.0], [1000.0, -1000.0]])
    shift = mean_shift(means, before, after, sigma=1.0)
    torch.testing.assert_close(shift[0], torch.zeros(2).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(shift[1], torch.ones(2).double(), rtol=0, atol=1e-4)
    # Far from all of them the floor makes it the mean of all drifts.
    torch.testing.assert_close(shift[2], torch.full((2,), 0.5).double(), rtol=0, atol=1e-5)


def test_weights_are_a_gaussian_of_the_distance() -> None:
    before, after = torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [7.0]])
    near, distant = (torch.exp(torch.tensor(-d * d / 8.0)) + 1e-5 for d in (1.0, 3.0))
    expected = (near * 1 + distant * 4) / (near + distant)
    shift = mean_shift(torch.zeros(1, 1), before, after, sigma=2.0)
    torch.testing.assert_close(shift[0, 0], expected.double(), rtol=1e-6, atol=0)
