"""The adapter that reads the residual stream: its formula, its silence, its port."""

from __future__ import annotations

import copy

import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark.engine.template import Template
from benchmark.peft.fixed_adapter import FixedAdapter, before_norm2

WIDTH = 12


def vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=8, patch_size=4, embed_dim=WIDTH, depth=2, num_heads=2, num_classes=0
    ).eval()


def test_it_is_its_formula() -> None:
    torch.manual_seed(0)
    adapter = FixedAdapter(WIDTH, 4, dropout=0.5, scale=0.3).eval()
    x = torch.randn(2, 5, WIDTH)
    assert not adapter(x).any()  # silent at the start
    with torch.no_grad():
        for parameter in adapter.parameters():
            parameter.normal_()
    hidden = (x @ adapter.down.weight.T + adapter.down.bias).clamp(min=0)
    expected = 0.3 * (hidden @ adapter.up.weight.T + adapter.up.bias)
    torch.testing.assert_close(adapter(x), expected)
    assert not torch.allclose(adapter.train()(x), expected)  # half of the bottleneck is dropped
    assert sum(p.numel() for p in adapter.parameters()) == FixedAdapter.size(WIDTH, 4)


def test_the_port_leaves_no_trace_and_is_copied_with_the_network() -> None:
    model, images = vit(), torch.randn(2, 3, 8, 8)
    plain = model(images)
    adapter = FixedAdapter(WIDTH, 4).eval()
    torch.nn.init.normal_(adapter.up.weight)
    port = before_norm2(model, 1)
    port.use(adapter)
    adapted = model(images)
    assert not torch.allclose(adapted, plain)
    assert vars(port._stream) == {"reader": adapter, "tokens": None}
    again, _ = Template(model, (), ()).copy()
    assert torch.equal(again(images), adapted)
    assert torch.equal(copy.deepcopy(model)(images), adapted)
    port.use(None)
    assert torch.equal(model(images), plain)
    assert model.state_dict().keys() == vit().state_dict().keys()
