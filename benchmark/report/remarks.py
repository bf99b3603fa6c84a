"""What a reader has to know about a row before trusting it: marks, failures, uneven conditions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

from benchmark.report.formatting import listing
from benchmark.report.selection import inputs
from benchmark.results import Result

_ERROR_LENGTH = 160
Cells = Collection[tuple[str, int]]  # class orders and seeds


def remarks(
    done: Sequence[Result],
    broken: Sequence[Result],
    *,
    newest: Mapping[str, str],
    cells: Cells,
    all_cells: Cells,
    left_out: int,
) -> tuple[str, ...]:
    """Remarks on one row.

    newest: data and weights of the block's newest runs; cells: class orders and seeds of this row,
    all_cells those of the whole block; left_out: results of other code, data or weights.
    """
    found = [
        *_marks(done),
        *_failures(broken),
        *_other_inputs(done, newest),
        *_other_cells(cells, all_cells),
    ]
    if left_out:
        results = f"{left_out} result{'s' * (left_out > 1)}"
        found.append(f"{results} of other code, data or weights left out")
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


def _other_inputs(done: Sequence[Result], newest: Mapping[str, str]) -> list[str]:
    other = {
        f"other {name} than the newest runs of this table"
        for run in done
        for name, hashed in inputs(run).items()
        if newest[name] != hashed
    }
    return sorted(other)


def _other_cells(own: Cells, union: Cells) -> list[str]:
    """Rows over different seeds are not quite the same experiment."""
    if set(own) == set(union):
        return []
    seeds, all_seeds = (sorted({seed for _, seed in cells}) for cells in (own, union))
    if seeds != all_seeds:
        word = f"seed{'s' * (len(seeds) > 1)}"
        return [f"{word} {listing(seeds)} only; the table has seeds {listing(all_seeds)}"]
    return [f"{len(own)} of {len(union)} pairs of class order and seed"]
