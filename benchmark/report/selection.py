"""Which of several results of the same run counts, and what it was made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmark.results.store import Result


def cell(spec: Mapping[str, Any]) -> tuple[str, int]:
    """Class order and seed: all in which the runs of one row differ."""
    return spec["order"], spec["seed"]


def current(found: list[Result], want: Mapping[str, Mapping[str, Any]]) -> list[Result]:
    """Of the results of one row those made by one and the same code, data and weights.

    want: expected specifications by key; what is expected decides, else the newest finished result
    does, and where none is finished the newest.
    """
    asked_cells = {cell(spec) for spec in want.values()}
    # The same run under another key: its code, data or weights have changed since.
    fresh = [r for r in found if r["key"] in want or cell(r["spec"]) not in asked_cells]
    known = sorted((r for r in fresh if _code(r) is not None), key=age, reverse=True)
    # Stable: what is expected first, then what has finished, then the newest.
    known.sort(key=lambda r: (r["key"] not in want, r["outcome"]["status"] != "done"))
    code = _code(known[0]) if known else None
    data: dict[str, Any] = {}
    kept: dict[tuple[str, int], Result] = {}
    for result in known:
        spec = result["spec"]
        hashed = data.setdefault(spec["order"], result["environment"]["data_manifest_hash"])
        if _code(result) == code and result["environment"]["data_manifest_hash"] == hashed:
            kept.setdefault(cell(spec), result)
    for result in fresh:  # a run that died early does not know what it was made of
        if _code(result) is None:
            kept.setdefault(cell(result["spec"]), result)
    return sorted(kept.values(), key=lambda r: cell(r["spec"]))


def _code(result: Result) -> tuple[str, str] | None:
    environment = result["environment"]
    names = ("method_source_hash", "data_manifest_hash", "weight_hash")
    if any(name not in environment for name in names):
        return None
    return environment["method_source_hash"], environment["weight_hash"]


def age(result: Result) -> str:
    """When the run began, for finding the newest; empty where it is not known."""
    return result["environment"].get("started", "")
