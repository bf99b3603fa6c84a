"""Every method in the forms its settings give it: the exam, settings refused, published sizes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer

from benchmark.data.stream import make_tasks
from benchmark.registry import METHODS
from benchmark.workshop.exam import exam

# Forms that differ from the defaults, which tests/workshop/test_exam.py examines.
FORMS: list[tuple[str, dict[str, Any]]] = [
    ("c_lora", {"targets": "kv"}),
    ("coda_p", {"ortho_weight": 0.5, "layers": (0, 1, 3)}),
    ("dualprompt", {"eligible": "seen", "key_loss": "cross", "pool": 5}),
    ("dualprompt", {"layers": (1,), "general_layers": (1,)}),
    ("inflora", {"memory": "gpm", "projection": "two_sided"}),
    ("inflora", {"rank": 35}),  # above the width
    ("inflora_ca", {"fresh_norm": True, "logit_norm": 0.0}),
    ("inflora_mperp", {"rank": 35}),
    ("inflora_nt", {"rank": 35}),
    ("inflora_random", {"rank": 35}),
    ("l2p", {"batch_vote": True}),
    ("l2p_pp", {"key_loss": "gather", "layers": (0, 2)}),
    ("lae", {"pet": "adapter", "freeze_epochs": 1}),
    ("lae", {"pet": "prefix", "freeze_epochs": 1}),
    ("lae", {"offline": False, "freeze_epochs": 0, "blocks": 0}),
    ("lae_conv", {"msa": "linear", "mlp": "none", "freeze_epochs": 1}),
    ("lae_conv_ties", {"freeze_epochs": 1}),
    ("lae_ties", {"history": True, "freeze_epochs": 1}),
    ("lae_ties", {"pet": "prefix", "newcomer_only": True, "freeze_epochs": 1}),
    ("ncm", {"distance": "euclidean"}),
    ("slca", {"fresh_norm": False}),
]

# Method, settings, tasks, and parameters added to a ViT-B/16.
SIZES: list[tuple[str, dict[str, Any], int, int]] = [
    ("c_lora", {}, 10, 3_538_944),
    ("coda_p", {}, 10, 3_840_000),
    ("coda_p", {}, 20, 3_840_000),
    ("dualprompt", {}, 10, 493_056),
    ("dualprompt", {}, 5, 251_136),
    ("dualprompt", {}, 20, 976_896),
    ("dualprompt", {"pool": 10}, 5, 493_056),
    ("inflora", {}, 10, 368_640),
    ("inflora_b5", {}, 10, 153_600),
    ("inflora_ca", {}, 10, 368_640),
    ("inflora_mperp", {}, 10, 368_640),
    ("inflora_nt", {}, 10, 368_640),
    ("inflora_random", {}, 10, 368_640),
    ("l2p", {}, 10, 46_080),
    ("l2p", {"length": 10}, 10, 84_480),
    ("l2p_pp", {}, 10, 483_840),
    ("l2p_pp", {"layers": (0, 1, 2, 3, 4)}, 10, 2_419_200),
    ("lae", {"pet": "lora"}, 10, 153_620),
    ("lae", {"pet": "adapter"}, 10, 84_540),
    ("lae", {"pet": "prefix"}, 10, 153_620),
    ("lae", {"blocks": 0}, 10, 2 * 12 * 15_362),
    ("lae", {"offline": False}, 10, 76_810),
    ("lae", {}, 1, 76_810),  # one task needs no copy
    ("lae_conv", {}, 10, 2 * 136_490),
    ("lae_conv", {"bottleneck": 5}, 10, 2 * 86_840),
    ("lae_conv", {"bottleneck": 5, "kernel": 1}, 10, 2 * 84_840),
    ("lae_conv", {"bottleneck": 128}, 10, 2 * 3_450_890),
    ("lae_conv", {"blocks": 0}, 10, 2 * 327_576),
    ("lae_conv", {"blocks": 0, "bottleneck": 5}, 10, 2 * 208_416),
    ("lae_conv", {"blocks": 0, "bottleneck": 128}, 10, 2 * 8_282_136),
    ("lae_conv", {"bottleneck": 5, "mlp": "linear"}, 10, 2 * 85_690),
    ("lae_conv", {"bottleneck": 5, "msa": "linear", "mlp": "none"}, 10, 2 * 42_270),
    ("lae_conv_ties", {}, 10, 2 * 136_490),
    ("lae_ties", {}, 10, 153_620),
    ("lae_ties", {"pet": "adapter"}, 10, 84_540),
    ("lae_ties", {"pet": "prefix"}, 10, 153_620),
    ("seq_lora", {"rank": 2}, 10, 12 * 2 * 1536 * 2),
    ("slca", {}, 10, 0),
]

# Method, settings that make no sense, and what the message names.
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("coda_p", {"components": 0}, "components must be at least 1"),
    ("coda_p", {"length": 7}, "length must be even"),
    ("dualprompt", {"general_length": 3}, "general_length must be even"),
    ("dualprompt", {"layers": ()}, "different block numbers"),
    ("inflora", {"rank": 0}, "rank"),
    ("inflora", {"memory": "big"}, "memory"),
    ("inflora", {"projection": "none"}, "projection"),
    ("inflora", {"blocks": -1}, "blocks"),
    ("l2p", {"top_k": 11}, "top_k must be at most pool"),
    ("l2p_pp", {"top_k": 31}, "top_k must be at most pool"),
    ("l2p_pp", {"length": 5}, "length must be even"),
    ("l2p_pp", {"layers": (1, 1)}, "different block numbers"),
    ("l2p_pp", {"key_loss": "mean"}, "must be one of 'cross', 'gather'"),
    ("lae", {"pet": "houlsby"}, "must be one of"),
    ("lae_conv", {"msa": "none", "mlp": "none"}, "nothing would be adapted"),
    ("lae_conv", {"kernel": 2}, "kernel must be odd"),
    ("lae_conv", {"msa": "dense", "bottleneck": 0}, r"msa .*; bottleneck must be at least 1"),
    ("ncm", {"distance": "far"}, "distance"),
    ("seq_lora", {"rank": 1.5}, "rank"),
]


@pytest.fixture(scope="module")
def vit_b16() -> VisionTransformer:
    """The published architecture without memory behind its weights."""
    with torch.device("meta"):
        return VisionTransformer(num_classes=0)


def form_name(value: Any) -> str | None:
    """Settings as part of a test's name."""
    return ",".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else None


@pytest.mark.slow
@pytest.mark.parametrize(("name", "settings"), FORMS, ids=form_name)
def test_it_passes_the_exam(name: str, settings: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    failed = [verdict for verdict in exam(name, **settings) if not verdict.passed]
    assert not failed


@pytest.mark.parametrize(("name", "settings", "tasks", "count"), SIZES, ids=form_name)
def test_parameters_added_to_a_vit_b16(
    name: str, settings: dict[str, Any], tasks: int, count: int, vit_b16: VisionTransformer
) -> None:
    kind = METHODS.get(name)
    method = kind(copy.deepcopy(vit_b16), kind.Config(**settings))
    for task in make_tasks([1] * tasks):
        method.grow(task)
    assert method.expanded_parameters() == count
    assert kind.expanded_formula(method.config, 768, 12, tasks) == count


@pytest.mark.parametrize(("name", "settings", "fault"), REFUSED, ids=form_name)
def test_settings_that_make_no_sense_are_refused(
    name: str, settings: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ValueError, match=fault):
        METHODS.get(name).Config(**settings)
