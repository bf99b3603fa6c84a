"""Small weight files for the backbone tests."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor


@pytest.fixture
def vit_tensors() -> dict[str, Tensor]:
    """The state dict of a small untrained ViT: width 128, 3 blocks, 24 px, patch 8."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=24, patch_size=8, embed_dim=128, depth=3, num_heads=2, num_classes=0
    )
    return dict(model.state_dict())


@pytest.fixture
def weight_file(tmp_path: Path, vit_tensors: dict[str, Tensor]) -> Path:
    """The same tensors in a safetensors file, which says its heads."""
    path = tmp_path / "small.safetensors"
    safetensors.torch.save_file(vit_tensors, path, metadata={"num_heads": "2"})
    return path


@pytest.fixture(autouse=True)
def weights_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weight files: empty, and the test's own."""
    folder = tmp_path / "weights"
    monkeypatch.setenv("CLBENCH_WEIGHTS", str(folder))
    return folder
