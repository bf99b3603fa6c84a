"""In what the setting of a published number and of one of our lines differ, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from benchmark.report.blocks import Line
from benchmark.report.formatting import setting_text
from benchmark.report.paper.published import Setting
from benchmark.results.store import canonical

_FIELDS = {
    "split": "split",
    "input_range": "input range",
    "precision": "precision",
    "validation": "validation share",
}


def differences(published: Setting, line: Line) -> list[str]:
    """One text for each thing in which the two differ, or may: what was not published.

    Only what is known of the published setting is compared.
    """
    spec = line.spec
    found = [*_order(published.order, spec["order"])]
    for name, words in _FIELDS.items():
        wanted = getattr(published, name)
        if wanted not in ("", None) and spec[name] != wanted:
            found.append(_contrast(words, spec[name], wanted))
    found += _mapping(published.recipe, spec["recipe"])
    found += _mapping(published.settings, spec["settings"])
    if spec["backbone_file"]:
        found.append("backbone weights: ours from a file given by hand")
    found += _weighting(published.weighting, line)
    return [*found, *(f"not published: {text}" for text in published.unknown)]


def order_words(order: str) -> str:
    """`natural`, `shuffled`, or the name of the file that has the order."""
    return "shuffled" if order.startswith("shuffled:") else PurePath(order).name


def _order(published: str, ours: str) -> Iterator[str]:
    if published and published not in (ours, order_words(ours)):
        yield _contrast("class order", order_words(ours), published)


def _mapping(published: Mapping[str, Any], ours: Mapping[str, Any]) -> Iterator[str]:
    for name, wanted in published.items():
        if canonical(ours.get(name)) != canonical(wanted):
            yield _contrast(name, ours.get(name), wanted)


def _weighting(published: str, line: Line) -> Iterator[str]:
    """Equal tasks have the same accuracy however they are weighed."""
    uneven = any(len(set(run.result["outcome"]["test_counts"])) > 1 for run in line.done)
    if uneven and published in ("images", "unclear"):
        perhaps = "perhaps " if published == "unclear" else ""
        yield f"accuracy: ours weighs tasks alike, the published {perhaps}test images"


def _contrast(name: str, ours: Any, published: Any) -> str:
    own = "none" if ours is None else setting_text(ours)
    return f"{name}: ours {own}, published {setting_text(published)}"
