"""What a check of a data set found, and how it is said."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

SHOWN = 5  # faults of a kind that the report spells out
# The kinds of faults, in the order of the report.
LISTS = "lists or files that cannot be read, or contradict each other"
CLASSES = "wrong number of classes"
ONE_SIDED = "classes without training or without test images"
TWICE = "listed twice"
MISSING = "listed, but there is no such file"
UNLISTED = "image files that no list names"
EMPTY = "empty files (0 bytes)"
UNREADABLE = "unreadable, truncated, or no image"
SHARED = "the same image in the training and the test data"
ARCHIVES = "archives that are not the published ones"
KINDS = (
    LISTS, CLASSES, ONE_SIDED, TWICE, MISSING, UNLISTED, EMPTY, UNREADABLE, SHARED, ARCHIVES,
)  # fmt: skip


@dataclass
class Report:
    """What was found. faults: descriptions by kind; notes: what a reader should know as well."""

    title: str
    counts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    faults: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def total(self) -> int:
        """How many faults there are."""
        return sum(map(len, self.faults.values()))

    def lines(self, shown: int = SHOWN) -> list[str]:
        """The report as text: counts, notes, and the first faults of each kind."""
        lines = [self.title, *(f"  {line}" for line in self.counts)]
        lines += [f"  note: {note}" for note in self.notes]
        for kind in KINDS:
            found = self.faults.get(kind, [])
            if found:
                lines += [f"  FAULT {kind}: {len(found)}", *(f"    {one}" for one in found[:shown])]
            if len(found) > shown:
                lines.append(f"    and {len(found) - shown} more")
        kinds = sum(map(bool, self.faults.values()))
        verdict = f"{self.total} fault{'s' * (self.total > 1)} of {kinds} kind{'s' * (kinds > 1)}"
        return [*lines, f"  {verdict if self.total else 'no faults'}"]
