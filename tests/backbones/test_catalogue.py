"""The catalogue: its names, its forms, its independence of torch, the embedded weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmark import registry
from benchmark.backbones.catalogue import available, find
from benchmark.backbones.load import load_backbone, weight_hash_of
from benchmark.registry import UnknownNameError

EMBEDDED = [spec.name for spec in available() if spec.source == "embedded"]


def test_no_torch_is_imported_for_names_and_hashes() -> None:
    code = (
        "import sys\n"
        "from benchmark.backbones.catalogue import available\n"
        "from benchmark.backbones.load import weight_hash_of\n"
        "[weight_hash_of(s.name) for s in available() if s.source == 'embedded']\n"
        "sys.exit('torch' in sys.modules or 'timm' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_unknown_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="tiny_sup"):
        find("tiny_supp")
    for name in ("timm:", "file:", "random:"):
        with pytest.raises(UnknownNameError):
            find(name)


def test_forms_of_names() -> None:
    assert find("timm:vit_base_patch16_224.dino").timm_name == "vit_base_patch16_224.dino"
    assert find("file:a/b.safetensors").weight_file == Path("a/b.safetensors")
    with_heads = find("file:a/b.pth:heads=6")
    assert (with_heads.weight_file, with_heads.heads) == (Path("a/b.pth"), 6)
    assert find("random:vit_tiny_patch16_224:7").seed == 7


@pytest.mark.parametrize("name", EMBEDDED)
def test_embedded_weights_load_with_their_pinned_hash(name: str) -> None:
    spec = find(name)
    assert spec.weight_file is not None
    assert spec.weight_file.stat().st_size <= 8_000_000
    assert spec.sha256 is not None
    backbone = load_backbone(name)
    assert backbone.weight_hash == weight_hash_of(name) == spec.sha256
    assert backbone.model.num_prefix_tokens == 1
    assert len(backbone.model.blocks) > 5
    features = backbone.model(torch.rand(2, 3, 32, 32))
    assert features.shape == (2, backbone.model.num_features)
    assert features.isfinite().all()


def test_a_plugin_file_adds_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_plugins", [])
    file = tmp_path / "mine.py"
    file.write_text(
        "from benchmark.backbones.catalogue import BACKBONES, BackboneSpec\n"
        'BACKBONES.add("mine", BackboneSpec("mine", "my ViT", "timm", timm_name="vit_tiny"))\n'
    )
    registry.add_plugin(file)
    assert "mine" in [spec.name for spec in available()]
    assert find("mine").timm_name == "vit_tiny"
