"""Replays one recorded case with the kind of replay that knows it."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark.workshop.replay.case import RecordedCase, ReplayError, read_case
from benchmark.workshop.replay.compare import ArrayResult

Check = Callable[[RecordedCase, float], list[ArrayResult]]


# By name: which files are cases of a kind, and how one is replayed.
KINDS: dict[str, tuple[Callable[[RecordedCase], bool], Check]] = {}


@dataclass(frozen=True)
class Replay:
    """The outcome for one file: the kind of case and a result for every array."""

    file: Path
    kind: str
    tolerance: float
    results: list[ArrayResult]

    @property
    def ok(self) -> bool:
        """True when something was compared and all of it lies within the tolerance."""
        return all(result.ok for result in self.results) and any(
            result.covered for result in self.results
        )

    @property
    def error(self) -> float:
        """Largest absolute error of all arrays."""
        errors = [result.error for result in self.results if result.error is not None]
        return float(torch.tensor(errors, dtype=torch.float64).max()) if errors else float("nan")


def kind(name: str, matches: Callable[[RecordedCase], bool]) -> Callable[[Check], Check]:
    """Register a function that replays the cases that `matches` recognises by their meta data."""

    def add(check: Check) -> Check:
        KINDS[name] = matches, check
        return check

    return add


def replay(file: str | Path, tolerance: float = 1e-8) -> Replay:
    """Feed a recorded case to our method and compare every array; raises `ReplayError`."""
    path = Path(file)
    if not tolerance >= 0:
        raise ReplayError(f"the tolerance must be at least 0, not {tolerance}")
    case = read_case(path)
    name = _find(case)
    try:
        results = KINDS[name][1](case, tolerance)
    except ReplayError:
        raise
    except (ValueError, RuntimeError) as error:  # settings and numbers that our code refuses
        raise ReplayError(f"{path}: cannot be replayed as {name}: {error}") from error
    return Replay(path, name, tolerance, results)


def _find(case: RecordedCase) -> str:
    """The kind of a case; imports all kinds."""
    from benchmark.workshop.replay import kinds

    for module in pkgutil.iter_modules(kinds.__path__):
        importlib.import_module(f"{kinds.__name__}.{module.name}")
    for name, (matches, _) in KINDS.items():
        if matches(case):
            return name
    said = " ".join(filter(None, (case.text("implementation"), case.text("method"))))
    raise ReplayError(
        f"{case.path}: a case of {said or 'an unnamed implementation'} is not known here; "
        f"known: {', '.join(KINDS)}"
    )
