"""What a reader has to know about a row before trusting it: marks, failures, uneven conditions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from benchmark.report.formatting import listing
from benchmark.results.schema import BATCH_MARK
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
    marks = dict.fromkeys(mark for run in done for mark in run["outcome"]["marks"])
    found = [Remark(text, unfair=text == BATCH_MARK) for text in marks]
    # A row without a number cannot be compared unfairly.
    uneven = (*_uncommitted(done), *_failures(broken), *differing)
    found += [Remark(text, bool(done)) for text in uneven]
    if left_out:
        results = f"{left_out} result{'s' * (left_out > 1)}"
        found.append(Remark(f"{results} of other code, data or weights left out", unfair=False))
    return tuple(found)


def _uncommitted(done: Sequence[Result]) -> list[str]:
    dirty = sum(run["environment"]["dirty"] for run in done)
    if not dirty:
        return []
    share = "" if dirty == len(done) else f" ({dirty} of {len(done)} runs)"
    return [f"ran on uncommitted code{share}"]


def _failures(broken: Sequence[Result]) -> list[str]:
    reasons: dict[str, list[int]] = defaultdict(list)
    for result in broken:
        outcome = result["outcome"]
        text = " ".join((outcome["error"] or "no reason recorded").split())
        if len(text) > _ERROR_LENGTH:
            text = text[: _ERROR_LENGTH - 3] + "..."
        reasons[f"{outcome['status']}: {text}"].append(result["spec"]["seed"])
    return [f"seed{'s' * (len(s) > 1)} {listing(s)} {text}" for text, s in reasons.items()]
