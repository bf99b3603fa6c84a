"""What is timed: methods, with the settings that make steps of other kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.config.expand import check_used, read_assignments, values_for
from benchmark.config.reading import faults_of
from benchmark.registry import METHODS
from benchmark.spec import Settings, values_of
from benchmark.validation import Faults, unknown_key

_PETS = [{"pet": pet} for pet in ("lora", "adapter", "prefix")]
_KINDS = ("conv", "linear", "none")
_PAIRS = [(msa, mlp) for msa in _KINDS for mlp in _KINDS if (msa, mlp) != ("none", "none")]
_MIXES = [{"msa": msa, "mlp": mlp} for msa, mlp in _PAIRS]
_VARIANTS: dict[str, list[dict[str, str]]] = {
    "lae": _PETS, "lae_ties": _PETS, "lae_conv": _MIXES, "lae_conv_ties": _MIXES,
}  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """A method and those of its settings that differ from its defaults."""

    method: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """Name of its row, such as `lae pet=adapter`."""
        return " ".join([self.method, *(f"{k}={_plain(v)}" for k, v in self.settings.items())])


def variants(
    methods: Iterable[str], sets: Iterable[str] = (), every: bool = False
) -> list[Variant]:
    """The methods with the settings of `--set [METHOD.]settings.KEY=VALUE`.

    every: also with every kind of module that a method offers. Raises `SuiteError` with all faults.
    """
    faults = Faults()
    assignments = read_assignments(sets, faults)
    for one in assignments:
        if one.block != "settings":
            fault = "no part of a training step: " + unknown_key(one.key, ("settings.KEY",))
            faults.add(fault, one.option)
    with faults_of():
        faults.check()
    configs = {name: METHODS.get(name).Config for name in methods}
    check_used(assignments, configs, faults)
    found: list[Variant] = []
    for name, config in configs.items():
        given = values_for(assignments, name, "settings", config, faults)
        for kinds in _VARIANTS.get(name, [{}]) if every else [{}]:
            if not faults:
                with faults.at(f"--set {name}.settings"):
                    found.append(Variant(name, _changed(config(**{**kinds, **given}), config())))
    with faults_of():
        faults.check()
    return list({variant.label: variant for variant in found}.values())


def _changed(settings: Settings, defaults: Settings) -> dict[str, Any]:
    before = values_of(defaults)
    return {key: value for key, value in values_of(settings).items() if value != before[key]}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
