"""Compares our numbers with recorded ones, array by array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from benchmark.workshop.replay.case import META


@dataclass(frozen=True)
class Line:
    """What was found for one array.

    error: largest absolute error, None where nothing was compared; ok: False fails the replay;
    note: why nothing was compared, or what was.
    """

    name: str
    error: float | None
    ok: bool
    note: str = ""

    @property
    def covered(self) -> bool:
        """Whether the array was compared."""
        return self.error is not None

    @property
    def status(self) -> str:
        """One of "ok", "not ok" and "not covered"."""
        if not self.covered:
            return "not covered"
        return "ok" if self.ok else "not ok"


class Comparison:
    """Collects a line for every array of a file.

    arrays: the recorded arrays; prefix: put before their names in the lines.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], tolerance: float, prefix: str = ""
    ) -> None:
        self.arrays = arrays
        self.tolerance = tolerance
        self.prefix = prefix
        self._lines: dict[str, Line] = {}
        self._reasons: dict[str, str] = {}

    def check(
        self,
        name: str,
        ours: Any,
        *,
        read: Callable[[np.ndarray], np.ndarray] | None = None,
        shape: tuple[int, ...] | None = None,
        note: str = "",
    ) -> None:
        """Compare `ours` (array, tensor or number) with recorded array `name`.

        read: applied to the recorded array before, where it is not unique as it stands; shape: that
        of the recorded array, if not that of `ours`.
        """
        if name not in self.arrays:
            self.leave(name, "not in the file")
            return
        recorded = self.arrays[name]
        value = np.asarray(ours.detach().cpu().numpy() if isinstance(ours, Tensor) else ours)
        wanted = value.shape if shape is None else shape
        if recorded.shape != wanted:
            self._add(name, float("inf"), f"shape {recorded.shape} recorded, ours is {wanted}")
        elif recorded.dtype.kind not in "biuf":
            self._add(name, float("inf"), f"recorded as {recorded.dtype}, not as numbers")
        else:
            seen = recorded.astype(np.float64)
            gaps = np.abs((read(seen) if read else seen) - value.astype(np.float64))
            # A NaN on either side stays a NaN, and is never within the tolerance.
            self._add(name, float(np.max(gaps, initial=0.0)), note)

    def report(self, name: str, error: float, note: str) -> None:
        """A line for an array that was checked in another way."""
        self._add(name, error, note)

    def report_input(self, name: str, shows_in: Iterable[str]) -> None:
        """A line for an input: it is wrong if none of the arrays its values show in comes right.

        A single wrong one among these is that array's own fault. Call this after their checks.
        """
        errors = [self._lines[other].error for other in shows_in if other in self._lines]
        found = [error for error in errors if error is not None]
        if name in self.arrays and found:
            self._add(name, min(found), "input: as the arrays that depend on it show it")

    def leave(self, name: str, reason: str) -> None:
        """Say why array `name` is not compared."""
        self._reasons[name] = reason

    def lines(self) -> list[Line]:
        """One line per array in the order of the file, then what the file lacks."""
        names = [name for name in self.arrays if name != META]
        names += [name for name in self._reasons if name not in self.arrays]
        return [self._line(name) for name in names]

    def _line(self, name: str) -> Line:
        if name in self._lines:
            return self._lines[name]
        reason = self._reasons.get(name, "nothing here knows this array")
        return Line(self.prefix + name, None, True, reason)

    def _add(self, name: str, error: float, note: str) -> None:
        self._lines[name] = Line(self.prefix + name, error, error <= self.tolerance, note)
