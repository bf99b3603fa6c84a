"""What people call a weight file: containers, prefixes, Google's arrays, and files that are not."""

from __future__ import annotations

import argparse
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.backbones import load as loader
from benchmark.backbones.catalogue import BackboneError, VitShape, find
from benchmark.backbones.files import read_weights
from benchmark.backbones.load import load_backbone, weight_facts, weight_hash_of

Tensors = dict[str, Tensor]


def saved(content: Any, path: Path) -> str:
    """Name of the backbone in a file of torch.save."""
    torch.save(content, path)
    return f"file:{path}:heads=2"


def prefixed(tensors: Tensors, prefix: str) -> Tensors:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


@pytest.mark.parametrize("container", ["state_dict", "model", "teacher", "student"])
@pytest.mark.parametrize("prefix", ["", "module.", "backbone.", "module.backbone."])
def test_containers_and_prefixes(
    container: str, prefix: str, vit_tensors: Tensors, tmp_path: Path
) -> None:
    name = saved({container: prefixed(vit_tensors, prefix), "epoch": 3}, tmp_path / "a.pth")
    plain = saved(vit_tensors, tmp_path / "plain.bin")
    assert load_backbone(name).weight_hash == load_backbone(plain).weight_hash


def test_the_teacher_of_a_full_checkpoint_is_taken(vit_tensors: Tensors, tmp_path: Path) -> None:
    teacher = prefixed(vit_tensors, "backbone.") | {"head.mlp.0.weight": torch.ones(2)}
    student = prefixed({k: v + 1 for k, v in vit_tensors.items()}, "module.backbone.")
    content = {
        "student": student,
        "teacher": teacher,
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 100,
        "args": argparse.Namespace(arch="vit_base", lr=0.1),
        "dino_loss": {"center": torch.zeros(1, 4)},
    }
    backbone = load_backbone(saved(content, tmp_path / "full.pth"))
    for key, value in backbone.model.state_dict().items():
        assert torch.equal(value, vit_tensors[key])
    assert backbone.left_out == ("head.mlp.0.weight",)


def test_a_file_with_several_models_is_refused(vit_tensors: Tensors, tmp_path: Path) -> None:
    name = saved({"state_dict": vit_tensors, "model": vit_tensors}, tmp_path / "two.pth")
    with pytest.raises(BackboneError, match=r"two\.pth holds several models \(state_dict, model\)"):
        load_backbone(name)


@pytest.mark.parametrize("averaged", ["state_dict_ema", "model_ema"])
@pytest.mark.parametrize("raw", ["state_dict", "model"])
def test_averaged_weights_are_taken_and_said(
    averaged: str, raw: str, vit_tensors: Tensors, tmp_path: Path
) -> None:
    plain = saved(vit_tensors, tmp_path / "plain.pth")
    average = prefixed(vit_tensors, "module.") | {"n_averaged": torch.tensor(3)}
    content = {raw: {k: v + 1 for k, v in vit_tensors.items()}, averaged: average}
    name = saved(content, tmp_path / "both.pth")
    assert weight_hash_of(name) == weight_hash_of(plain)
    assert weight_facts(name).notes[0] == (
        f"weights both.pth are the averaged ones ({averaged}), not the raw ones ({raw})"
    )


def test_unknown_tensors_beside_the_backbone_are_named(
    vit_tensors: Tensors, tmp_path: Path
) -> None:
    content = prefixed(vit_tensors, "backbone.") | {"predictor.0.weight": torch.zeros(2)}
    with pytest.raises(BackboneError, match=r"odd\.pth .*unexpected: predictor\.0\.weight"):
        load_backbone(saved({"teacher": content}, tmp_path / "odd.pth"))


def test_two_tensors_of_one_name_are_refused(vit_tensors: Tensors, tmp_path: Path) -> None:
    content = prefixed(vit_tensors, "backbone.") | {"norm.bias": torch.zeros(128)}
    with pytest.raises(BackboneError, match=r"both\.pth: two tensors claim the name norm\.bias"):
        load_backbone(saved(content, tmp_path / "both.pth"))


def test_entries_that_are_no_tensors_are_reported(vit_tensors: Tensors, tmp_path: Path) -> None:
    saved({**vit_tensors, "epoch": 3}, tmp_path / "a.pth")
    contents = read_weights(tmp_path / "a.pth")
    assert contents.left_out == ("epoch",)


class _Evil:
    """Would create a file when it is built from a pickle."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("new", [True, False])
def test_code_in_a_pickle_is_never_run(new: bool, vit_tensors: Tensors, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / "evil.pth"
    content = {**vit_tensors, "evil": _Evil(trace)}
    torch.save(content, path, _use_new_zipfile_serialization=new)
    with pytest.raises(BackboneError, match=r"evil\.pth cannot be read: .* could run any code"):
        load_backbone(f"file:{path}")
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "it is empty"),
        (b"<!DOCTYPE html><title>404</title>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "is a git-lfs pointer"),
        (b"no weights at all", "it is a text, not weights"),
        ("# Größe\n".encode() * 20, "it is a text, not weights"),
        (b"\x80\x02 no pickle", "cannot be read"),
        (b"PK\x03\x04 cut", "truncated"),
        (b'\x40\0\0\0\0\0\0\0{"a":', "cannot be read"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
def test_files_that_hold_no_weights(
    content: bytes, fault: str, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    with pytest.raises(BackboneError, match=rf"odd\{suffix} .*{fault}"):
        load_backbone(f"file:{path}")


@pytest.mark.parametrize("safe", [True, False])
def test_a_file_cut_in_half_is_named(safe: bool, vit_tensors: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "cut.bin"
    (safetensors.torch.save_file if safe else torch.save)(vit_tensors, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(BackboneError, match=r"cut\.bin cannot be read"):
        load_backbone(f"file:{path}")


def test_a_folder_is_no_weight_file(tmp_path: Path) -> None:
    for call in (load_backbone, weight_hash_of):
        with pytest.raises(BackboneError, match="is a folder"):
            call(f"file:{tmp_path}")


@pytest.mark.parametrize("content", [{}, [], {"state_dict": {}}, {"epoch": 1}, torch.zeros(2)])
def test_checkpoints_without_tensors(content: Any, tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"a\.pth holds no state dict"):
        load_backbone(saved(content, tmp_path / "a.pth"))


def test_the_format_is_read_off_the_content(vit_tensors: Tensors, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.pth"
    safetensors.torch.save_file(vit_tensors, wrong)
    right = saved(vit_tensors, tmp_path / "right.safetensors")
    assert load_backbone(f"file:{wrong}:heads=2").weight_hash == load_backbone(right).weight_hash


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("norm.bias", torch.full((128,), torch.nan), "norm.bias holds numbers that are not finite"),
        ("norm.bias", torch.zeros(128, dtype=torch.int64), r"of wrong type: norm.bias \(torch.int"),
        ("norm.bias", torch.zeros(128).to_sparse(), "norm.bias is not a plain tensor"),
        ("patch_embed.proj.weight", torch.zeros(128, 192), r"has shape \[128, 192\], not"),
        ("patch_embed.proj.weight", torch.zeros(128, 1, 8, 8), "colour images"),
        ("patch_embed.proj.weight", torch.zeros(0, 3, 8, 8), "has shape"),
        ("pos_embed", torch.zeros(10), r"pos_embed has shape \[10\]"),
        ("pos_embed", torch.zeros(1, 8, 128), "8 tokens does not cover a square image"),
        ("blocks.99999999.norm1.bias", torch.zeros(128), "names a block 99999999"),
    ],
)
def test_odd_tensors_are_named(
    name: str, value: Tensor, fault: str, vit_tensors: Tensors, tmp_path: Path
) -> None:
    with pytest.raises(BackboneError, match=rf"odd\.pth.*{fault}"):
        load_backbone(saved({**vit_tensors, name: value}, tmp_path / "odd.pth"))


SMALL = VitShape(img_size=24, patch_size=8, embed_dim=128, depth=3, num_heads=2)


@pytest.fixture
def small_ibot(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the name vit_b16_ibot stand for a small architecture."""
    small = replace(find("vit_b16_ibot"), shape=SMALL)
    monkeypatch.setattr(loader, "find", lambda _name: small)


@pytest.mark.usefixtures("small_ibot")
@pytest.mark.parametrize(
    ("changes", "faults"),
    [
        ({"patch_size": 4}, ["patch 4", r"patch_embed.proj.weight \(expected", "pos_embed"]),
        ({"depth": 2}, ["2 blocks", "missing: blocks.2.attn.proj.bias", "and 4 more"]),
        ({"depth": 4}, ["4 blocks", "unexpected: blocks.3.attn.proj.bias"]),
        ({"embed_dim": 64, "num_heads": 1}, ["width 64", "of wrong shape: blocks.0.attn.proj"]),
        ({"img_size": 48}, ["48 px", r"pos_embed \(expected \[1, 10, 128\], found \[1, 37"]),
        ({"reg_tokens": 4}, ["unexpected: reg_token"]),
        ({"qkv_bias": False}, ["missing: blocks.0.attn.qkv.bias"]),
    ],
)
def test_another_architecture_under_a_name(
    changes: dict[str, Any], faults: list[str], tmp_path: Path
) -> None:
    other = VisionTransformer(**asdict(replace(SMALL, **changes)), num_classes=0)
    path = tmp_path / "other.pth"
    torch.save(other.state_dict(), path)
    for fault in (r"other\.pth does not fit vit_b16_ibot \(a ViT of 24 px, patch 8", *faults):
        for call in (load_backbone, weight_hash_of):
            with pytest.raises(BackboneError, match=fault):
                call("vit_b16_ibot", file=path)


def test_a_classifier_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "resnet50.pth"
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(9)}, path)
    for name in ("vit_b16_ibot", "vit_b16_dino", "vit_b16_in21k"):
        with pytest.raises(BackboneError) as caught:
            load_backbone(name, file=path)
        for part in (f"{path} does not fit {name}", "missing: blocks.0", "conv1.weight, fc.bias"):
            assert part in str(caught.value)
    with pytest.raises(BackboneError, match=r"lacks patch_embed.* it holds conv1\.weight"):
        load_backbone(f"file:{path}")


def test_a_name_of_a_file_takes_no_other_file(weight_file: Path) -> None:
    with pytest.raises(BackboneError, match="names its own file"):
        load_backbone(f"file:{weight_file}", file=weight_file)


# -- Google's arrays -----------------------------------------------------------------------------


def google_arrays(tensors: Tensors, heads: int) -> dict[str, np.ndarray]:
    """The arrays of the original releases: input axis first, query, key and value apart."""
    width = tensors["norm.bias"].shape[0]
    at = {key: value.numpy() for key, value in tensors.items()}
    arrays = {
        "cls": at["cls_token"],
        "embedding/kernel": at["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
        "embedding/bias": at["patch_embed.proj.bias"],
        "Transformer/posembed_input/pos_embedding": at["pos_embed"],
        "Transformer/encoder_norm/scale": at["norm.weight"],
        "Transformer/encoder_norm/bias": at["norm.bias"],
        "head/kernel": np.zeros((width, 5), np.float32),
        "head/bias": np.zeros(5, np.float32),
        "pre_logits/kernel": np.zeros((width, width), np.float32),
        "pre_logits/bias": np.zeros(width, np.float32),
    }
    depth = sum(key.endswith("norm1.bias") for key in at)
    for index in range(depth):
        theirs, ours = f"Transformer/encoderblock_{index}", f"blocks.{index}"
        attention = f"{theirs}/MultiHeadDotProductAttention_1"
        for kind, (weight, bias) in zip(
            ("query", "key", "value"),
            zip(
                np.split(at[f"{ours}.attn.qkv.weight"], 3),
                np.split(at[f"{ours}.attn.qkv.bias"], 3),
                strict=True,
            ),
            strict=True,
        ):
            arrays[f"{attention}/{kind}/kernel"] = weight.T.reshape(width, heads, -1)
            arrays[f"{attention}/{kind}/bias"] = bias.reshape(heads, -1)
        arrays[f"{attention}/out/kernel"] = at[f"{ours}.attn.proj.weight"].T.reshape(
            heads, -1, width
        )
        arrays[f"{attention}/out/bias"] = at[f"{ours}.attn.proj.bias"]
        for norm, ln in (("norm1", "LayerNorm_0"), ("norm2", "LayerNorm_2")):
            arrays[f"{theirs}/{ln}/scale"] = at[f"{ours}.{norm}.weight"]
            arrays[f"{theirs}/{ln}/bias"] = at[f"{ours}.{norm}.bias"]
        for fc, dense in (("fc1", "Dense_0"), ("fc2", "Dense_1")):
            arrays[f"{theirs}/MlpBlock_3/{dense}/kernel"] = at[f"{ours}.mlp.{fc}.weight"].T
            arrays[f"{theirs}/MlpBlock_3/{dense}/bias"] = at[f"{ours}.mlp.{fc}.bias"]
    return arrays


@pytest.mark.parametrize("prefix", ["", "opt/target/"])
def test_arrays_of_google_are_read_as_timm_reads_them(
    prefix: str, vit_tensors: Tensors, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    tensors = {key: value + torch.randn_like(value) for key, value in vit_tensors.items()}
    arrays = google_arrays(tensors, heads=4)
    path = tmp_path / "google.npz"
    np.savez(path, **{f"{prefix}{name}": array for name, array in arrays.items()})
    backbone = load_backbone(f"file:{path}")
    assert backbone.spec.shape == replace(SMALL, num_heads=4)
    assert backbone.left_out == ("head/bias", "head/kernel", "pre_logits/bias", "pre_logits/kernel")
    theirs = VisionTransformer(**asdict(replace(SMALL, num_heads=4)), num_classes=0)
    theirs.load_pretrained(str(path))
    found = backbone.model.state_dict()
    for key, value in theirs.state_dict().items():
        assert torch.equal(found[key], value), key
        assert torch.equal(value, tensors[key]), key


@pytest.mark.usefixtures("small_ibot")
def test_faults_of_google_s_arrays_are_named(vit_tensors: Tensors, tmp_path: Path) -> None:
    path = tmp_path / "google.npz"

    def load(**changes: Any) -> None:
        arrays = google_arrays(vit_tensors, changes.pop("heads", 2)) | changes
        np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
        load_backbone("vit_b16_ibot", file=path)

    load()
    one = "Transformer/encoderblock_1"
    attention = f"{one}/MultiHeadDotProductAttention_1"
    with pytest.raises(BackboneError, match=r"google\.npz .* 4 heads a block, not 2"):
        load(heads=4)
    with pytest.raises(BackboneError, match=r"google\.npz.*missing: .*_1/LayerNorm_0/bias"):
        load(**{f"{one}/LayerNorm_0/bias": None})
    with pytest.raises(BackboneError, match=r"missing: .*_1/Multi.*/key/kernel"):
        load(**{f"{attention}/key/kernel": None})
    with pytest.raises(BackboneError, match=r"unexpected: strange/thing"):
        load(**{"strange/thing": np.zeros(3)})
    with pytest.raises(BackboneError, match="numbers of heads"):
        load(**{f"{attention}/query/bias": np.zeros(128)})
    with pytest.raises(BackboneError, match=r"google\.npz cannot be read: .*allow_pickle"):
        load(cls=np.array([{"an": "object"}]))
