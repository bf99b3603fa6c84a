"""What a backbone lacks for a method is known to a plan, by name, without weights or a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from timm_kinds import OLDER

from benchmark import registry
from benchmark.backbones.catalogue import BackboneError
from benchmark.engine import suitability as module
from benchmark.engine.plan import plan_runs
from benchmark.engine.suitability import Suitability
from benchmark.registry import METHODS
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec

SIGLIP = "timm:vit_base_patch16_siglip_224.webli"
PARALLEL = "random:vit_base_patch16_xp_224"
BEIT = "random:beit_base_patch16_224"


def asked(spec: RunSpec, method: str, backbone: str, **settings: Any) -> RunSpec:
    settings_of = METHODS.get(method).Config(**settings)
    return replace(spec, method=method, settings=settings_of, backbone=backbone)


def test_a_plan_skips_what_cannot_run_and_says_what_can(spec: RunSpec, tmp_path: Path) -> None:
    notes: list[str] = []
    specs = [asked(spec, name, SIGLIP) for name in ("l2p", "sequential", "slca", "inflora")]
    runs = plan_runs(specs, ResultStore(tmp_path), lacking={}, notes=notes)
    lacking = f"cannot run on {SIGLIP}: its features come from attention pooling, not from"
    assert [run.skip for run in runs] == [f"{lacking} tokens", None, f"{lacking} a LayerNorm", None]
    assert [run.open for run in runs] == [False, True, False, True]
    (line,) = notes
    able = line.removeprefix(f"on {SIGLIP} can run: ").split(", ")
    assert {*METHODS.sources()} - {*able} == {"l2p", "slca"}


@pytest.mark.parametrize(
    ("method", "settings", "runs"),
    [
        ("lae", {"pet": "lora"}, not OLDER),
        ("lae", {"pet": "adapter"}, False),
        ("lae", {"pet": "prefix"}, False),
        ("slca", {"fresh_norm": False}, True),
        ("inflora_ca", {"fresh_norm": True}, False),
        ("lae_conv", {"msa": "none"}, False),
    ],
)
def test_it_hangs_on_the_settings(method: str, settings: dict[str, Any], runs: bool) -> None:
    asked = METHODS.get(method).Config(**settings)
    assert (Suitability().lacking(method, asked, PARALLEL) is None) == runs


def test_every_method_runs_on_what_has_all_parts() -> None:
    found = Suitability()
    for name in ("tiny_sup", "vit_b16_ibot", "random:vit_tiny_patch16_224", BEIT):
        assert found.refusals(name) == {}


def test_a_plugin_is_told_apart_by_what_it_uses(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(registry, "_plugins", [])
    file = tmp_path / "mine.py"
    file.write_text(
        '"""Mine."""\n'
        "from benchmark import Method, register\n"
        "from benchmark.peft.adapters import beside\n\n\n"
        '@register("mine")\n'
        "class Mine(Method):\n"
        '    """An adapter beside the MLP."""\n\n'
        "    def __init__(self, backbone, config):\n"
        "        super().__init__(backbone, config)\n"
        '        beside(backbone, 0, "mlp")\n\n\n'
        '@register("numbers")\n'
        "class Numbers(Method):\n"
        '    """Looks at weights."""\n\n'
        "    def __init__(self, backbone, config):\n"
        "        super().__init__(backbone, config)\n"
        "        self.first = float(next(backbone.parameters()).flatten()[0])\n"
    )
    registry.add_plugin(file)
    found = Suitability()
    settings = METHODS.get("mine").Config()
    assert found.lacking("mine", settings, BEIT) is None
    assert found.lacking("mine", settings, PARALLEL) == (
        "its ParallelScalingBlocks have no MLP of their own"
    )
    # What cannot be told without weights is left to the run.
    assert found.lacking("numbers", METHODS.get("numbers").Config(), PARALLEL) is None


def test_asking_draws_no_random_number_and_changes_nothing() -> None:
    found = Suitability()
    state = torch.random.get_rng_state()
    first, second = (found.refusals(PARALLEL) for _ in range(2))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first == second == Suitability().refusals(PARALLEL)


@pytest.mark.parametrize(
    ("backbone", "fault"),
    [
        ("timm:resnet18.a1_in1k", "resnet18.a1_in1k is not a VisionTransformer .*, but a ResNet"),
        ("random:swin_tiny_patch4_window7_224", "but a SwinTransformer"),
        ("random:cait_xxs24_224", "but a Cait"),
        ("random:vit_small_resnet26d_224", "batch normalisation"),
    ],
)
def test_no_backbone_at_all_is_refused_before_anything_is_fetched(
    backbone: str, fault: str, spec: RunSpec, tmp_path: Path
) -> None:
    with pytest.raises(BackboneError, match=fault):
        plan_runs([asked(spec, "sequential", backbone)], ResultStore(tmp_path))


@pytest.mark.parametrize(
    ("backbone", "side", "fault"),
    [
        ("tiny_sup", 30, "tiny_sup: image size 30 is not a multiple of its patch size 8: nearest "
                         "valid 24 or 32"),
        (BEIT, 225, "nearest valid 224 or 240"),
        ("random:naflexvit_base_patch16_gap", 200, "nearest valid 192 or 208"),
    ],
)  # fmt: skip
def test_an_image_size_is_checked_by_the_plan(
    backbone: str, side: int, fault: str, spec: RunSpec, tmp_path: Path
) -> None:
    one = replace(asked(spec, "ncm", backbone), backbone_image_size=side)
    with pytest.raises(BackboneError, match=fault):
        plan_runs([one], ResultStore(tmp_path))


def test_a_file_is_not_looked_into_twice(monkeypatch: Any, toy_backbone: str) -> None:
    calls: list[str] = []
    outline = module.outline_of
    monkeypatch.setattr(
        module, "outline_of", lambda n, file: calls.append(n) or outline(n, file=file)
    )
    found = Suitability()
    for name in ("sequential", "slca"):
        assert found.lacking(name, METHODS.get(name).Config(), toy_backbone) is None
    assert calls == [toy_backbone]
