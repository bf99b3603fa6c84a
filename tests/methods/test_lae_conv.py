"""LAE with convolutional adapters: where they stand, what they cost, what they leave alone."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from lae_family import make
from toy_world import DEPTH, TASKS, WIDTH, copies, images, learn, moved, same, vit

from benchmark.peft.adapters import ConvAdapter, LinearAdapter
from methods.lae_conv import LaeConv

KINDS = {"conv": ConvAdapter, "linear": LinearAdapter}
CHOICES = [pair for pair in product(("conv", "linear", "none"), repeat=2) if set(pair) != {"none"}]


@pytest.mark.parametrize(("msa", "mlp"), CHOICES)
def test_every_combination_is_built_and_trained(msa: str, mlp: str) -> None:
    method = make("conv", msa=msa, mlp=mlp)
    wanted = [KINDS[kind] for kind in (msa, mlp) if kind != "none"]
    assert [type(module) for module in method.online] == wanted * 2
    assert torch.equal(method.eval().features(images()), vit()(images()))
    before = copies(method.online)
    learn(method, TASKS[:2])
    assert moved(before, method.online) == set(before)
    formula = LaeConv.expanded_formula(method.config, WIDTH, DEPTH, 2)
    assert method.expanded_parameters() == formula


@pytest.mark.parametrize(("size", "patch"), [(32, 8), (28, 2)])
def test_grids_of_small_and_large_images(size: int, patch: int) -> None:
    backbone = vit(img_size=size, patch_size=patch)
    method = LaeConv(backbone, LaeConv.Config(blocks=1))
    method.grow(TASKS[0])
    method.double()
    with torch.no_grad():
        for module in method.online:
            module.up.weight.normal_()
    scores = method.eval().predict(torch.rand(2, 3, size, size).double())
    assert torch.isfinite(scores).all()


def test_registers_are_known_as_prefix_tokens() -> None:
    backbone = vit(reg_tokens=4)
    method = LaeConv(backbone, LaeConv.Config()).double().eval()
    assert {module.prefix_tokens for module in method.online} == {5}
    assert torch.equal(method.features(images()), vit(reg_tokens=4)(images()))


def test_both_changes_together_train_as_either_alone() -> None:
    """Up to the first merge nothing tells the average and TIES apart."""
    averaged, merged = learn(make("conv"), TASKS[:1]), learn(make("conv_ties"), TASKS[:1])
    assert same(copies(averaged), copies(merged))
