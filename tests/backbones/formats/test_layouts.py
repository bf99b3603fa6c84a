"""Layout x result: every checkpoint gives the features of its authors' network, or is refused.

Each row of `RIGHT` is a layout with the network it comes from; each of `REFUSED` one whose tensors
do not tell the network, with what the message asks for.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax_vit
import numpy as np
import pytest
import safetensors.torch
import timm
import torch
import torch.nn.functional as F
from published_vits import (
    HEADS,
    IMAGE,
    SIDE,
    WIDTH,
    Clip,
    HuggingFaceClip,
    HuggingFaceDinov2,
    HuggingFaceSiglip,
    HuggingFaceVit,
    Vit,
    images,
    quick_gelu,
    randomise,
)
from torch import Tensor, nn

from benchmark.backbones.catalogue import BackboneError
from benchmark.backbones.load import load_backbone, weight_facts

HERE = f":heads={HEADS}"
Tensors = dict[str, Tensor]
Case = tuple[nn.Module, Any, str]  # the network, its file's content, and what follows the path


@pytest.fixture(autouse=True)
def _exact(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLBENCH_WEIGHTS", str(tmp_path / "weights"))


def under(prefix: str, tensors: Tensors) -> Tensors:
    return {f"{prefix}{name}": value for name, value in tensors.items()}


def other(tensors: Tensors) -> Tensors:
    """Another network of the same shapes."""
    return {name: value + 1 for name, value in tensors.items()}


def head(prefix: str = "", width: int = WIDTH) -> Tensors:
    return {f"{prefix}head.weight": torch.ones(5, width), f"{prefix}head.bias": torch.ones(5)}


def chunked(tensors: Tensors, sizes: tuple[int, ...], *, anew: bool = False) -> Tensors:
    """Blocks in chunks; their numbers run on through these, as in DINOv2, or begin anew."""
    starts = [sum(sizes[:chunk]) if anew else 0 for chunk in range(len(sizes))]
    chunk_of = [chunk for chunk, size in enumerate(sizes) for _ in range(size)]
    found = {}
    for name, value in tensors.items():
        first, _, rest = name.partition(".")
        index, _, inner = rest.partition(".")
        if first == "blocks":
            chunk = chunk_of[int(index)]
            name = f"blocks.{chunk}.{int(index) - starts[chunk]}.{inner}"
        found[name] = value
    return found


def moco(prefix: str) -> Case:
    model = Vit(384, 12, depth=1)
    return model, {
        "epoch": 300,
        "arch": "vit_small",
        "state_dict": under("module.base_encoder.", dict(model.state_dict()))
        | {"module.base_encoder.head.0.weight": torch.ones(4, 384)}
        | under(prefix, other(dict(model.state_dict())))
        | {"module.predictor.0.weight": torch.ones(4, 4)},
        "optimizer": {"state": {}, "param_groups": []},
    }, ""  # fmt: skip


def fixed_positions(width: int, *, rows_first: bool) -> Tensor:
    """Sines and cosines of rows and columns; MoCo v3 begins with the rows, MAE with the columns."""
    table = torch.zeros(1, 1 + SIDE**2, width, dtype=torch.float64)
    quarter = width // 4
    for row in range(SIDE):
        for column in range(SIDE):
            pair = (row, column) if rows_first else (column, row)
            for half, place in enumerate(pair):
                for i in range(quarter):
                    angle = torch.tensor(place / 10000 ** (i / quarter), dtype=torch.float64)
                    token = 1 + row * SIDE + column
                    table[0, token, 2 * half * quarter + i] = angle.sin()
                    table[0, token, (2 * half + 1) * quarter + i] = angle.cos()
    return table.float()


def moco_probe() -> Case:
    """A linear probe of MoCo v3's ViT-S: plain names, but its fixed positions."""
    model = Vit(384, 12, depth=1)
    model.patch_embed.proj = nn.Conv2d(3, 384, 16, 16)
    randomise(model)
    with torch.no_grad():
        model.pos_embed.copy_(fixed_positions(384, rows_first=True))
    content = {"state_dict": under("module.", dict(model.state_dict()) | head(width=384))}
    return model, content, ""


def mae() -> Case:
    model = Vit()
    extra = {
        "mask_token": torch.ones(1, 1, 32),
        "decoder_pos_embed": torch.ones(1, 10, 32),
        "decoder_embed.weight": torch.ones(32, WIDTH),
        "decoder_blocks.0.norm1.weight": torch.ones(32),
        "decoder_norm.bias": torch.ones(32),
        "decoder_pred.weight": torch.ones(48, 32),
    }
    return model, {"model": dict(model.state_dict()) | extra}, HERE


def dinov2(**options: Any) -> Case:
    model = Vit(scaled=True, **options)
    mask = {"mask_token": torch.zeros(1, WIDTH)}
    return model, dict(model.state_dict()) | mask, HERE


def dinov2_teacher() -> Case:
    model = Vit(scaled=True, registers=2)
    tensors = chunked(dict(model.state_dict()), (2, 1)) | {"mask_token": torch.zeros(1, WIDTH)}
    heads = {"dino_head.mlp.0.weight": torch.ones(2), "ibot_head.last_layer.weight": torch.ones(2)}
    return model, {"teacher": under("backbone.", tensors) | heads, "iteration": 3}, HERE


def hugging_face(model: nn.Module, prefix: str = "", extra: Tensors | None = None) -> Case:
    return model, under(prefix, dict(model.state_dict())) | (extra or {}), HERE


def openai() -> Case:
    model = Clip()
    sizes = {"input_resolution": IMAGE, "context_length": 77, "vocab_size": 49408}
    return model, under("visual.", dict(model.state_dict())) | {
        "logit_scale": torch.tensor(4.6),
        "text_projection": torch.ones(4, 4),
        "positional_embedding": torch.ones(77, 4),
        "transformer.resblocks.0.ln_1.weight": torch.ones(4),
        "token_embedding.weight": torch.ones(9, 4),
        "ln_final.bias": torch.ones(4),
        **{name: torch.tensor(size) for name, size in sizes.items()},
    }, ""  # fmt: skip


def wrapped(prefix: str) -> Callable[[], Case]:
    def make() -> Case:
        model = Vit()
        tensors = dict(model.state_dict()) | head()
        content = {
            "state_dict": under(prefix, tensors),
            "hyper_parameters": {"lr": 0.1, "betas": (0.9, 0.99)},
            "pytorch-lightning_version": "2.5.0",
            "callbacks": {},
            "loops": {"fit_loop": {"state_dict": {}}},
        }
        return model, content, HERE

    return make


def averaged() -> Case:
    model = Vit()
    tensors = dict(model.state_dict())
    return model, {"state_dict": other(tensors), "state_dict_ema": tensors}, HERE


def averaged_flat() -> Case:
    model = Vit()
    tensors = dict(model.state_dict())
    return model, under("model.", other(tensors)) | under("ema_model.module.", tensors), HERE


def self_distilled_flat() -> Case:
    model = Vit()
    tensors = dict(model.state_dict())
    both = under("student.backbone.", other(tensors)) | under("teacher.backbone.", tensors)
    return model, {"state_dict": both}, HERE


def lightning_with_heads() -> Case:
    """A module whose backbone, head and loss stand side by side."""
    model = Vit()
    beside = {
        "model.head.weight": torch.ones(5, WIDTH),
        "model.projector.0.weight": torch.ones(5, WIDTH),
        "criterion.center": torch.ones(1),
    }
    return model, {"state_dict": under("model.backbone.", dict(model.state_dict())) | beside}, HERE


def self_distilled_inside() -> Case:
    model = Vit()
    tensors = dict(model.state_dict())
    both = under("model.student.", other(tensors)) | under("model.teacher.", tensors)
    return model, {"state_dict": both}, HERE


def compiled_inside() -> Case:
    """torch.compile of single blocks leaves its mark within the names."""
    model = Vit()
    tensors = {n.replace("attn.", "attn._orig_mod."): v for n, v in model.state_dict().items()}
    return model, tensors, HERE


def distilled() -> Case:
    model = Vit(distilled=True)
    heads = head() | {"head_dist.weight": torch.ones(5, WIDTH), "head_dist.bias": torch.ones(5)}
    return model, {"model": dict(model.state_dict()) | heads}, HERE


def deit3() -> Case:
    model = Vit(scaled=True)
    scale = re.compile(r"\.ls([12])\.gamma")
    tensors = {scale.sub(r".gamma_\1", name): value for name, value in model.state_dict().items()}
    return model, {"model": tensors}, HERE


def open_clip_timm() -> Case:
    """open_clip with an image encoder of timm."""
    model = Vit()
    text = {"text.transformer.resblocks.0.ln_1.weight": torch.ones(4), "logit_scale": torch.ones(1)}
    projection = {"visual.head.proj.weight": torch.ones(4, WIDTH)}
    return model, under("visual.trunk.", dict(model.state_dict())) | text | projection, HERE


RIGHT: dict[str, Callable[[], Case]] = {
    "MoCo v3, both encoders": lambda: moco("module.momentum_encoder."),
    "MoCo v3, linear probe": moco_probe,
    "MAE with its decoder": mae,
    "DeiT, distilled": distilled,
    "DeiT III": deit3,
    "DINOv2": dinov2,
    "DINOv2 with registers": lambda: dinov2(registers=2),
    "DINOv2 with a gated MLP": lambda: dinov2(gated=True),
    "DINOv2, gated, registers": lambda: dinov2(gated=True, registers=3),
    "DINOv2's teacher, chunks": dinov2_teacher,
    "DINO's heads, flat": self_distilled_flat,
    "student and teacher within a model": self_distilled_inside,
    "averaged beside raw": averaged,
    "averaged beside raw, flat": averaged_flat,
    "Lightning": wrapped("model."),
    "Lightning, deeper": wrapped("net.encoder.backbone."),
    "Lightning with heads": lightning_with_heads,
    "compiled": wrapped("_orig_mod."),
    "compiled in DDP": wrapped("module._orig_mod."),
    "DDP compiled in Lightning": wrapped("model._orig_mod.module."),
    "FSDP": wrapped("_fsdp_wrapped_module."),
    "compiled attention": compiled_inside,
    "open_clip with timm's ViT": open_clip_timm,
    "OpenAI's CLIP": openai,
    "Hugging Face ViT": lambda: hugging_face(
        HuggingFaceVit(), "vit.", {"classifier.weight": torch.ones(5, WIDTH)}
    ),
    "Hugging Face ViT alone": lambda: hugging_face(HuggingFaceVit()),
    "Hugging Face MAE": lambda: hugging_face(
        HuggingFaceVit(),
        "vit.",
        {"decoder.decoder_embed.weight": torch.ones(4), "decoder.mask_token": torch.ones(1)},
    ),
    "Hugging Face DeiT, distilled": lambda: hugging_face(
        HuggingFaceVit(distilled=True), "deit.", {"cls_classifier.weight": torch.ones(5, WIDTH)}
    ),
    "Hugging Face SigLIP": lambda: hugging_face(
        HuggingFaceSiglip(), "vision_model.", {"text_model.head.bias": torch.ones(5)}
    ),
    "Hugging Face DINOv2": lambda: hugging_face(HuggingFaceDinov2()),
    "Hugging Face DINOv2, prefix": lambda: hugging_face(
        HuggingFaceDinov2(), "dinov2.", {"classifier.bias": torch.ones(5)}
    ),
    "Hugging Face DINOv2, registers": lambda: hugging_face(HuggingFaceDinov2(registers=2)),
    "Hugging Face DINOv2, gated": lambda: hugging_face(HuggingFaceDinov2(gated=True)),
}  # fmt: skip


def saved(content: Any, path: Path) -> str:
    if path.suffix == ".safetensors":
        safetensors.torch.save_file({n: v.contiguous() for n, v in content.items()}, path)
    else:
        torch.save(content, path)
    return f"file:{path}"


@pytest.mark.parametrize("layout", RIGHT)
def test_right(layout: str, tmp_path: Path) -> None:
    reference, content, further = RIGHT[layout]()
    backbone = load_backbone(saved(content, tmp_path / "weights.pth") + further)
    size = backbone.spec.input_size or 0
    pictures = F.interpolate(images(), size) if size != IMAGE else images()
    with torch.no_grad():
        expected = reference.eval()(pictures)
        found = backbone.model(pictures)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("big_vision", "pool", "prefix"),
    [
        (False, "tok", ""),
        (False, "tok", "opt/target/"),
        *((True, pool, "params/") for pool in ("tok", "gap", "map")),
        (True, "tok", ""),
        (True, "map", "params/img/"),
        (True, "gap", "stacked"),
    ],
)
def test_google(big_vision: bool, pool: str, prefix: str, tmp_path: Path) -> None:
    arrays = flax_vit.arrays(big_vision=big_vision, pool=pool)
    content = flax_vit.stacked(arrays) if prefix == "stacked" else arrays
    prefix = "params/" if prefix == "stacked" else prefix
    beside = {"params/txt/head/bias": np.zeros(3), "params/t": np.zeros(1)}
    path = tmp_path / "arrays.npz"
    np.savez(
        path,
        **{f"{prefix}{name}": array for name, array in content.items()},
        **(beside if prefix == "params/img/" else {}),
    )
    backbone = load_backbone(f"file:{path}")
    assert backbone.facts.network is not None and backbone.facts.network.heads == HEADS
    with torch.no_grad():
        found = backbone.model(images())
    expected = flax_vit.features(arrays, images())
    torch.testing.assert_close(found, torch.from_numpy(expected).float(), rtol=1e-4, atol=1e-4)
    # What the release computes is near: timm's GELU is exact, Flax's an approximation.
    near = flax_vit.features(arrays, images(), tanh=True)
    torch.testing.assert_close(found, torch.from_numpy(near).float(), rtol=0.02, atol=0.02)
    assert "the release computes its tanh approximation" in backbone.facts.notes[0]


def test_arrays_of_bfloat16(tmp_path: Path) -> None:
    arrays = flax_vit.arrays(big_vision=True)
    cut = {n: (a.view("<u4") >> 16).astype("<u2") for n, a in arrays.items()}
    path = tmp_path / "bfloat16.npz"
    np.savez(path, **{f"params/{name}": array.view("V2") for name, array in cut.items()})
    tensors = load_backbone(f"file:{path}").model.state_dict()
    expected = (cut["pos_embedding"].astype("<u4") << 16).view("<f4")
    assert torch.equal(tensors["pos_embed"], torch.from_numpy(expected))


def changed(**changes: Any) -> Tensors:
    """A plain network with these tensors, or without those given as None."""
    found: dict[str, Any] = dict(Vit().state_dict()) | {
        name.replace("__", "."): value for name, value in changes.items()
    }
    return {name: value for name, value in found.items() if value is not None}


def without(tensors: Tensors, *names: str) -> Tensors:
    return {name: value for name, value in tensors.items() if not name.endswith(names)}


def no_class_token() -> Tensors:
    tensors = without(dict(Vit().state_dict()), "cls_token")
    return tensors | {"pos_embed": tensors["pos_embed"][:, 1:].contiguous()}


REFUSED: dict[str, tuple[Callable[[], Any], str, str]] = {
    "heads of a width of no release": (
        lambda: dict(Vit().state_dict()), "", r"number of attention heads.*file:.*:heads=N",
    ),
    "ViT-S of DeiT or of MoCo v3": (
        lambda: small(), "", r"6 in DeiT.*12 in MoCo v3.*:heads=N.*timm:vit_small_patch16_224",
    ),
    "CLIP of open_clip": (
        lambda: under("visual.", dict(Clip().state_dict())), HERE, "QuickGELU or GELU.*timm:NAME",
    ),
    "CLIP of transformers": (
        lambda: under("vision_model.", dict(HuggingFaceClip(quick_gelu).state_dict())), HERE,
        "QuickGELU or GELU",
    ),
    "CLIP under timm's names": (
        lambda: without(
            changed(norm_pre__weight=torch.ones(WIDTH), norm_pre__bias=torch.ones(WIDTH)),
            "patch_embed.proj.bias",
        ), HERE, "QuickGELU or GELU",
    ),
    "no class token, one norm": (no_class_token, HERE, "which GELU"),
    "no class token, norms of unknown place": (
        lambda: {
            name.replace("norm.", "fc_norm.") if name.startswith("norm.") else name: value
            for name, value in without(no_class_token(), "qkv.bias").items()
        }, HERE, "whether norms come before or after",
    ),
    "a gated MLP under timm's names": (
        lambda: {
            name.replace("w12", "fc1").replace("w3", "fc2"): value
            for name, value in Vit(gated=True).state_dict().items()
        }, HERE, "which activation its gated MLPs compute",
    ),
    "no last norm (InternViT)": (
        lambda: changed(norm__weight=None, norm__bias=None), HERE,
        r"missing: norm\.bias, norm\.weight",
    ),
    "norms without biases (RMS)": (
        lambda: without(dict(Vit().state_dict()), "norm1.bias", "norm2.bias"), HERE,
        r"missing: blocks\.0\.norm1\.bias",
    ),
    "norms in attention (BEiT-3)": (
        lambda: changed(blocks__0__attn__norm__weight=torch.ones(WIDTH)), HERE,
        r"unexpected: blocks\.0\.attn\.norm\.weight",
    ),
    "relative positions (BEiT)": (
        lambda: changed(blocks__0__attn__relative_position_bias_table=torch.ones(9, HEADS)),
        HERE, "unexpected: blocks.0.attn.relative",
    ),
    "rotary positions (DINOv3)": (
        lambda: changed(pos_embed=None, rope_embed__periods=torch.ones(4)), HERE,
        "lacks pos_embed",
    ),
    "a stem of convolutions": (
        lambda: changed(patch_embed__proj__weight=None, patch_embed__proj__0__weight=torch.ones(
            8, 3, 3, 3)), HERE, r"lacks patch_embed\.proj\.weight",
    ),
    "chunks whose numbers begin anew": (
        lambda: chunked(dict(Vit(scaled=True).state_dict()), (2, 1), anew=True), HERE,
        "numbers do not run",
    ),
    "two networks with names of their own": (
        lambda: under("left.", changed()) | under("right.", changed()), HERE,
        r"several models \(left, right\)",
    ),
    "two averages": (
        lambda: {"model_ema": dict(Vit().state_dict()), "state_dict_ema": dict(Vit().state_dict())},
        HERE, r"several models \(state_dict_ema, model_ema\)",
    ),
    "I-JEPA of transformers": (
        lambda: dict(HuggingFaceVit(class_token=False).state_dict()), HERE,
        r"epsilon of its norms \(config\.json",
    ),
    "a query without its key": (
        lambda: without(dict(HuggingFaceVit().state_dict()), "0.attention.attention.key.bias"),
        HERE, "blocks.0 has a query bias without key and value",
    ),
}  # fmt: skip


def small() -> Tensors:
    model = Vit(384, 6, depth=1)
    model.patch_embed.proj = nn.Conv2d(3, 384, 16, 16)
    return dict(model.state_dict())


@pytest.mark.parametrize("layout", REFUSED)
def test_refused(layout: str, tmp_path: Path) -> None:
    make, further, fault = REFUSED[layout]
    name = saved(make(), tmp_path / "weights.pth") + further
    for call in (load_backbone, weight_facts):
        with pytest.raises(BackboneError, match=rf"(?s)weights\.pth.*({fault})"):
            call(name)


# -- configurations beside files of Hugging Face, architectures named by the user ------------------

CONFIGURED: dict[str, tuple[nn.Module, str, dict[str, Any]]] = {
    "I-JEPA": (
        HuggingFaceVit(class_token=False, eps=1e-6), "", {"layer_norm_eps": 1e-6},
    ),
    "I-JEPA, epsilon by default": (HuggingFaceVit(class_token=False), "", {}),
    "CLIP, all by default": (HuggingFaceClip(quick_gelu), "vision_model.", {}),
    "SigLIP, all by default": (HuggingFaceSiglip(), "vision_model.", {}),
    "ViTMSN": (HuggingFaceVit(eps=1e-6), "vit.", {"layer_norm_eps": 1e-06}),
    "CLIP of OpenAI": (
        HuggingFaceClip(quick_gelu), "vision_model.",
        {"hidden_act": "quick_gelu", "layer_norm_eps": 1e-5},
    ),
    "CLIP of LAION": (
        HuggingFaceClip(F.gelu), "vision_model.", {"hidden_act": "gelu", "layer_norm_eps": 1e-5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", CONFIGURED)
def test_a_configuration_beside_the_file_is_believed(layout: str, tmp_path: Path) -> None:
    reference, prefix, said = CONFIGURED[layout]

    def configure(**changes: int) -> None:
        own = {"hidden_size": WIDTH, "num_attention_heads": HEADS, **said, **changes}
        content = {"vision_config": own} if "CLIP" in layout else own
        content = {"model_type": layout, **content}
        (tmp_path / "config.json").write_text(json.dumps(content))

    configure()
    tensors = under(prefix, dict(reference.state_dict()))
    name = saved(tensors, tmp_path / "model.safetensors")
    backbone = load_backbone(name)
    with torch.no_grad():
        found, expected = backbone.model(images()), reference.eval()(images())
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert any("config.json beside them names" in note for note in backbone.facts.notes)
    before = weight_facts(name).weight_hash
    configure(num_attention_heads=2)
    assert weight_facts(name).weight_hash != before  # though the weights did not change
    (tmp_path / "config.json").write_text('{"architecture": "vit_base"}')  # not of transformers
    with pytest.raises(BackboneError, match="do not tell"):
        load_backbone(name)
    configure(hidden_size=WIDTH + 1)  # of another file in the folder
    with pytest.raises(BackboneError, match="do not tell"):
        load_backbone(name)


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_clip_is_read_into_the_architecture_that_is_named(activation: str, tmp_path: Path) -> None:
    name = "vit_xsmall_patch16_clip_224"
    if not timm.is_model(name):
        pytest.skip("this timm does not have it yet")
    function = F.gelu if activation == "gelu" else quick_gelu
    reference = Clip(function, width=256, heads=4, depth=10, patch=16)
    tensors = under("visual.", dict(reference.state_dict()))
    path = tmp_path / "open_clip.bin"
    saved(tensors, path)
    backbone = load_backbone(f"timm:{name}", file=path)
    pictures = F.interpolate(images(), 16 * SIDE)
    assert backbone.spec.input_size == 16 * SIDE
    with torch.no_grad():
        found, expected = backbone.model(pictures), reference(pictures)
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4) is (activation == "gelu")
    marks = {name: torch.tensor(1) for name in ("input_resolution", "context_length", "vocab_size")}
    saved(tensors | marks, path)  # OpenAI's, which compute QuickGELU
    with pytest.raises(BackboneError, match=r"open_clip\.bin.*compute quick_gelu, not gelu"):
        load_backbone(f"timm:{name}", file=path)


def test_an_epsilon_of_another_library_is_said(tmp_path: Path) -> None:
    name = "vit_tiny_patch16_224"
    with torch.device("meta"):
        tensors = timm.create_model(name, num_classes=0, img_size=32).state_dict()
    theirs = {}
    for key, value in tensors.items():
        zeros = torch.zeros(value.shape)
        if ".qkv." in key:
            for part in ("query", "key", "value"):
                theirs[_hugging_face(key.replace("qkv", part))] = zeros[: len(zeros) // 3].clone()
        else:
            theirs[_hugging_face(key)] = zeros
    path = tmp_path / "tiny.safetensors"
    saved(theirs, path)
    (*_, note) = load_backbone(f"timm:{name}", file=path).facts.notes
    assert "norms have epsilon 1e-06 as in timm:vit_tiny" in note and "not 1e-12" in note
    assert "epsilon 1e-12 in its norms" in load_backbone(f"file:{path}").facts.notes[-1]


def _hugging_face(name: str) -> str:
    """The name in transformers of a tensor of timm's."""
    for ours, theirs in {
        "blocks.": "encoder.layer.",
        "patch_embed.proj": "embeddings.patch_embeddings.projection",
        "pos_embed": "embeddings.position_embeddings",
        "cls_token": "embeddings.cls_token",
        ".norm1": ".layernorm_before",
        ".norm2": ".layernorm_after",
        "attn.proj": "attention.output.dense",
        "attn.": "attention.attention.",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }.items():
        name = name.replace(ours, theirs)
    return f"layer{name}" if name.startswith("norm.") else name


@pytest.mark.filterwarnings("ignore:.*torch.?[jJ]it:Warning")
def test_a_program_is_no_weight_file(tmp_path: Path) -> None:
    path = tmp_path / "ViT-B-16.pt"
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), path)
    with pytest.raises(BackboneError, match=r"ViT-B-16\.pt is a TorchScript archive.*state_dict"):
        load_backbone(f"file:{path}")
