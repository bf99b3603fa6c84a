"""What a reader has to know about a row before trusting it: marks, failures, uneven conditions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from benchmark.report.formatting import listing
from benchmark.results.store import Result

_ERROR_LENGTH = 160


class Remark(NamedTuple):
    """One remark on a row. unfair: the row cannot be compared with the others as it is."""

    text: str
    unfair: bool = True


def remarks(
    done: Sequence[Result],
    broken: Sequence[Result],
    *,
    differing: Sequence[str],
    left_out: int,
) -> tuple[Remark, ...]:
    """Remarks on one row.

    differing: in what the row differs from the rest (`benchmark.report.fairness.check`); left_out:
    results of other code, data or weights that do not count.
    """
    # A row without a number cannot be compared unfairly.
    found = [Remark(text, bool(done)) for text in (*_marks(done), *_failures(broken), *differing)]
    if left_out:
        results = f"{left_out} result{'s' * (left_out > 1)}"
        found.append(Remark(f"{results} of other code, data or weights left out", unfair=False))
    return tuple(found)


def _marks(done: Sequence[Result]) -> list[str]:
    dirty = sum(run["environment"]["dirty"] for run in done)
    marks = dict.fromkeys(mark for run in done for mark in run["outcome"]["marks"])
    if dirty:
        share = "" if dirty == len(done) else f" ({dirty} of {len(done)} runs)"
        marks[f"ran on uncommitted code{share}"] = None
    return list(marks)


def _failures(broken: Sequence[Result]) -> list[str]:
    reasons: dict[str, list[int]] = defaultdict(list)
    for result in broken:
        outcome = result["outcome"]
        text = " ".join((outcome["error"] or "no reason recorded").split())
        if len(text) > _ERROR_LENGTH:
            text = text[: _ERROR_LENGTH - 3] + "..."
        reasons[f"{outcome['status']}: {text}"].append(result["spec"]["seed"])
    return [f"seed{'s' * (len(s) > 1)} {listing(s)} {text}" for text, s in reasons.items()]
