"""What a comparison of two results folders finds."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from typing import Literal

# identical: the same inputs on the same machine, so the same bits are expected; paired: runs of the
# same class order and seed; unpaired: runs of other ones; images: one run a side.
Basis = Literal["identical", "paired", "unpaired", "images"]


@dataclass(frozen=True)
class Change:
    """One metric of one method with one set of settings in one block, in both folders.

    first, second: one value a run, in the same order where they pair; noise: half the width of the
    interval that noise explains, in percentage points; causes: what differs between the runs;
    pairs: whether the runs are of the same class orders and seeds.
    """

    block: str
    label: str
    method: str
    metric: str
    first: tuple[float, ...]
    second: tuple[float, ...]
    keys: tuple[tuple[str, ...], tuple[str, ...]]
    basis: Basis
    noise: float
    causes: tuple[str, ...]
    pairs: bool

    @property
    def difference(self) -> float:
        """Mean of the second less mean of the first."""
        return fmean(self.second) - fmean(self.first)

    @property
    def equal(self) -> bool:
        """Whether every run gives the very same number in both."""
        return self.pairs and self.first == self.second

    @property
    def moved(self) -> bool:
        """Whether noise does not explain the difference."""
        if self.equal:
            return False
        return self.basis == "identical" or abs(self.difference) > self.noise


@dataclass(frozen=True)
class Comparison:
    """changes: every cell that is in both, in the order of the tables.

    only_first, only_second: what the other folder lacks, in words; broke: runs finished in the
    first folder and failed or cancelled in the second; left_out: results that do not count, in
    words; differences: everything recorded that differs between compared runs; problems: result
    files that could not be used.
    """

    changes: tuple[Change, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    broke: tuple[str, ...]
    left_out: tuple[str, ...]
    differences: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def moved(self) -> tuple[Change, ...]:
        """The cells beyond noise."""
        return tuple(change for change in self.changes if change.moved)
