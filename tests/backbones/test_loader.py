"""Loading by name: faults of weight files, hashes, inferred architectures, offline timm names."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.backbones import load as loader
from benchmark.backbones.catalogue import BackboneError, VitShape, find
from benchmark.backbones.hashing import hash_tensors, read_safetensors, with_heads
from benchmark.backbones.load import load_backbone, weight_facts, weight_hash_of


def test_architecture_is_inferred(weight_file: Path) -> None:
    backbone = load_backbone(f"file:{weight_file}")
    expected = VitShape(img_size=24, patch_size=8, embed_dim=128, depth=3, num_heads=2)
    assert backbone.spec.shape == expected
    assert backbone.spec.input_size == 24
    assert not backbone.model.training
    assert backbone.model(torch.rand(2, 3, 24, 24)).shape == (2, 128)


@pytest.mark.parametrize(
    "shape",
    [
        VitShape(reg_tokens=2, init_values=1e-5, qk_norm=True),
        VitShape(class_token=False, global_pool="avg"),
        VitShape(class_token=False, global_pool="avg", init_values=1e-5, fc_norm=False),
        VitShape(embed_dim=96, mlp_ratio=100 / 96),
        VitShape(no_embed_class=True, reg_tokens=1, mlp_ratio=2.0),
    ],
)
def test_variants_are_inferred(shape: VitShape, tmp_path: Path) -> None:
    model = VisionTransformer(**asdict(shape), num_classes=0).eval()
    path = tmp_path / "variant.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    backbone = load_backbone(f"file:{path}:heads=4")
    assert replace(backbone.spec.shape or shape, init_values=shape.init_values) == shape
    images = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(backbone.model(images), model(images))


def test_heads_are_named_where_the_file_does_not_say_them(
    vit_tensors: dict[str, Tensor], weight_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "silent.safetensors"
    safetensors.torch.save_file(vit_tensors, path)
    shape = load_backbone(f"file:{path}:heads=4").spec.shape
    assert shape is not None and shape.num_heads == 4
    for heads in (0, 3):
        with pytest.raises(BackboneError, match=f"cannot be split into {heads} heads"):
            load_backbone(f"file:{path}:heads={heads}")
    with pytest.raises(BackboneError, match=r"silent.*number of attention heads.*:heads=N"):
        load_backbone(f"file:{path}")
    with pytest.raises(BackboneError, match="says that it has 2 heads a block, not 4"):
        load_backbone(f"file:{weight_file}:heads=4")


def test_hash_is_stable_and_the_same_without_the_model(
    weight_file: Path, vit_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    name = f"file:{weight_file}"
    assert weight_hash_of(name) == load_backbone(name).weight_hash
    assert weight_hash_of(name) == load_backbone(name, image_size=48).weight_hash
    again, heads = tmp_path / "again.safetensors", {"num_heads": "2"}
    safetensors.torch.save_file(dict(reversed(vit_tensors.items())), again, metadata=heads)
    assert weight_hash_of(f"file:{again}") == weight_hash_of(name)
    other = dict(vit_tensors)
    other["norm.bias"] = other["norm.bias"] + 1
    safetensors.torch.save_file(other, again, metadata=heads)
    assert weight_hash_of(f"file:{again}") != weight_hash_of(name)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_loaded_and_hashed_as_float32(
    dtype: torch.dtype, vit_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "half.safetensors"
    safetensors.torch.save_file({k: v.to(dtype) for k, v in vit_tensors.items()}, path)
    backbone = load_backbone(f"file:{path}:heads=2")
    assert next(backbone.model.parameters()).dtype == torch.float32
    assert backbone.weight_hash == weight_hash_of(f"file:{path}:heads=2")


def test_hash_of_an_embedded_file_is_the_same_without_torch(
    vit_tensors: dict[str, Tensor], tmp_path: Path
) -> None:
    path = tmp_path / "half.safetensors"
    stored = {name: value.bfloat16() for name, value in vit_tensors.items()}
    stored["norm.bias"] = stored["norm.bias"].float()  # types may be mixed
    safetensors.torch.save_file(stored, path)
    found = read_safetensors(path)
    assert found.keys() == stored.keys()
    for name, value in stored.items():
        assert torch.equal(torch.from_numpy(found[name].copy()), value.float())
    expected = load_backbone(f"file:{path}:heads=2").weight_hash
    assert with_heads(hash_tensors(found), 2) == expected


def test_absent_file_is_named(tmp_path: Path) -> None:
    for name in ("absent.safetensors", "absent.pth"):
        with pytest.raises(BackboneError, match=f"{name} does not exist"):
            load_backbone(f"file:{tmp_path / name}")
    with pytest.raises(BackboneError, match="does not exist"):
        weight_hash_of("tiny_sup", file=tmp_path / "absent.safetensors")


def test_pinned_hash_is_checked(weight_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pinned = replace(find(f"file:{weight_file}"), sha256="0" * 64)
    found = weight_hash_of(f"file:{weight_file}")
    monkeypatch.setattr(loader, "find", lambda _name: pinned)
    for call in (load_backbone, weight_hash_of):
        with pytest.raises(BackboneError, match=f"expected SHA-256 {'0' * 64}, found {found}"):
            call("pinned")


def test_other_image_size_interpolates_positions(weight_file: Path) -> None:
    backbone = load_backbone(f"file:{weight_file}", image_size=48)
    assert backbone.spec.input_size == 48
    assert backbone.model(torch.rand(1, 3, 48, 48)).shape == (1, 128)
    with pytest.raises(BackboneError, match="not a multiple of its patch size 8"):
        load_backbone(f"file:{weight_file}", image_size=30)


def test_random_weights_follow_their_seed() -> None:
    name = "random:vit_tiny_patch16_224"
    first, same, other = (load_backbone(n) for n in (name, f"{name}:0", f"{name}:1"))
    assert first.weight_hash == same.weight_hash != other.weight_hash
    assert first.model.num_features == 192
    assert first.spec.input_size == 224


def test_names_timm_does_not_know_or_that_are_no_vit() -> None:
    with pytest.raises(BackboneError, match="timm has no model vit_nonsense"):
        load_backbone("random:vit_nonsense")
    with pytest.raises(BackboneError, match="resnet18 is not a VisionTransformer"):
        load_backbone("random:resnet18")
    with pytest.raises(BackboneError, match=r"patch16_224 has no tag 'bogus', but .*augreg"):
        weight_hash_of("timm:vit_base_patch16_224.bogus", fetch=False)


def test_a_file_with_attention_pooling_is_refused(tmp_path: Path) -> None:
    model = VisionTransformer(
        img_size=32, patch_size=8, embed_dim=128, depth=1, num_heads=4, global_pool="map",
        num_classes=0,
    )  # fmt: skip
    path = tmp_path / "pooled.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    with pytest.raises(BackboneError, match=r"pooled\.safetensors: .*attention pooling"):
        load_backbone("tiny_sup", file=path)


def test_heads_are_part_of_the_hash_and_said(
    vit_tensors: dict[str, Tensor], weight_file: Path, tmp_path: Path
) -> None:
    path = tmp_path / "silent.safetensors"
    safetensors.torch.save_file(vit_tensors, path)
    two, four = f"file:{path}:heads=2", f"file:{path}:heads=4"
    assert weight_hash_of(two) != weight_hash_of(four)
    assert weight_hash_of(two) == weight_hash_of(f"file:{weight_file}")
    (note,) = weight_facts(four).notes
    assert "4 heads a block, a square grid of 3 x 3 patches, features of the class token" in note
    assert weight_facts("tiny_sup").notes == ()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"img_size": (24, 40)}, "may be that of 4 x 4 patches or of 3 x 5 and 1 more"),
        ({"img_size": (32, 64)}, "does not cover a square image"),
        ({"img_size": 16, "reg_tokens": 4}, "may be that of 3 x 3 patches or of 4 and 5 more"),
    ],
)
def test_positions_that_may_mean_two_things_are_refused(
    options: dict[str, Any], fault: str, tmp_path: Path
) -> None:
    model = VisionTransformer(
        patch_size=8, embed_dim=128, depth=1, num_heads=4, num_classes=0, **options
    )
    path = tmp_path / "odd.safetensors"
    safetensors.torch.save_file(model.state_dict(), path)
    with pytest.raises(BackboneError, match=fault):
        load_backbone(f"file:{path}")


def test_local_file_serves_a_timm_name(tmp_path: Path) -> None:
    source = load_backbone("random:vit_tiny_patch16_224:3")
    path = tmp_path / "vit.safetensors"
    safetensors.torch.save_file(source.model.state_dict(), path)
    backbone = load_backbone("timm:vit_tiny_patch16_224.augreg_in21k", file=path)
    assert backbone.weight_hash == source.weight_hash
    assert backbone.spec.mean == (0.5, 0.5, 0.5)
