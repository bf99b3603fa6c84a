"""A toy data set and a toy backbone: real runs in fractions of a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from benchmark import registry
from benchmark.data import DATASETS
from benchmark.data.base import ArrayImages, Dataset, DatasetInfo, Split
from benchmark.spec import Recipe, RunSpec

CLASSES = 8
NAMES = tuple(f"class {c}" for c in range(CLASSES))


def toy_split(per_class: int, seed: int) -> Split:
    """Classes told apart by colour, with noise: learnable in a few steps."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(CLASSES), per_class).astype(np.int64)
    colours = np.random.default_rng(0).integers(30, 225, (CLASSES, 1, 1, 3))
    noise = random.integers(-30, 30, (len(labels), 16, 16, 3))
    images = (colours[labels] + noise).clip(0, 255).astype(np.uint8)
    domains = tuple(np.where(np.arange(len(labels)) % 3 == 0, "drawn", "painted").tolist())
    return Split(ArrayImages(images), labels, domains)


@pytest.fixture
def toy_data(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The data set `toy`, registered for one test."""
    dataset = Dataset("toy", NAMES, toy_split(12, 1), toy_split(6, 2), (0.5, 1.0), "resize")
    info = DatasetInfo(
        "toy",
        "test data",
        CLASSES,
        4,
        lambda place: list(NAMES),
        lambda place: "toyhash",
        lambda place: dataset,
        domains=("drawn", "painted"),
    )
    monkeypatch.setitem(DATASETS._loaded, "toy", ("", info))
    return dataset


@pytest.fixture(scope="session")
def toy_backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name of a random ViT of width 64 and two blocks on 16 x 16 images, stored as a file."""
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=64, depth=2, num_heads=1, num_classes=0
    )
    path = tmp_path_factory.mktemp("backbone") / "toy.safetensors"
    save_file(vit.state_dict(), path)
    return f"file:{path}"


@pytest.fixture
def spec(toy_data: Dataset, toy_backbone: str) -> RunSpec:
    """A run of the baseline over four tasks."""
    recipe = Recipe(lr=1e-3, epochs=2, batch_size=8)
    settings = registry.METHODS.get("sequential").Config()
    return RunSpec(
        "toy", (2, 2, 2, 2), "natural", "sequential", settings, recipe, toy_backbone, seed=0
    )


@pytest.fixture
def write_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Write and add a method file with the given class body; forgotten after the test."""
    monkeypatch.setattr(registry, "_plugins", [])

    def write(name: str, body: str) -> Path:
        path = tmp_path / f"{name}.py"
        path.write_text(
            "import torch\nfrom benchmark import Method, register\n\n\n"
            f'@register("{name}")\nclass Plugin(Method):\n    """A test method."""\n\n{body}\n'
        )
        registry.add_plugin(path)
        return path

    return write
