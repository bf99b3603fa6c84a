"""What open runs will cost: judged by finished runs of the same kind, else roughly forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from benchmark.words import duration, size

if TYPE_CHECKING:
    from benchmark.engine.plan import PlannedRun
    from benchmark.results.store import Result, ResultStore


@dataclass(frozen=True)
class Rough:
    """A forecast of one run from first principles."""

    seconds: float
    memory_mb: float
    disk_mb: float
    checkpoint_mb: float


Forecast = Callable[["PlannedRun"], "Rough | None"]


@dataclass(frozen=True)
class Estimate:
    """Seconds of all runs one after another, largest memory of a run and disk of all, in MB."""

    runs: int
    unknown: int  # runs of which nothing can be said; counted in no other figure
    seconds: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0
    rough: int = 0  # runs that were forecast, for want of a finished one like them
    checkpoint_mb: float = 0.0  # of a run under way, by the forecasts

    def in_words(self, jobs: int) -> str:
        """One line for the user, with `jobs` runs at a time."""
        if not self.runs:
            return "nothing to do"
        if self.unknown == self.runs:
            return f"cost of {self.runs} open runs unknown: nothing like them is finished yet"
        shown = min(jobs, self.runs)
        sure = "roughly" if self.rough else "about"
        text = (
            f"{sure} {duration(self.seconds / shown)} with {shown} at a time, up to "
            f"{size(1e6 * self.memory_mb)} of memory each, {size(1e6 * self.disk_mb)} of disk"
        )
        if self.checkpoint_mb:
            text += f" and up to {size(1e6 * self.checkpoint_mb)} for each run under way"
        if self.unknown:
            text += f"; {self.unknown} of {self.runs} runs could not be judged"
        return text


def estimate(
    planned: Iterable[PlannedRun], store: ResultStore, forecast: Forecast = lambda run: None
) -> Estimate:
    """The cost of the open runs among `planned`.

    In proportion to the epochs of finished runs of the same method on the same data and backbone;
    where there are none, what `forecast` gives.
    """
    finished = [r for r in store.results() if r["outcome"]["status"] == "done"]
    runs = unknown = rough = 0
    seconds = memory = disk = checkpoint = 0.0
    for run in planned:
        if not run.open:
            continue
        runs += 1
        alike = [result for result in finished if _alike(run, result)]
        if alike:
            epochs = max(run.spec.recipe.epochs, 1)
            per_epoch = [
                result["environment"]["seconds"] / max(result["spec"]["recipe"]["epochs"], 1)
                for result in alike
            ]
            seconds += epochs * fmean(per_epoch)
            memory = max(memory, *(result["outcome"]["peak_memory_mb"] for result in alike))
            disk += fmean(_size_mb(store, result["key"]) for result in alike)
        elif guess := forecast(run):
            rough += 1
            seconds += guess.seconds
            memory = max(memory, guess.memory_mb)
            disk += guess.disk_mb
            checkpoint = max(checkpoint, guess.checkpoint_mb)
        else:
            unknown += 1
    return Estimate(runs, unknown, seconds, memory, disk, rough, checkpoint)


def _alike(run: PlannedRun, result: Result) -> bool:
    spec, other = run.spec, result["spec"]
    return (spec.method, spec.dataset, spec.backbone, spec.precision) == (
        other["method"], other["dataset"], other["backbone"], other["precision"],
    )  # fmt: skip


def _size_mb(store: ResultStore, key: str) -> float:
    return sum(file.stat().st_size for file in store.folder(key).iterdir()) / 1e6
