"""The hand-written floors compute what the methods compute, and the timings are paired."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark.registry import get_method, method_sources
from benchmark.speed.bench import paired
from benchmark.speed.floors import floor_of
from benchmark.speed.floors.vit import Network


@pytest.fixture
def vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=16, patch_size=4, embed_dim=32, depth=6, num_heads=2, num_classes=0
    ).eval()


def test_floor_is_the_same_network(vit: VisionTransformer) -> None:
    images = torch.rand(3, 3, 16, 16)
    assert torch.allclose(Network(vit).query(images), vit(images), atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(method_sources()) - {"ncm"}))
def test_every_method_has_a_floor_that_trains(name: str, vit: VisionTransformer) -> None:
    images, labels = torch.rand(4, 3, 16, 16), torch.tensor([0, 1, 2, 3])
    before = {key: p.detach().clone() for key, p in vit.named_parameters()}
    step = floor_of(name, get_method(name).Config(), vit, classes=10)
    assert step is not None
    for _ in range(2):
        step(images, labels)
    assert all(torch.equal(p, before[key]) for key, p in vit.named_parameters())


def test_method_without_training_has_no_floor(vit: VisionTransformer) -> None:
    assert floor_of("ncm", get_method("ncm").Config(), vit, classes=10) is None


def test_pairs_alternate() -> None:
    calls: list[str] = []
    first, second, ratio = paired(
        lambda: calls.append("a"), lambda: calls.append("b"), 3, torch.device("cpu")
    )
    assert "".join(calls) == "baabbaabba"
    assert first > 0 < second
    assert ratio[0] <= ratio[1] <= ratio[2]
