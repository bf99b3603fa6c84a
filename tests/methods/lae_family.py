"""The forms of the LAE family."""

from __future__ import annotations

from typing import Any

import toy_world

FORMS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lae", {"pet": "lora"}),
    "adapter": ("lae", {"pet": "adapter"}),
    "prefix": ("lae", {"pet": "prefix"}),
    "conv": ("lae_conv", {}),
    "ties": ("lae_ties", {}),
    "ties_prefix": ("lae_ties", {"pet": "prefix"}),
    "ties_history": ("lae_ties", {"history": True}),
    "conv_ties": ("lae_conv_ties", {}),
}


def make(form: str, **settings: Any) -> Any:
    """A method with two adapted blocks and one frozen epoch unless told otherwise."""
    name, own = FORMS[form]
    return toy_world.make(name, **{"blocks": 2, "freeze_epochs": 1} | own | settings)
