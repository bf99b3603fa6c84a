"""Every method on every kind of ViT in timm: it trains what is its own, or is refused before."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest
import timm_kinds
import torch
from timm_kinds import KINDS, OLDER
from torch import Tensor
from toy_world import RECIPE, SMALL, ToyImages

from benchmark.data.stream import make_tasks
from benchmark.engine.suitability import Suitability
from benchmark.engine.trainer import train_task
from benchmark.registry import METHODS

LORA = {
    "c_lora", "inflora", "inflora_b5", "inflora_ca", "inflora_mperp", "inflora_nt",
    "inflora_random", "lae", "lae_ties", "seq_lora",
}  # fmt: skip
ADAPTERS = {"lae_conv", "lae_conv_ties"}
PREFIXES = {"coda_p", "dualprompt", "l2p_pp"}
REFUSED = {
    "parallel": ADAPTERS | PREFIXES | {"slca"} | (LORA if OLDER else set()),
    "parallel things": LORA | ADAPTERS | PREFIXES,
    "siglip": {"l2p", "slca"},
    "pe": {"l2p", "slca"},
    "naflex map": {"l2p", "slca"},
    "intern": {"slca"},
    "aimv2": {"slca"},
    "difference": PREFIXES,
}
SETTINGS: dict[str, dict[str, Any]] = {
    **SMALL,
    "c_lora": {"rank": 4},
    "l2p_pp": {**SMALL["l2p_pp"], "layers": (0, 1)},
    "coda_p": {**SMALL["coda_p"], "layers": (0, 1)},
    "dualprompt": {**SMALL["dualprompt"], "layers": (1,), "general_layers": (0,)},
}
(TASK,) = make_tasks([2])
ONE_STEP = dataclasses.replace(RECIPE, epochs=1, batch_size=4)


def settings(name: str) -> Any:
    return METHODS.get(name).Config(**SETTINGS.get(name, {}))


@pytest.fixture(scope="module")
def suitability() -> Suitability:
    """Knows the small models under the names of their kinds."""
    found = Suitability()
    for kind in KINDS:
        found._outlines[kind, ""] = pickle.dumps(timm_kinds.make(kind).to("meta"))
    return found


# Methods that plug nothing in beside what others do, and kinds that differ in nothing they look at.
ALIKE = {
    "inflora_b5", "inflora_mperp", "inflora_nt", "inflora_random", "joint", "lae_conv_ties",
    "lae_ties",
}  # fmt: skip
KINDS_ALIKE = {
    "any size", "clip", "dinov3 rope", "maximum", "naflex rope", "query norm", "relative table",
    "relative post-norm", "swiglu",
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_kind_lacks_is_known_before(kind: str, suitability: Suitability) -> None:
    lacking = {name: suitability.lacking(name, settings(name), kind) for name in METHODS.sources()}
    assert {name for name, reason in lacking.items() if reason} == REFUSED.get(kind, set())


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in KINDS_ALIKE])
def test_a_method_trains_what_is_its_own(kind: str) -> None:
    plain, x = timm_kinds.make(kind), timm_kinds.images(3)
    labels = torch.tensor([0, 1, 0, 1])
    batch = ToyImages(timm_kinds.images(4), labels, 4, lambda x: plain(x).detach())
    for name in {*METHODS.sources()} - REFUSED.get(kind, set()) - ALIKE:
        torch.manual_seed(1)
        method = METHODS.get(name)(timm_kinds.make(kind), settings(name)).double()
        method.grow(TASK)
        method.double()
        train_task(method, TASK, batch, ONE_STEP)
        method.eval()
        with torch.no_grad():
            logits: Tensor = method.predict(x, plain(x) if method.frozen_features else None)
        assert logits.shape == (3, 2), name
        assert logits.isfinite().all(), name
        trained = {id(p) for group in method.parameter_groups() for p in group["params"]}
        if trained:
            method.loss(next(iter(batch.batches(augment=False))), TASK).backward()
        reached = {n for n, p in method.named_parameters() if p.grad is not None}
        assert reached <= {n for n, p in method.named_parameters() if id(p) in trained}, name
        backbone = {n for n, _ in method.named_parameters() if n.startswith("backbone.")}
        assert reached & backbone == (backbone if method.trains_backbone else set()), name
