"""Were the rows of a block earned under the same conditions? What differs is said of the row.

Compared are the facts of `facts` (weights, inputs and augmentation, data and split, epochs and
batches, precision, code, packages), seeds with class orders, and, where a record of the tuning
exists, the tuning budget (`tuned`). What most rows have is the measure; of equally frequent values
the one of the newest run. Data set, published split, task split, scenario, kind of class order,
validation share and protocol cannot differ: they make blocks.

It does not matter who asked for a difference, a suite or a `--set`: unequal epochs are unequal.
What belongs to a method is not compared: its settings, optimiser, rates and schedule. Nor is what
decides no number: device, threads, jobs (`costs` tells of other hardware).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmark.report.fairness.facts import CODE, facts, has_sources
from benchmark.report.fairness.tuned import tuning_differences
from benchmark.report.formatting import listing
from benchmark.report.selection import age, cell
from benchmark.results.store import Result

if TYPE_CHECKING:
    from benchmark.report.blocks import Block
    from benchmark.tuning.record import TuningRecord

_FILES = 3  # files of differing code that are named
_DIGITS = 8  # of a hash that are shown

Cells = Collection[tuple[str, int]]  # class orders and seeds


class UnfairError(ValueError):
    """A report that was asked for with `--strict` and has rows that are not comparable."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def unfair(blocks: Iterable[Block]) -> list[str]:
    """All that keeps rows of these blocks from being compared, one line each; empty: nothing.

    Beside what differs between rows: marks, uncommitted code, and means from which a run is missing
    because it failed. Rows without a finished run have no number to be compared.
    """
    return [
        f"{block.title}: {line.label}: {text}"
        for block in blocks
        for line in block.lines
        for text in line.unfair
    ]


def differences(
    rows: Sequence[Sequence[Result]],
    broken: Sequence[Sequence[Result]],
    records: Sequence[TuningRecord] = (),
) -> list[tuple[str, ...]]:
    """In what each row of a block differs from the rest, in words.

    rows: the finished runs of every row; broken: those that failed or were cancelled, which
    explain seeds that are missing; records: of tunings that may be about this block.
    """
    by_file = has_sources([run for row in rows for run in row])
    conditions = facts_that_differ(rows, lambda run: facts(run, by_file=by_file))
    tuned = tuning_differences(rows, records)
    everywhere = _cells_of_most(rows)
    return [
        (*facts_found, *_cells_that_differ(row, lost, everywhere), *words)
        for facts_found, row, lost, words in zip(conditions, rows, broken, tuned, strict=True)
    ]


# -- facts --------------------------------------------------------------------------------------


@dataclass
class _Seen:
    """What the runs of a row have of one fact: how many runs and the newest one's start, by value.

    A row may be mixed: its runs need not agree.
    """

    runs: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    newest: dict[str, str] = field(default_factory=lambda: defaultdict(str))


_Observed = Mapping[str, _Seen]
_Facts = Callable[[Result], Mapping[str, str]]


def facts_that_differ(rows: Sequence[Sequence[Result]], of: _Facts) -> list[list[str]]:
    """For every row, in words, the facts in which its runs are not like those of most rows.

    of: gives the facts of a run; one that it leaves out is not compared.
    """
    seen = [_observe(row, of) for row in rows]
    measure = _measure(seen)
    return [_words(own, measure) for own in seen]


def _observe(row: Sequence[Result], of: _Facts) -> _Observed:
    found: dict[str, _Seen] = defaultdict(_Seen)
    for run in row:
        for name, value in of(run).items():
            found[name].runs[value] += 1
            found[name].newest[value] = max(found[name].newest[value], age(run))
    return found


def _measure(rows: Sequence[_Observed]) -> dict[str, str]:
    """The value of every fact that most rows have; of equals the newest run's."""
    votes: dict[str, dict[str, tuple[int, str]]] = defaultdict(dict)
    for row in rows:
        for name, seen in row.items():
            for value, newest in seen.newest.items():
                count, latest = votes[name].get(value, (0, ""))
                votes[name][value] = count + 1, max(latest, newest)
    return {name: max(values, key=lambda v: (values[v], v)) for name, values in votes.items()}


def _words(row: _Observed, measure: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    files: dict[str, str] = {}
    for name, seen in row.items():
        other = {value: n for value, n in seen.runs.items() if value != measure[name]}
        if not other:
            continue
        share = _share(sum(other.values()), sum(seen.runs.values()))
        if name.startswith(CODE):
            files[name.removeprefix(CODE)] = share
            continue
        own = " and ".join(map(_shown, other))
        found.append(f"{name} {own}{share}, not {_shown(measure[name])} as the rest")
    return found + _code_that_differs(files)


def _code_that_differs(files: Mapping[str, str]) -> list[str]:
    by_share: dict[str, list[str]] = defaultdict(list)
    for file, share in files.items():
        by_share[share].append(file)
    found = []
    for share, names in by_share.items():
        more = f" and {len(names) - _FILES} more" if len(names) > _FILES else ""
        found.append(f"other code than the rest in {listing(names[:_FILES])}{more}{share}")
    return found


def _share(some: int, all_runs: int) -> str:
    return "" if some == all_runs else f" ({some} of {all_runs} runs)"


def _shown(value: str) -> str:
    """A value as it is read: of a hash the first digits."""
    return value[:_DIGITS] if re.fullmatch(r"[0-9a-f]{12,}", value) else value


# -- seeds and class orders ---------------------------------------------------------------------


def _cells_of_most(rows: Sequence[Sequence[Result]]) -> frozenset[tuple[str, int]]:
    """Class orders and seeds of most rows; of equally frequent ones the larger set."""
    votes: dict[frozenset[tuple[str, int]], int] = defaultdict(int)
    for row in rows:
        if row:
            votes[frozenset(cell(run["spec"]) for run in row)] += 1
    return max(votes, key=lambda c: (votes[c], len(c), sorted(c)), default=frozenset())


def _cells_that_differ(
    row: Sequence[Result], broken: Sequence[Result], everywhere: Cells
) -> list[str]:
    own = {cell(run["spec"]) for run in row}
    lost = {cell(run["spec"]) for run in broken}
    if not own or own == set(everywhere) or own | lost == set(everywhere):  # failures are told
        return []
    seeds, usual = (sorted({seed for _, seed in cells}) for cells in (own, everywhere))
    if seeds != usual:
        return [f"{_seeds(seeds)}, not {_seeds(usual)} as the rest"]
    orders, usual_orders = (sorted({order for order, _ in cells}) for cells in (own, everywhere))
    if orders != usual_orders:
        return [f"class order {listing(orders)}, not {listing(usual_orders)} as the rest"]
    return ["other pairs of class order and seed than the rest"]


def _seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {listing(seeds)}"
