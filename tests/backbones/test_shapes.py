"""What tensors tell of an architecture: heads of published shapes, and what is asked for."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor

from benchmark.backbones.catalogue import BackboneError, Layers
from benchmark.backbones.formats.base import WeightFile
from benchmark.backbones.load import load_backbone, weight_facts
from benchmark.backbones.network import layers_of
from benchmark.backbones.shapes import known_heads, shape_and_layers
from benchmark.cli import main

PATH = Path("weights.pth")


def outline(name: str, depth: int = 1, **options: object) -> dict[str, Tensor]:
    """The tensors of a timm model of so many blocks, without content."""
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0, depth=depth, **options)
    return dict(model.state_dict())


@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "vit_small_patch8_224",
        "deit_small_distilled_patch16_224",
        "vit_base_patch16_224",
        "vit_base_patch32_224",
        "vit_large_patch16_224",
        "vit_huge_patch14_224",
        "vit_giant_patch14_224",
        "vit_gigantic_patch14_224",
        "vit_small_patch14_dinov2",
        "vit_base_patch14_reg4_dinov2",
        "vit_giant_patch14_dinov2",
        "vit_giant_patch14_reg4_dinov2",
        "vit_so400m_patch14_reg1_tipsv2",
        "vit_base_patch16_reg4_gap_256",
        "deit3_small_patch16_224",
        "deit_base_distilled_patch16_224",
        "eva_large_patch14_196",
    ],
)
def test_published_shapes_are_read_as_timm_builds_them(name: str) -> None:
    if not timm.is_model(name):
        pytest.skip("this timm does not have it yet")
    with torch.device("meta"):
        model = timm.create_model(name, num_classes=0, depth=1)
    shape, layers = shape_and_layers(WeightFile(dict(model.state_dict())), None, PATH)
    assert shape.num_heads == model.blocks[0].attn.num_heads
    assert shape.global_pool == model.global_pool
    found = layers_of(model)
    assert (layers.activation, layers.epsilon) == (found.activation, found.epsilon)
    assert layers.gated == found.gated


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("vit_small_patch16_224", "number of attention heads"),
        ("vit_medium_patch32_clip_224", "QuickGELU or GELU"),
        ("vit_base_patch16_clip_224", "QuickGELU or GELU"),
        ("vit_base_patch16_gap_224", "which GELU"),
        ("vit_base_patch16_siglip_224", "which GELU"),
        ("vit_base_patch16_siglip_gap_224", "which GELU"),
        ("vit_base_patch16_rpn_224", "whether norms come before or after"),
    ],
)
def test_what_is_not_told_is_asked_for_with_the_architecture(name: str, asked: str) -> None:
    if not timm.is_model(name):
        pytest.skip("this timm does not have it yet")
    with pytest.raises(BackboneError, match=asked) as caught:
        shape_and_layers(WeightFile(outline(name)), None, PATH)
    words = shlex.split(str(caught.value))
    assert words[words.index("--set") + 1] == "backbone.file=weights.pth"
    named = words[words.index("--backbone") + 1].removeprefix("timm:")
    assert named == "NAME" or timm.is_model(named)
    if "medium" not in name:
        assert name in str(caught.value)


def test_a_family_tells_the_heads_of_a_small_vit() -> None:
    tensors = outline("vit_small_patch16_224")
    assert known_heads(WeightFile(tensors)) is None
    assert known_heads(WeightFile(tensors, family="MoCo v3")) == 12
    assert known_heads(WeightFile(tensors, family="DINO")) == 6


def test_the_command_of_the_message_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    model = timm.create_model("vit_small_patch16_224", num_classes=0, img_size=32).half()
    path = tmp_path / "a small ViT.pth"
    torch.save(model.state_dict(), path)
    plan = ["plan", "--method", "ncm", "--tasks", "2"]
    assert main([*plan, "--backbone", f"file:{path}"]) == 2
    words = shlex.split(capsys.readouterr().err)
    command = [words[words.index(option) + i] for option in ("--backbone", "--set") for i in (0, 1)]
    assert main([*plan, *command]) == 0
    assert "are for images of 32 px, not the 224 px" in " ".join(capsys.readouterr().err.split())
    network = weight_facts(command[1], file=path).network
    assert network is not None and (network.heads, network.image_size) == (6, 32)


def test_heads_of_the_layout_are_those_of_the_name(tmp_path: Path) -> None:
    tensors = outline("vit_small_patch16_224", depth=12, img_size=32)
    whole = {name: torch.zeros(value.shape).half() for name, value in tensors.items()}
    path = tmp_path / "moco.pth"
    torch.save({f"module.momentum_encoder.{name}": value for name, value in whole.items()}, path)
    model = load_backbone(f"file:{path}")
    assert model.facts.network is not None and model.facts.network.heads == 12
    with pytest.raises(BackboneError, match=r"moco\.pth does not fit.*12 heads a block, not 6"):
        load_backbone("timm:vit_small_patch16_224", file=path)
    assert layers_of(model.model) == Layers()
