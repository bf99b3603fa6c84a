"""Adapters: their formulas, their silence at the start, the grid they convolve."""

from __future__ import annotations

import copy

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.peft.adapters import ConvAdapter, LinearAdapter, beside

WIDTH, BOTTLENECK = 12, 4


def randomised(module: nn.Module, seed: int = 0) -> nn.Module:
    """All parameters drawn anew, so that nothing is silent or an identity."""
    draws = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=draws) * 0.5)
    return module


def tokens(count: int, seed: int = 1) -> Tensor:
    draws = torch.Generator().manual_seed(seed)
    return torch.randn(3, count, WIDTH, generator=draws)


def vit(**options: int) -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=16, patch_size=4, embed_dim=WIDTH, depth=2, num_heads=2, num_classes=0, **options
    ).eval()


def quick_gelu(z: Tensor) -> Tensor:
    return z / (1 + torch.exp(-1.702 * z))


def test_linear_adapter_is_its_formula() -> None:
    adapter = randomised(LinearAdapter(WIDTH, BOTTLENECK))
    x = tokens(5)
    hidden = F.gelu(x @ adapter.down.weight.T + adapter.down.bias)
    expected = adapter.scale * (hidden @ adapter.up.weight.T + adapter.up.bias)
    torch.testing.assert_close(adapter(x), expected)


def test_conv_adapter_is_its_formula_written_pixel_by_pixel() -> None:
    adapter = randomised(ConvAdapter(WIDTH, BOTTLENECK)).eval()
    x, side = tokens(1 + 16), 4
    z = quick_gelu(x @ adapter.down.weight.T + adapter.down.bias)
    taps, bias = adapter.conv.weight, adapter.conv.bias
    mixed = torch.zeros_like(z)
    mixed[:, 0] = z[:, 0] @ taps[:, :, 1, 1].T + bias
    for row in range(side):
        for column in range(side):
            total = bias.expand(len(x), -1).clone()
            for i in (-1, 0, 1):
                for j in (-1, 0, 1):
                    if 0 <= row + i < side and 0 <= column + j < side:
                        patch = z[:, 1 + (row + i) * side + column + j]
                        total = total + patch @ taps[:, :, 1 + i, 1 + j].T
            mixed[:, 1 + row * side + column] = total
    expected = adapter.scale * (quick_gelu(mixed) @ adapter.up.weight.T + adapter.up.bias)
    torch.testing.assert_close(adapter(x), expected)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("side", [1, 4, 14])
def test_identity_tap_is_a_linear_bottleneck_with_the_activation_twice(
    kernel: int, side: int
) -> None:
    adapter = ConvAdapter(WIDTH, BOTTLENECK, kernel).eval()
    randomised(adapter.up)
    x = tokens(1 + side**2)
    hidden = quick_gelu(quick_gelu(adapter.down(x)))
    torch.testing.assert_close(adapter(x), adapter.up(hidden))


@pytest.mark.parametrize("kernel", [3, 5])
def test_a_patch_reaches_the_patches_under_the_kernel_and_no_other_token(kernel: int) -> None:
    adapter = randomised(ConvAdapter(WIDTH, BOTTLENECK, kernel)).eval()
    side, reach = 6, kernel // 2
    x = tokens(1 + side**2)
    moved = x.clone()
    moved[:, 1 + 2 * side + 3] += 1.0  # row 2, column 3
    touched = (adapter(moved) != adapter(x)).any(dim=2).any(dim=0)
    expected = torch.zeros(side, side, dtype=torch.bool)
    expected[2 - reach : 3 + reach, 3 - reach : 4 + reach] = True
    assert not touched[0]
    assert torch.equal(touched[1:].view(side, side), expected)


def test_only_the_centre_tap_acts_on_the_class_token() -> None:
    adapter = randomised(ConvAdapter(WIDTH, BOTTLENECK)).eval()
    x = tokens(1 + 9)
    before = adapter(x)
    with torch.no_grad():
        centre = adapter.conv.weight[:, :, 1, 1].clone()
        adapter.conv.weight.add_(1.0)
        adapter.conv.weight[:, :, 1, 1] = centre
    after = adapter(x)
    assert torch.equal(before[:, 0], after[:, 0])
    assert not torch.isclose(before[:, 1:], after[:, 1:]).any(dim=2).all(dim=1).any()


def test_registers_are_treated_as_the_class_token() -> None:
    adapter = randomised(ConvAdapter(WIDTH, BOTTLENECK, prefix_tokens=3)).eval()
    alone = randomised(ConvAdapter(WIDTH, BOTTLENECK)).eval()
    x = tokens(3 + 16)
    torch.testing.assert_close(adapter(x)[:, 2:], alone(x[:, 2:]))
    for register in range(2):
        swapped = torch.cat([x[:, register : register + 1], x[:, 3:]], dim=1)
        torch.testing.assert_close(adapter(x)[:, register], alone(swapped)[:, 0])


@pytest.mark.parametrize("count", [1, 1 + 15, 1 + 12])
def test_patches_that_are_no_square_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="no square grid"):
        ConvAdapter(WIDTH, BOTTLENECK)(tokens(count))


def test_a_kernel_without_centre_is_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        ConvAdapter(WIDTH, BOTTLENECK, kernel=4)


def test_dropout_acts_in_training_alone() -> None:
    adapter = randomised(ConvAdapter(WIDTH, BOTTLENECK, dropout=0.5))
    x = tokens(1 + 4)
    torch.manual_seed(0)
    assert not torch.equal(adapter(x), adapter(x))
    adapter.eval()
    assert torch.equal(adapter(x), adapter(x))


@pytest.mark.parametrize("adapter", [LinearAdapter(WIDTH, 4), ConvAdapter(WIDTH, 4)])
@pytest.mark.parametrize("sublayer", ["msa", "mlp"])
def test_new_adapters_leave_the_backbone_as_it_was(adapter: nn.Module, sublayer: str) -> None:
    backbone = vit()
    names = list(backbone.state_dict())
    images = torch.rand(2, 3, 16, 16)
    before = backbone(images)
    port = beside(backbone, 1, sublayer)  # type: ignore[arg-type]
    port.use(adapter)
    assert torch.equal(backbone(images), before)
    assert list(backbone.state_dict()) == names


@pytest.mark.parametrize("sublayer", ["msa", "mlp"])
def test_an_adapter_adds_to_its_sublayer_what_it_makes_of_the_same_input(sublayer: str) -> None:
    backbone, adapter = vit(), randomised(LinearAdapter(WIDTH, BOTTLENECK))
    x, block = tokens(17), vit().blocks[1]
    port = beside(backbone, 1, sublayer)  # type: ignore[arg-type]
    port.use(adapter)
    y = block.norm1(x)
    h = x + block.attn(y) + (adapter(y) if sublayer == "msa" else 0)
    y = block.norm2(h)
    expected = h + block.mlp(y) + (adapter(y) if sublayer == "mlp" else 0)
    torch.testing.assert_close(backbone.blocks[1](x), expected)
    port.use(None)
    assert torch.equal(backbone.blocks[1](x), block(x))


def test_a_copied_backbone_has_ports_of_its_own() -> None:
    backbone, adapter = vit(), randomised(LinearAdapter(WIDTH, BOTTLENECK))
    images = torch.rand(2, 3, 16, 16)
    plain = backbone(images)
    port = beside(backbone, 0, "msa")
    port.use(adapter)
    twin = copy.deepcopy(backbone)
    port.use(None)
    assert torch.equal(backbone(images), plain)
    assert not torch.allclose(twin(images), plain)


@pytest.mark.parametrize(
    ("bottleneck", "linear", "conv"),
    [(5, 8_454, 8_684), (8, 13_065, 13_649), (128, 197_505, 345_089)],
)
def test_sizes_at_width_768(bottleneck: int, linear: int, conv: int) -> None:
    for adapter, size in (
        (LinearAdapter(768, bottleneck), linear),
        (ConvAdapter(768, bottleneck), conv),
    ):
        assert sum(p.numel() for p in adapter.parameters()) == size
        assert type(adapter).size(768, bottleneck) == size
