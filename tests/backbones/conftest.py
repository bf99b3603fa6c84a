"""Small synthetic upstream folders and weight files for the backbone tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

CLASSES = 4


@pytest.fixture
def upstream_dir(tmp_path: Path) -> Path:
    """A folder of noisy 16 px images whose class is the brightest quarter."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    generator = np.random.default_rng(0)
    for part, count in (("train", 48), ("val", 16)):
        labels = np.arange(count) % CLASSES
        images = generator.integers(0, 100, (count, 16, 16, 3), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            row, column = 8 * (label // 2), 8 * (label % 2)
            image[row : row + 8, column : column + 8] += 150
        np.save(folder / f"{part}_images.npy", images)
        np.save(folder / f"{part}_labels.npy", labels.astype(np.int64))
    (folder / "classes.txt").write_text("\n".join("abcd") + "\n", encoding="utf-8")
    (folder / "manifest.json").write_text(json.dumps({"images": 64}), encoding="utf-8")
    return folder


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
    """The same tensors in a safetensors file."""
    path = tmp_path / "small.safetensors"
    safetensors.torch.save_file(vit_tensors, path)
    return path


@pytest.fixture(autouse=True)
def weights_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of weight files: empty, and the test's own."""
    folder = tmp_path / "weights"
    monkeypatch.setenv("CLBENCH_WEIGHTS", str(folder))
    return folder
