"""What a finished run says of the conditions it was earned under, as one flat list of facts.

A fact that a result does not hold is left out and nothing is claimed about it. All rows of a block
must agree in every fact that more than one of them has (`benchmark.report.fairness.check`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from benchmark.report.formatting import listing, setting_text
from benchmark.results.store import Result

CODE = "code of "  # before the name of a file or a method
COUNTED = ("epochs",)  # facts whose value stands before the name
_RECIPE = {  # how much is trained on; how fast (rates, optimizer, schedule) is each method's own
    "epochs": "epochs",
    "batch_size": "batch size",
    "drop_last": "drop incomplete batches",
}


def facts(result: Result, *, by_file: bool) -> dict[str, str]:
    """The facts of one finished run by name.

    by_file: compare the code file by file, as `environment.sources` has it; else by revision.
    """
    spec, outcome, environment = result["spec"], result["outcome"], result["environment"]
    order = spec["order"]
    found = {
        "backbone weights": environment["weight_hash"],
        "input range": spec["input_range"],
        "precision": spec["precision"],
        # Split lists, images, the order's content and the share held out are all in this hash.
        f"data ({order} order)": environment["data_manifest_hash"],
        f"test images per task ({order} order)": listing(outcome["test_counts"]),
        # Crops, flips, resizing and pixel range as the run had them. Results from before this was
        # recorded are covered by the protocol, which a block shares, and by the code's revision.
        **_inputs(result),
        **_code(result, by_file),
    }
    if trains(result):
        recipe: Mapping[str, Any] = spec["recipe"]
        found |= {name: setting_text(recipe[key]) for key, name in _RECIPE.items() if key in recipe}
    found |= {f"{name} version": version for name, version in environment["packages"].items()}
    return found


def trains(result: Result) -> bool:
    """Whether the method of a finished run trains anything by steps: ncm does not."""
    return any(result["outcome"]["trainable_parameters"])


def has_sources(results: Collection[Result]) -> bool:
    """Whether all finished runs recorded the code that decides their numbers file by file."""
    return all("sources" in result["environment"] for result in results)


def _inputs(result: Result) -> dict[str, str]:
    """Size, augmentation, resizing and, among rows of the same input range, what that means."""
    found = dict(result["environment"].get("inputs", {}))
    pixels = found.pop("pixel range", None)
    return found | ({f"{result['spec']['input_range']} input range": pixels} if pixels else {})


def _code(result: Result, by_file: bool) -> dict[str, str]:
    environment = result["environment"]
    if by_file:  # a commit that touches none of these files changes no number
        return {CODE + file: digest for file, digest in environment["sources"].items()}
    revision = environment["revision"] or f"(clbench {environment['version']})"
    method = result["spec"]["method"]
    return {"code revision": revision, CODE + method: environment["method_source_hash"]}
