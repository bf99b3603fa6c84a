"""What may have moved a number: everything recorded of two groups of runs that differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, cast

from benchmark.report.blocks import Run
from benchmark.report.formatting import listing
from benchmark.results.store import Result

_DIGITS = 12  # shown of a hash


def causes(first: Sequence[Run], second: Sequence[Run]) -> Iterator[str]:
    """What is recorded and differs between the runs of the two sides."""
    readings: dict[str, Callable[[Result], Any]] = {
        "method source": lambda r: r["environment"]["method_source_hash"][:_DIGITS],
        "data": lambda r: r["environment"]["data_manifest_hash"][:_DIGITS],
        "weights": lambda r: r["environment"]["weight_hash"][:_DIGITS],
        "protocol": lambda r: r["spec"]["protocol"],
        "revision": lambda r: _revision(r)[:_DIGITS],
        "uncommitted changes": lambda r: "yes" if r["environment"]["dirty"] else "no",
        "version": lambda r: r["environment"]["version"],
        "device": lambda r: r["environment"]["device"],
        "hardware": lambda r: r["environment"]["hardware"],
        "threads": lambda r: r["environment"]["threads"],
    }
    for block in ("packages", "sources", "inputs"):
        if all(block in run.result["environment"] for run in (*first, *second)):
            names = {n: None for run in (*first, *second) for n in _entries(run.result, block)}
            readings |= {
                f"code of {name}" if block == "sources" else name: partial(_entry, block, name)
                for name in names
            }
    for name, read in readings.items():
        before, after = (
            list(dict.fromkeys(str(read(run.result)) for run in side)) for side in (first, second)
        )
        if set(before) != set(after):
            yield f"{name} {listing(before)} -> {listing(after)}"


def _revision(result: Result) -> str:
    return result["environment"]["revision"] or "none"


def _entry(block: str, name: str, result: Result) -> str:
    return _entries(result, block).get(name, "none")


def _entries(result: Result, block: str) -> Mapping[str, str]:
    found: Mapping[str, str] = cast("Mapping[str, Any]", result["environment"])[block]
    return found
