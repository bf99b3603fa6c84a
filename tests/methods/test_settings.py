"""Settings of every method: what none of them may accept."""

from __future__ import annotations

import json
import math
from dataclasses import fields

import pytest

from benchmark.config import Overrides, SuiteError, expand, load_suite
from benchmark.registry import METHODS

NUMBERS = [
    (name, field.name, field.default)
    for name in METHODS.sources()
    for field in fields(METHODS.get(name).Config)
    if type(field.default) in (int, float)
]


@pytest.mark.parametrize(("method", "name", "default"), NUMBERS)
def test_a_number_has_a_range_and_is_finite(method: str, name: str, default: float) -> None:
    config = METHODS.get(method).Config
    (field,) = [one for one in fields(config) if one.name == name]
    assert field.metadata["low"] is not None
    for value in (field.metadata["low"] - 1, math.inf, -math.inf, math.nan):
        with pytest.raises(ValueError, match=f"^{name} must be"):
            config(**{name: value})
    if field.metadata["high"] is not None:
        with pytest.raises(ValueError, match=f"{name} must be at most"):
            config(**{name: type(default)(field.metadata["high"] + 1)})


@pytest.mark.parametrize("method", ["inflora", "inflora_b5", "inflora_ca", "inflora_nt"])
@pytest.mark.parametrize("name", ["lamb", "lame"])
def test_a_share_of_energy_is_one_at_most(method: str, name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} must be at most 1, not 2.0"):
        METHODS.get(method).Config(**{name: 2.0})


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("lae", {"bottleneck": 8}),
        ("lae", {"pet": "prefix", "rank": 8}),
        ("lae", {"offline": False, "ema": 0.5}),
        ("lae_ties", {"offline": False, "keep": 10.0}),
        ("lae_conv", {"msa": "linear", "mlp": "none", "kernel": 5}),
        ("lae_conv_ties", {"msa": "linear", "mlp": "linear", "dropout": 0.5}),
    ],
)
def test_a_setting_that_another_one_hides_is_refused(
    method: str, settings: dict[str, object]
) -> None:
    given = tuple(f"{method}.settings.{name}={json.dumps(it)}" for name, it in settings.items())
    with pytest.raises(SuiteError, match="read only where"):
        expand(load_suite("icons"), Overrides(method=(method,), sets=given))
    METHODS.get(method).Config(**settings)  # in a recorded case or a suite it does no harm
