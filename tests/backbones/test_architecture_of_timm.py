"""Models of timm as backbones: which can be one, their sizes, and images of another size."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from timm_kinds import DEPTH, HEADS, KINDS, OLDER, PATCH, SIDE, WIDTH, images, make
from torch import nn
from torch.nn import functional as F

from benchmark.backbones import architecture
from benchmark.backbones.architecture import (
    check_class,
    check_side,
    check_square,
    heads_of,
    input_sizes,
    resize_input,
    shape_of_model,
)
from benchmark.backbones.catalogue import BackboneError
from benchmark.backbones.load import load_backbone, outline_of, shape_of, weight_facts


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_read_off_any_kind(kind: str) -> None:
    model = make(kind)
    check_class(model, kind)
    check_square(model, kind)
    assert input_sizes(model).patch == (PATCH, PATCH)
    shape = shape_of_model(model)
    assert (shape.embed_dim, shape.depth, shape.patch_size) == (WIDTH, DEPTH, PATCH)
    assert shape.class_token + shape.reg_tokens == model.num_prefix_tokens
    assert heads_of(model) == shape.num_heads == (2 if kind == "difference" else HEADS)
    # The blocks' linear layers have as many weights as those of a plain ViT of this shape.
    linear = [m.weight.numel() for m in model.blocks.modules() if isinstance(m, nn.Linear)]
    own = DEPTH * WIDTH**2 * (4 + 2 * shape.mlp_ratio)
    assert sum(linear) == pytest.approx(own, rel=0.05)


@pytest.mark.parametrize("kind", KINDS)
def test_another_image_size_is_that_of_timm(kind: str) -> None:
    model, same, x = make(kind), make(kind), images(2, 3 * PATCH)
    resize_input(same, SIDE, kind)
    if OLDER and kind.startswith(("relative", "beit")):
        with pytest.raises(BackboneError, match="this timm cannot interpolate"):
            resize_input(model, 3 * PATCH, kind)
        return
    if "naflex" not in kind:
        assert torch.equal(same(images()), make(kind)(images()))
    resize_input(model, 3 * PATCH, kind)
    found = model(x)
    assert found.shape == (2, WIDTH)
    assert found.isfinite().all()
    if "naflex" not in kind:
        assert input_sizes(model).image == (3 * PATCH, 3 * PATCH)
    for side in (SIDE + 1, PATCH - 1, 0):
        with pytest.raises(
            BackboneError, match=r"multiple of its patch size 8: nearest valid (8|16)"
        ):
            check_side(model, side, kind)


def test_absolute_positions_are_interpolated_bicubically() -> None:
    model, before = make("plain"), make("plain").pos_embed
    resize_input(model, 3 * PATCH, "plain")
    grid = before[:, 1:].float().unflatten(1, (2, 2)).permute(0, 3, 1, 2)
    wanted = F.interpolate(grid, size=(3, 3), mode="bicubic", antialias=True)
    torch.testing.assert_close(model.pos_embed[:, :1], before[:, :1])
    torch.testing.assert_close(
        model.pos_embed[:, 1:].float(), wanted.permute(0, 2, 3, 1).flatten(1, 2)
    )


def test_what_timm_cannot_interpolate_is_refused() -> None:
    class Fixed(nn.Module):
        patch_embed = SimpleNamespace(img_size=(16, 16), feat_ratio=lambda as_scalar: (8, 8))

    with pytest.raises(BackboneError, match=r"16 pixels a side.*cannot interpolate"):
        check_side(Fixed(), 24, "fixed")
    check_side(Fixed(), 16, "fixed")


@pytest.mark.parametrize(
    ("image", "patch", "fault"),
    [
        ((16, 32), (8, 8), r"16 x 32 pixels are not square.*backbone\.image_size=16"),
        ((16, 16), (8, 4), "patches of 8 x 4"),
    ],
)
def test_what_is_not_square_is_refused(
    image: Any, patch: Any, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = architecture.InputSizes(image, patch)
    monkeypatch.setattr(architecture, "input_sizes", lambda model: sizes)
    with pytest.raises(BackboneError, match=fault):
        check_square(nn.Identity(), "odd")


def test_what_does_not_pool_is_refused() -> None:
    model = make("plain")
    model.global_pool = ""
    with pytest.raises(BackboneError, match="does not pool its tokens"):
        check_class(model, "unpooled")


def test_an_outline_has_no_content_and_a_real_one_loads() -> None:
    name = "random:eva02_tiny_patch14_224"
    outline = outline_of(name)
    assert {p.device.type for p in outline.parameters()} == {"meta"}
    backbone = load_backbone(name, image_size=28)
    assert backbone.spec.input_size == 28
    assert backbone.weight_hash == load_backbone(name).weight_hash == weight_facts(name).weight_hash
    shape = shape_of(name)
    assert shape is not None
    assert (shape.embed_dim, shape.depth, shape.num_heads) == (192, 12, 3)
    with torch.no_grad():
        assert backbone.model(torch.rand(1, 3, 28, 28)).shape == (1, 192)
