"""What a finished run says of the conditions it was earned under, as one flat list of facts.

A fact that a result does not hold is left out and nothing is claimed about it. All rows of a block
must agree in every fact that more than one of them has (`benchmark.report.fairness.check`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.report.formatting import block_text, listing, setting_text
from benchmark.results.store import Result

CODE = "code of "  # before the name of a file
COUNTED = ("epochs",)  # facts whose value stands before the name
_RECIPE = {  # how much is trained on; how fast (rates, optimizer, schedule) is each method's own
    "epochs": "epochs",
    "batch_size": "batch size",
    "drop_last": "drop incomplete batches",
}


def facts(result: Result) -> dict[str, str]:
    """The facts of one finished run by name."""
    spec, outcome, environment = result["spec"], result["outcome"], result["environment"]
    order, pixels = spec["order"], block_text(spec["input_range"])
    found = {
        "backbone weights": environment["weight_hash"],
        "input range": pixels,
        "precision": spec["precision"],
        "augmentation": block_text(spec["augmentation"]),
        "evaluation": block_text(spec["evaluation"]),
        # Split lists, images, the order's content and the share held out are all in this hash.
        f"data ({order} order)": environment["data_manifest_hash"],
        f"test images per task ({order} order)": listing(outcome["test_counts"]),
        # Image size and pixel range as the run had them.
        **environment["inputs"],
    }
    if "pixel range" in found:  # compared among rows of the same input range
        found[f"{pixels} input range"] = found.pop("pixel range")
    # File by file: a commit that touches none of these changes no number.
    sources = environment.get("sources", {})
    found |= {CODE + file: digest for file, digest in sources.items()}
    if trains(result):
        recipe: Mapping[str, Any] = spec["recipe"]
        found |= {name: setting_text(recipe[key]) for key, name in _RECIPE.items() if key in recipe}
    return found | {f"{name} version": text for name, text in environment["packages"].items()}


def trains(result: Result) -> bool:
    """Whether the method of a finished run trains anything by steps: ncm does not."""
    return any(result["outcome"]["trainable_parameters"])
