"""Notes: what a reader has to know about a row, and the numbered notes under a table."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from benchmark.report.fairness.check import differences
from benchmark.report.fairness.tuned import shipped_records
from benchmark.report.formatting import seed_text
from benchmark.report.rows import Block, Row
from benchmark.results.schema import BATCH_MARK
from benchmark.results.store import Result
from benchmark.words import plural

if TYPE_CHECKING:
    from benchmark.config.record import TuningRecord

_ERROR_LENGTH = 160


# -- notes of a row -----------------------------------------------------------------------------


def annotated(
    blocks: Iterable[Block], records: Sequence[TuningRecord] | None = None
) -> list[Block]:
    """The blocks with notes on their rows: marks, failures, unequal conditions.

    records: of `clbench tune`, to judge the rows' settings by; None: the shipped ones.
    """
    known = shipped_records() if records is None else records
    return [
        replace(block, rows=tuple(map(_with_notes, block.rows, differences(block.rows, known))))
        for block in blocks
    ]


def _with_notes(row: Row, differing: Iterable[str]) -> Row:
    marks = dict.fromkeys(mark for run in row.done for mark in run.result["outcome"]["marks"])
    uneven = [*_uncommitted(row), *_failures(row.broken), *differing]
    notes = [*marks, *uneven]
    if row.left_out:
        notes.append(
            f"{plural(row.left_out, 'result')} left out: of different code, data or weights"
        )
    # A row without a number cannot be compared unfairly.
    unfair = [mark for mark in marks if mark == BATCH_MARK] + uneven if row.done else []
    return replace(row, notes=tuple(notes), unfair=tuple(unfair))


def _uncommitted(row: Row) -> list[str]:
    dirty = sum(run.result["environment"]["dirty"] for run in row.done)
    if not dirty:
        return []
    share = "" if dirty == len(row.done) else f" ({dirty} of {len(row.done)} runs)"
    return [f"ran on uncommitted code{share}"]


def _failures(broken: Iterable[Result]) -> list[str]:
    reasons: dict[str, list[int]] = defaultdict(list)
    for result in broken:
        outcome = result["outcome"]
        text = " ".join((outcome["error"] or "no reason recorded").split())
        if len(text) > _ERROR_LENGTH:
            text = text[: _ERROR_LENGTH - 3] + "..."
        reasons[f"{outcome['status']}: {text}"].append(result["spec"]["seed"])
    return [f"{seed_text(seeds)} {text}" for text, seeds in reasons.items()]


# -- notes under a table ------------------------------------------------------------------------


class Notes:
    """The notes of a table, each said once and numbered in the order of the rows.

    of_all: those of the whole table, before the rows' own.
    """

    def __init__(self, of_all: Iterable[str] = ()) -> None:
        self._texts: list[str] = list(of_all)

    def numbers(self, notes: Iterable[str]) -> tuple[int, ...]:
        """1-based numbers of these notes, which are added to the table's."""
        once = dict.fromkeys(notes)
        self._texts += [note for note in once if note not in self._texts]
        return tuple(sorted(self._texts.index(note) + 1 for note in once))

    @property
    def texts(self) -> tuple[str, ...]:
        """The notes, the first being number 1."""
        return tuple(self._texts)


def joined_notes(titles: Sequence[str], notes: Sequence[Sequence[str] | None]) -> list[str]:
    """Notes on one row in several groups of columns, None where the row has nothing there.

    What is true in every group is said once; anything else says where it is true.
    """
    there = [(title, own) for title, own in zip(titles, notes, strict=True) if own is not None]
    places = {
        note: [title for title, own in there if note in own]
        for note in dict.fromkeys(note for _, own in there for note in own)
    }
    common = [note for note, where in places.items() if len(where) == len(notes)]
    partial = [note for note in places if note not in common]
    return common + [f"{' and '.join(places[note])}: {note}" for note in partial]
