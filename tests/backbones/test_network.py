"""What is said of a network that was loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark.backbones.catalogue import Layers, VitShape, available, find
from benchmark.backbones.load import load_backbone, weight_facts
from benchmark.backbones.network import described, layers_of, new_vit


@pytest.mark.parametrize("name", [s.name for s in available() if s.source == "embedded"])
def test_embedded_networks_are_known_without_their_model(name: str) -> None:
    backbone = load_backbone(name)
    assert weight_facts(name).network == backbone.facts.network
    assert described(backbone.model, find(name)) == backbone.facts.network


def test_in_words(weight_file: Path) -> None:
    network = weight_facts(f"file:{weight_file}").network
    assert network is not None
    assert network.in_words() == (
        "heads 2, image size 24 px, patch size 8 px, features the class token, activation gelu, "
        "epsilon 1e-06"
    )
    network = load_backbone("random:vit_tiny_patch16_224").facts.network
    assert network is not None
    assert network.facts()["input range"] == "mean 0.5 0.5 0.5 std 0.5 0.5 0.5"
    assert (weight_facts("tiny_sup").network or network).facts()["input range"] == "[0, 1]"


@pytest.mark.parametrize(
    "layers",
    [
        Layers(),
        Layers("quick_gelu", 1e-5),
        Layers("gelu_tanh"),
        Layers("silu", gated=True),
        Layers(distilled=True),
    ],
)
def test_layers_are_those_asked_for(layers: Layers) -> None:
    model = new_vit(VitShape(depth=1, embed_dim=32, num_heads=2), layers).eval()
    assert layers_of(model) == layers
    assert model(torch.rand(1, 3, 32, 32)).shape == (1, 32)
