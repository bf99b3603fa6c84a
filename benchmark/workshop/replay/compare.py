"""Compares our numbers with recorded ones, array by array."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from benchmark.workshop.replay.case import META


@dataclass(frozen=True)
class ArrayResult:
    """The outcome for one array.

    Attributes:
        error: Largest absolute error; None where nothing was compared.
        ok: False fails the replay.
        note: Why nothing was compared, or what was.
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


class CaseComparison:
    """Collects a result for every array of a file.

    Args:
        arrays: The recorded arrays.
        tolerance: Largest absolute error that passes.
        prefix: Put before the names of the results.
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], tolerance: float, prefix: str = ""
    ) -> None:
        self.arrays = arrays
        self.tolerance = tolerance
        self.prefix = prefix
        self._results: dict[str, ArrayResult] = {}
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
            self.report(name, float("inf"), f"shape {recorded.shape} recorded, ours is {wanted}")
        elif recorded.dtype.kind not in "biuf":
            self.report(name, float("inf"), f"recorded as {recorded.dtype}, not as numbers")
        else:
            seen = recorded.astype(np.float64)
            gaps = np.abs((read(seen) if read else seen) - value.astype(np.float64))
            # A NaN on either side stays a NaN, and is never within the tolerance.
            self.report(name, float(np.max(gaps, initial=0.0)), note)

    def check_all(self, values: Mapping[str, Any], suffix: str) -> None:
        """Compare several values with the arrays of their names and a suffix."""
        for name, ours in values.items():
            self.check(f"{name}{suffix}", ours)

    def report(self, name: str, error: float, note: str) -> None:
        """Add the result for an array."""
        self._results[name] = ArrayResult(self.prefix + name, error, error <= self.tolerance, note)

    def report_input(
        self,
        name: str,
        shows_in: Iterable[str],
        note: str = "input: as the arrays that depend on it show it",
    ) -> None:
        """Add the result for an input: wrong if none of the arrays its values show in is right.

        A single wrong one among these is that array's own fault. Call this after their checks.
        """
        errors = self.errors(shows_in)
        if name in self.arrays and errors:
            self.report(name, min(errors), note)

    def errors(self, names: Iterable[str]) -> list[float]:
        """Return the errors of those of the arrays that were compared."""
        results = [self._results[name].error for name in names if name in self._results]
        return [error for error in results if error is not None]

    def leave(self, name: str, reason: str) -> None:
        """Note why array `name` is not compared."""
        self._reasons[name] = reason

    def results(self) -> list[ArrayResult]:
        """Return one result per array in the order of the file, then what the file lacks."""
        names = [name for name in self.arrays if name != META]
        names += [name for name in self._reasons if name not in self.arrays]
        return [self._result(name) for name in names]

    def _result(self, name: str) -> ArrayResult:
        if name in self._results:
            return self._results[name]
        reason = self._reasons.get(name, "nothing here knows this array")
        return ArrayResult(self.prefix + name, None, True, reason)
