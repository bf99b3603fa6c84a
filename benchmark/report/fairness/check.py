"""Were the rows of a block earned under the same conditions? What differs is said of the row.

Compared are the facts of `facts` (weights, inputs and augmentation, data and split, epochs and
batches, precision, code, packages), seeds with class orders, and, where a record of the tuning
exists, the tuning budget (`tuned`). What most rows have is the measure; of equally frequent values
the one of the newest run. Data set, published split, task split, scenario, kind of class order,
validation share and protocol cannot differ: they make blocks.

It does not matter who asked for a difference, a suite or a `--set`: unequal epochs are unequal.
What belongs to a method is not compared: its settings, optimizer, rates and schedule. Nor is what
decides no number: device, threads, jobs (`costs` tells of other hardware).
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmark.report.fairness.facts import CODE, COUNTED, facts, has_sources
from benchmark.report.fairness.tuned import tuning_differences
from benchmark.report.formatting import listing
from benchmark.report.rows import Block, Replicate, Row, age, replicate
from benchmark.results.store import Result

if TYPE_CHECKING:
    from benchmark.tuning.record import TuningRecord

_FILES = 3  # files of differing code that are named
_DIGITS = 8  # of a hash that are shown


class UnfairError(ValueError):
    """A report that was asked for with `--strict` and has rows that are not comparable."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = tuple(faults)


def unfair(blocks: Iterable[Block]) -> list[str]:
    """All that keeps rows of these annotated blocks from being compared; empty: nothing.

    Beside what differs between rows: marks, uncommitted code, and means from which a run is missing
    because it failed. Rows without a finished run have no number to be compared.
    """
    return [
        f"{block.title}: {row.label}: {text}"
        for block in blocks
        for row in block.rows
        for text in row.unfair
    ]


def differences(rows: Sequence[Row], records: Sequence[TuningRecord] = ()) -> list[tuple[str, ...]]:
    """In what each row of a block differs from the other rows, in words.

    records: of tunings that may be about this block.
    """
    done = [[run.result for run in row.done] for row in rows]
    by_file = has_sources([result for results in done for result in results])
    conditions = facts_that_differ(done, lambda result: facts(result, by_file=by_file))
    tuned = tuning_differences(done, records)
    usual = _usual_replicates(done)
    return [
        (*texts, *_replicates_that_differ(row, usual), *words)
        for texts, row, words in zip(conditions, rows, tuned, strict=True)
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
        said = f"{own} {name}" if name in COUNTED else f"{name} {own}"
        found.append(f"{said}{share}; the other rows have {_shown(measure[name])}")
    return found + _code_that_differs(files)


def _code_that_differs(files: Mapping[str, str]) -> list[str]:
    by_share: dict[str, list[str]] = defaultdict(list)
    for file, share in files.items():
        by_share[share].append(file)
    found = []
    for share, names in by_share.items():
        more = f" and {len(names) - _FILES} more" if len(names) > _FILES else ""
        found.append(f"different code in {listing(names[:_FILES])}{more}{share}")
    return found


def _share(some: int, all_runs: int) -> str:
    return "" if some == all_runs else f" ({some} of {all_runs} runs)"


def _shown(value: str) -> str:
    """A value as it is read: of a hash the first digits."""
    return value[:_DIGITS] if re.fullmatch(r"[0-9a-f]{12,}", value) else value


# -- replicates ---------------------------------------------------------------------------------


def _usual_replicates(rows: Sequence[Sequence[Result]]) -> frozenset[Replicate]:
    """The replicates of most rows; of equally frequent ones the larger set."""
    votes: dict[frozenset[Replicate], int] = defaultdict(int)
    for row in rows:
        if row:
            votes[frozenset(replicate(run["spec"]) for run in row)] += 1
    return max(votes, key=lambda c: (votes[c], len(c), sorted(c)), default=frozenset())


def _replicates_that_differ(row: Row, usual: Collection[Replicate]) -> list[str]:
    own = {replicate(run.result["spec"]) for run in row.done}
    lost = {replicate(result["spec"]) for result in row.broken}
    if not own or own == usual or own | lost == usual:  # failures have a note of their own
        return []
    seeds, others = (sorted({seed for _, seed in some}) for some in (own, usual))
    if seeds != others:
        many = "s" * (len(seeds) > 1)
        return [f"seed{many} {listing(seeds)}; the other rows have {listing(others)}"]
    orders, other_orders = (sorted({order for order, _ in some}) for some in (own, usual))
    if orders != other_orders:
        return [f"class order {listing(orders)}; the other rows have {listing(other_orders)}"]
    return ["class orders and seeds are paired differently from the other rows"]
