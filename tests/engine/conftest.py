"""A toy data set and a toy backbone: real runs in fractions of a second."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from toy_dataset import CLASSES, NAMES, toy_dataset

from benchmark import registry
from benchmark.data import DATASETS
from benchmark.data.base import Dataset, DatasetInfo
from benchmark.spec import Augmentation, Evaluation, Recipe, RunSpec

AUGMENTATION = Augmentation(scale=(0.5, 1.0))
EVALUATION = Evaluation(resize="both", crop=1.0)


@pytest.fixture
def toy_data(monkeypatch: pytest.MonkeyPatch) -> Dataset:
    """The data set `toy`, registered for one test."""
    dataset = toy_dataset()
    info = DatasetInfo(
        "toy",
        "test data",
        CLASSES,
        4,
        lambda place: list(NAMES),
        lambda place: "toyhash",
        lambda place: dataset,
        augmentation=AUGMENTATION,
        evaluation=EVALUATION,
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
    save_file(vit.state_dict(), path, metadata={"num_heads": "1"})
    return f"file:{path}"


@pytest.fixture
def spec(toy_data: Dataset, toy_backbone: str) -> RunSpec:
    """A run of the baseline over four tasks."""
    recipe = Recipe(lr=1e-3, epochs=2, batch_size=8)
    settings = registry.METHODS.get("sequential").Config()
    return RunSpec(
        "toy", (2, 2, 2, 2), "natural", "sequential", settings, recipe, toy_backbone, seed=0,
        augmentation=AUGMENTATION, evaluation=EVALUATION,
    )  # fmt: skip


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
