"""What is timed: methods, with the settings that make steps of other kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmark.config.convert import Problems, unknown_key
from benchmark.config.overrides import check_used, read_assignments, values_for
from benchmark.config.settings import method_settings, setting_types

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
    problems = Problems()
    assignments = read_assignments(sets, problems)
    for one in assignments:
        if one.block != "settings":
            fault = "no part of a training step: " + unknown_key(one.key, ("settings.KEY",))
            problems.add(one.option, fault)
    problems.check()
    names = list(dict.fromkeys(methods))
    types = {name: setting_types(name) for name in names}
    check_used(assignments, {"settings": types}, problems)
    found: list[Variant] = []
    for name in names:
        given = values_for(assignments, name, "settings", types[name], problems)
        for kinds in _VARIANTS.get(name, [{}]) if every else [{}]:
            if not problems.found:
                wanted, place = {**kinds, **given}, f"--set {name}.settings"
                values = method_settings(name, wanted, place, problems)
                found.append(Variant(name, _changed(name, values, problems)))
    problems.check()
    return list({variant.label: variant for variant in found}.values())


def _changed(name: str, values: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    defaults = method_settings(name, {}, name, problems)
    return {key: value for key, value in values.items() if value != defaults[key]}


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "+".join(map(str, value)) if isinstance(value, tuple) else str(value)
