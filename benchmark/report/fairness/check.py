"""Were the rows of a block earned under the same conditions? What differs is said of the row.

Compared are the facts of `facts` (weights, inputs and augmentation, data and split, epochs and
batches, precision, code, packages), seeds with class orders, and the tuning (`tuned`): its record
and data set, and its budget. What most rows have is the measure; of equally frequent values
the one of the newest run. Data set, published split, task split, scenario, kind of class order,
validation share and protocol cannot differ: they make blocks.

It does not matter who asked for a difference, a suite or a `--set`: unequal epochs are unequal.
What belongs to a method is not compared: its settings, optimizer, rates and schedule. Nor is what
decides no number: device, threads, jobs (`costs` tells of other hardware).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from benchmark.report.fairness.facts import CODE, COUNTED, facts
from benchmark.report.fairness.tuned import tuning_differences, tuning_facts
from benchmark.report.formatting import listing, seed_text
from benchmark.report.rows import Block, Replicate, Row, age, replicate
from benchmark.results.store import Result

if TYPE_CHECKING:
    from benchmark.config.record import TuningRecord

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
    conditions = facts_that_differ(done, facts)
    tuned = [
        tuple(by_record) or tuple(by_result)
        for by_record, by_result in zip(
            tuning_differences(done, records), facts_that_differ(done, tuning_facts), strict=True
        )
    ]
    usual = _usual_replicates(done)
    return [
        (*texts, *_replicates_that_differ(row, usual), *words)
        for texts, row, words in zip(conditions, rows, tuned, strict=True)
    ]


# -- facts --------------------------------------------------------------------------------------


def facts_that_differ(
    rows: Sequence[Sequence[Result]], of: Callable[[Result], Mapping[str, str]]
) -> list[list[str]]:
    """For every row, in words, the facts in which its runs are not like those of most rows.

    of: gives the facts of a run; one that it leaves out is not compared.
    """
    said = [[of(run) for run in row] for row in rows]
    having: dict[tuple[str, str], set[int]] = defaultdict(set)  # rows by fact and value
    newest: dict[tuple[str, str], str] = defaultdict(str)
    for i, row in enumerate(rows):
        for run, own in zip(row, said[i], strict=True):
            for fact in own.items():
                having[fact].add(i)
                newest[fact] = max(newest[fact], age(run))
    ranked = sorted(having, key=lambda fact: (len(having[fact]), newest[fact], fact))
    measure = dict(ranked)  # the last value of a name stays
    return [_words(row, measure) for row in said]


def _words(row: Sequence[Mapping[str, str]], measure: Mapping[str, str]) -> list[str]:
    found: list[str] = []
    files: dict[str, list[str]] = defaultdict(list)  # by how many of the runs
    for name in dict.fromkeys(name for own in row for name in own):
        values = [own[name] for own in row if name in own]
        other = [value for value in values if value != measure[name]]
        if not other:
            continue
        share = "" if len(other) == len(values) else f" ({len(other)} of {len(values)} runs)"
        if name.startswith(CODE):
            files[share].append(name.removeprefix(CODE))
            continue
        shown = " and ".join(map(_shown, dict.fromkeys(other)))
        words = f"{shown} {name}" if name in COUNTED else f"{name} {shown}"
        found.append(f"{words}{share}; the other rows have {_shown(measure[name])}")
    for share, names in files.items():
        more = f" and {len(names) - _FILES} more" if len(names) > _FILES else ""
        found.append(f"different code in {listing(names[:_FILES])}{more}{share}")
    return found


def _shown(value: str) -> str:
    """A value as it is read: of a hash the first digits."""
    return value[:_DIGITS] if re.fullmatch(r"[0-9a-f]{12,}", value) else value


# -- replicates ---------------------------------------------------------------------------------


def _usual_replicates(rows: Sequence[Sequence[Result]]) -> frozenset[Replicate]:
    """The replicates of most rows; of equally frequent ones the larger set."""
    votes = Counter(frozenset(replicate(run["spec"]) for run in row) for row in rows if row)
    return max(votes, key=lambda c: (votes[c], len(c), sorted(c)), default=frozenset())


def _replicates_that_differ(row: Row, usual: Collection[Replicate]) -> list[str]:
    own = {replicate(run.result["spec"]) for run in row.done}
    lost = {replicate(result["spec"]) for result in row.broken}
    if not own or own == usual or own | lost == usual:  # failures have a note of their own
        return []
    seeds, others = (sorted({seed for _, seed in some}) for some in (own, usual))
    if seeds != others:
        return [f"{seed_text(seeds)}; the other rows have {listing(others)}"]
    orders, other_orders = (sorted({order for order, _ in some}) for some in (own, usual))
    if orders != other_orders:
        return [f"class order {listing(orders)}; the other rows have {listing(other_orders)}"]
    return ["class orders and seeds are paired differently from the other rows"]
