"""Cosine heads and their margin loss."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from benchmark.peft.cosine import CosFace, SigmaCosine, cosines, margin_loss


def test_logits_are_cosines_times_sigma() -> None:
    head, features = SigmaCosine(5, 3), torch.randn(4, 5)
    assert float(head.weight.detach().abs().max()) <= 5**-0.5
    head.requires_grad_(False).sigma.fill_(2.5)
    for i, f in enumerate(features):
        for c, w in enumerate(head.weight):
            expected = 2.5 * f @ w / (f.norm() * w.norm())
            assert float(head(features)[i, c]) == pytest.approx(float(expected), abs=1e-6)


def test_cosines_do_not_depend_on_lengths() -> None:
    head, features = CosFace(5, 3), torch.randn(4, 5)
    found = head(features)
    assert found.abs().max() <= 1 + 1e-6
    torch.testing.assert_close(cosines(7 * features, 0.1 * head.weight), found)
    assert float(CosFace(500, 400).weight.detach().std()) == pytest.approx(0.02, rel=0.02)
    with pytest.raises(ValueError, match="no bias"):
        cosines(features, head.weight, torch.zeros(3))


def test_the_margin_lowers_the_true_class_alone() -> None:
    found = torch.tensor([[0.9, 0.2], [-0.5, 0.4]])
    labels = torch.tensor([0, 1])
    expected = F.cross_entropy(20 * torch.tensor([[0.6, 0.2], [-0.5, 0.1]]), labels)
    torch.testing.assert_close(margin_loss(found, labels, margin=0.3), expected)
    torch.testing.assert_close(margin_loss(found, labels), F.cross_entropy(20 * found, labels))
