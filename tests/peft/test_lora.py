"""Low-rank branches beside qkv: what is added, merged, trained and left alone."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmark.peft.lora import AdaptedQKV, LowRank, adapt

TARGETS = ["q", "k", "v", "qk", "qv", "kv", "qkv"]


def vit() -> VisionTransformer:
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=24, depth=3, num_heads=3, num_classes=0
    )
    return model.double().eval().requires_grad_(False)


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 16, 16, generator=torch.Generator().manual_seed(1)).double()


def random_branch(layer: AdaptedQKV, rank: int, targets: str, **options: bool) -> LowRank:
    branch = layer.new_branch(rank, targets, **options)
    draw = torch.Generator().manual_seed(len(targets))
    with torch.no_grad():
        for p in branch.parameters():
            p.copy_(torch.randn(p.shape, generator=draw) * 0.3)
    return branch


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("targets", TARGETS)
def test_the_branch_adds_its_weight_change(targets: str, shared: bool, scaled: bool) -> None:
    linear = nn.Linear(10, 3 * 8).double()
    layer = AdaptedQKV(copy.deepcopy(linear))
    branch = random_branch(layer, 2, targets, shared_down=shared, scaled=scaled)
    layer.use(branch)
    x = torch.randn(2, 5, 10, dtype=torch.float64)
    expected = linear.weight.detach().clone()
    for i, target in enumerate(targets):
        place = "qkv".index(target) * 8
        down = branch.down[0 if shared else i]
        scale = 1 if branch.scale is None else branch.scale[i]
        expected[place : place + 8] += (scale * branch.up[i] @ down).detach()
    assert torch.allclose(layer(x), x @ expected.T + linear.bias, atol=1e-12)

    before = layer(x).detach()
    layer.merge()
    assert torch.allclose(layer.linear.weight, expected, atol=1e-12)
    assert torch.allclose(layer(x), before, atol=1e-12)
    for i, name in enumerate("qkv"):
        if name not in targets:
            rows = slice(8 * i, 8 * i + 8)
            assert torch.equal(layer.linear.weight[rows], linear.weight[rows])


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("targets", ["v", "qv", "kv"])
def test_gradients_are_those_of_the_formula(targets: str, shared: bool) -> None:
    layer = AdaptedQKV(nn.Linear(4, 9).double())
    branch = random_branch(layer, 2, targets, shared_down=shared, scaled=True)
    layer.use(branch)
    x = torch.randn(2, 2, 4, dtype=torch.float64, requires_grad=True)

    def run(x: Tensor, *_: Tensor) -> Tensor:
        return layer(x).clone()

    assert torch.autograd.gradcheck(run, (x, *branch.parameters()))


def test_a_designed_branch_trains_its_up_projection_alone() -> None:
    model = vit()
    layers = adapt(model)
    branches = nn.ModuleList(
        layer.new_branch(2, "kv", shared_down=True, train_down=False) for layer in layers
    )
    for layer, branch in zip(layers, branches, strict=True):
        branch.design(torch.randn(2, 24))
        layer.use(branch)
    model(images()).square().sum().backward()
    assert all(p.grad is None for p in model.parameters())
    for branch in branches:
        assert branch.down.grad is None
        assert branch.up.grad is not None
        assert branch.up.grad.abs().sum() > 0


def test_a_new_branch_changes_no_bit() -> None:
    model = vit()
    expected = model(images())
    for layer in adapt(model):
        layer.use(layer.new_branch(4, "qkv", scaled=True))
    assert torch.equal(model(images()), expected)


def test_branches_belong_to_their_method() -> None:
    model = vit()
    names = {name.replace("qkv.", "qkv.linear.") for name, _ in model.named_parameters()}
    for layer in adapt(model):
        layer.use(layer.new_branch(2))
    assert {name for name, _ in model.named_parameters()} == names


def test_a_copy_uses_its_own_branches() -> None:
    class Owner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = vit()
            self.layers = adapt(self.model)
            self.lora = nn.ModuleList(layer.new_branch(2) for layer in self.layers)
            for layer, branch in zip(self.layers, self.lora, strict=True):
                layer.use(branch)

    owner = Owner()
    twin = copy.deepcopy(owner)
    with torch.no_grad():
        for p in twin.lora.parameters():
            p.add_(1)
    assert torch.equal(owner.model(images()), vit()(images()))
    assert not torch.equal(twin.model(images()), vit()(images()))


def test_a_merged_branch_costs_nothing_where_no_gradient_is_asked_for() -> None:
    def operations(layer: AdaptedQKV, x: Tensor) -> int:
        with FlopCounterMode(display=False) as counter:
            layer(x)
        return counter.get_total_flops()

    layer = AdaptedQKV(nn.Linear(10, 24))
    x = torch.randn(4, 10)
    plain = 2 * 4 * 10 * 24
    branch = layer.new_branch(2, "kv", shared_down=True)
    layer.use(branch)
    added = 2 * 4 * 2 * (10 + 2 * 8)
    with torch.no_grad():
        assert operations(layer, x) == plain + added
        layer.merge()
        assert operations(layer, x) == plain
    assert operations(layer, x) == plain + added
    layer.use(branch)
    with torch.no_grad():
        assert operations(layer, x) == plain + added


def test_only_the_first_blocks_are_adapted() -> None:
    model = vit()
    assert len(adapt(model, 2)) == 2
    assert [type(block.attn.qkv).__name__ for block in model.blocks] == [
        "AdaptedQKV", "AdaptedQKV", "Linear"
    ]  # fmt: skip
    assert len(adapt(vit(), 9)) == 3


def test_what_has_no_known_projection_is_refused() -> None:
    model = vit()
    model.blocks[1].attn = nn.Identity()
    with pytest.raises(ValueError, match="projections of its Identity are not known"):
        adapt(model)
    assert type(model.blocks[0].attn.qkv) is nn.Linear  # nothing is adapted before all is known
    adapted = vit()
    adapt(adapted)
    with pytest.raises(ValueError, match="found AdaptedQKV"):
        adapt(adapted)


@pytest.mark.parametrize("targets", ["", "x", "vk", "kk"])
def test_targets_are_checked(targets: str) -> None:
    with pytest.raises(ValueError, match="LoRA targets"):
        LowRank(4, 4, 1, targets)
    with pytest.raises(ValueError, match="at least 1"):
        LowRank(4, 4, 0)


def test_sizes_are_counted_with_a_down_projection_per_target() -> None:
    assert LowRank(10, 8, 2, "kv", shared_down=True).paired_size() == 2 * 2 * (10 + 8)
    assert LowRank(10, 8, 2, "qkv", scaled=True).paired_size() == 3 * 2 * (10 + 8) + 3


def test_mixed_precision_adds_in_the_precision_of_the_output() -> None:
    layer = AdaptedQKV(nn.Linear(16, 48))
    branch = random_branch(layer, 2, "kv", shared_down=True)
    layer.use(branch)
    x = torch.randn(2, 5, 16)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x)
        mixed.float().square().sum().backward()
    assert mixed.dtype == torch.bfloat16
    assert branch.up.grad is not None
    assert branch.up.grad.dtype == torch.float32
    exact = layer(x)
    assert float((mixed.float() - exact).detach().abs().max()) < 0.1
