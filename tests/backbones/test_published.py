"""The published ViT-B/16 under their names: catalogue, formats of their files, loading by hand."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark.backbones import load as loader
from benchmark.backbones.catalogue import available, find
from benchmark.backbones.load import load_backbone, weight_hash_of

TAGS = {
    "vit_b16_in21k": "vit_base_patch16_224.augreg_in21k",
    "vit_b16_in21k_orig": "vit_base_patch16_224.orig_in21k",
    "vit_b16_in21k_in1k": "vit_base_patch16_224.augreg_in21k_ft_in1k",
    "vit_b16_dino": "vit_base_patch16_224.dino",
}
IBOT_EXTRAS = {
    "masked_embed": (1, 768),
    "head.mlp.0.weight": (2048, 768),
    "head.mlp.0.bias": (2048,),
    "head.last_layer.weight_g": (8192, 1),
    "head.last_layer2.weight_v": (16, 256),
}


@pytest.mark.parametrize("name", TAGS)
def test_entries_agree_with_timm(name: str) -> None:
    spec, theirs = find(name), timm.get_pretrained_cfg(TAGS[name])
    assert (spec.source, spec.timm_name) == ("timm", TAGS[name])
    assert (spec.mean, spec.std) == (theirs.mean, theirs.std)
    assert theirs.hf_hub_id == f"timm/{TAGS[name]}"
    assert theirs.input_size == (3, spec.input_size, spec.input_size)


def test_entries_say_what_they_are_for() -> None:
    names = [spec.name for spec in available() if spec.source != "embedded"]
    assert names == [*TAGS, "vit_b16_ibot"]
    for spec in map(find, names):
        assert spec.published and spec.published in spec.description
        assert spec.shape is not None
        assert (spec.patch_size, spec.shape.embed_dim, spec.shape.depth) == (16, 768, 12)
        assert spec.sha256 is None  # nobody published a checksum
    assert find("vit_b16_ibot").address.endswith("/ibot/vitb_16/checkpoint_teacher.pth")
    assert find("vit_b16_dino").address.endswith("/dino_vitbase16_pretrain.pth")
    assert find("vit_b16_in21k").mean == (0.5, 0.5, 0.5)
    assert find("vit_b16_ibot").mean == (0.485, 0.456, 0.406)


@pytest.fixture(scope="module")
def whole() -> VisionTransformer:
    """A ViT-B/16 as timm makes it, with a classifier, every tensor of it random."""
    torch.manual_seed(0)
    model = timm.create_model(TAGS["vit_b16_in21k"], pretrained=False, num_classes=10)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    return model


@pytest.fixture(scope="module")
def by_hand() -> VisionTransformer:
    """An empty ViT-B/16 to load into."""
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", pretrained=False, num_classes=0)
    return model.to_empty(device="cpu").eval()


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Path]:
    """A folder whose hundreds of megabytes are gone after the test."""
    yield tmp_path
    for path in [*tmp_path.rglob("*.safetensors"), *tmp_path.rglob("*.pth")]:
        path.unlink()


@pytest.mark.parametrize("name", ["vit_b16_in21k", "vit_b16_dino", "vit_b16_ibot"])
def test_each_format_gives_the_features_of_loading_by_hand(
    name: str,
    whole: VisionTransformer,
    by_hand: VisionTransformer,
    roomy: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tensors = whole.state_dict()
    plain = {key: value for key, value in tensors.items() if not key.startswith("head.")}
    dropped: list[str] = []
    if name == "vit_b16_in21k":
        path, dropped = roomy / "model.safetensors", ["head.bias", "head.weight"]
        safetensors.torch.save_file(tensors, path)
    elif name == "vit_b16_dino":
        path = roomy / "dino_vitbase16_pretrain.pth"
        torch.save(plain, path)
    else:
        path, dropped = roomy / "checkpoint_teacher.pth", sorted(IBOT_EXTRAS)
        extras = {key: torch.zeros(shape) for key, shape in IBOT_EXTRAS.items()}
        torch.save({"state_dict": plain | extras}, path)
    with caplog.at_level(logging.INFO):
        backbone = load_backbone(name, file=path)
    assert backbone.spec.weight_file == path
    assert not backbone.model.training
    by_hand.load_state_dict(plain)
    image = torch.rand(1, 3, 224, 224)
    with torch.no_grad():
        assert torch.equal(backbone.model(image), by_hand(image))
    assert backbone.left_out == tuple(dropped)
    assert all(key in caplog.text for key in dropped)
    # The hash is kept, so that a plan does not read hundreds of megabytes.
    monkeypatch.setattr(loader, "_build", None)
    assert weight_hash_of(name, file=path) == backbone.weight_hash
