"""Results of earlier versions: what they do not say is what these versions always did.

Before interpolation and the resizing of test images could be chosen, all was bilinear, and the data
set decided on the resizing, of which the environment held a description.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CENTRE = {"resize": "shorter", "crop": 0.875, "interpolation": "bilinear"}
_WHOLE = {"resize": "both", "crop": 1.0, "interpolation": "bilinear"}
_DESCRIBED = {"Resize(centre=True)": _CENTRE, "Resize(centre=False)": _WHOLE}
# Where a run failed too early for a description: the data sets that were not cut.
_NOT_CUT = ("cifar100", "icons", "letters", "letters_small")


def completed(content: Mapping[str, Any]) -> dict[str, Any]:
    """A stored result with what it lacks filled in; the same content where it lacks nothing."""
    spec, environment = content.get("spec"), content.get("environment")
    if not isinstance(spec, dict) or not isinstance(environment, dict):
        return dict(content)
    spec, inputs = dict(spec), environment.get("inputs")
    augmentation = spec.get("augmentation")
    if isinstance(augmentation, dict):
        spec["augmentation"] = {**augmentation}
        spec["augmentation"].setdefault("interpolation", "bilinear")
    described = None
    if isinstance(inputs, dict):
        described = inputs.get("resizing")
        kept = {name: text for name, text in inputs.items() if name != "resizing"}
        environment = {**environment, "inputs": kept}
    if "evaluation" not in spec:
        usual = _WHOLE if spec.get("dataset") in _NOT_CUT else _CENTRE
        spec["evaluation"] = _DESCRIBED.get(str(described), usual)
    return {**content, "spec": spec, "environment": environment}
