"""What open runs will cost, judged by finished runs of the same kind on this machine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING

from benchmark.progress import in_words

if TYPE_CHECKING:
    from benchmark.engine.plan import PlannedRun
    from benchmark.results import Result, ResultStore


@dataclass(frozen=True)
class Estimate:
    """Seconds of all runs one after another, largest memory of a run and disk of all, in MB."""

    runs: int
    unknown: int  # runs with nothing comparable finished; counted in no other figure
    seconds: float = 0.0
    memory_mb: float = 0.0
    disk_mb: float = 0.0

    def in_words(self, jobs: int) -> str:
        """One line for the user, with `jobs` runs at a time."""
        if not self.runs:
            return "nothing to do"
        if self.unknown == self.runs:
            return f"cost of {self.runs} open runs unknown: nothing like them is finished yet"
        shown = min(jobs, self.runs)
        text = (
            f"about {in_words(self.seconds / shown)} with {shown} at a time, up to "
            f"{self.memory_mb:.0f} MB of memory each, {self.disk_mb:.1f} MB of disk"
        )
        return text + (
            f"; {self.unknown} of {self.runs} runs could not be judged" if self.unknown else ""
        )


def estimate(planned: Iterable[PlannedRun], store: ResultStore) -> Estimate:
    """The cost of the open runs among `planned`, in proportion to their epochs."""
    finished = [r for r in store.results() if r["outcome"]["status"] == "done"]
    runs = unknown = 0
    seconds = memory = disk = 0.0
    for run in planned:
        if not run.open:
            continue
        runs += 1
        alike = [result for result in finished if _alike(run, result)]
        if not alike:
            unknown += 1
            continue
        epochs = max(run.spec.recipe.epochs, 1)
        per_epoch = [
            result["environment"]["seconds"] / max(result["spec"]["recipe"]["epochs"], 1)
            for result in alike
        ]
        seconds += epochs * fmean(per_epoch)
        memory = max(memory, *(result["outcome"]["peak_memory_mb"] for result in alike))
        disk += fmean(_size_mb(store, result["key"]) for result in alike)
    return Estimate(runs, unknown, seconds, memory, disk)


def _alike(run: PlannedRun, result: Result) -> bool:
    spec, other = run.spec, result["spec"]
    return (spec.method, spec.dataset, spec.backbone, spec.precision) == (
        other["method"], other["dataset"], other["backbone"], other["precision"],
    )  # fmt: skip


def _size_mb(store: ResultStore, key: str) -> float:
    return sum(file.stat().st_size for file in store.folder(key).iterdir()) / 1e6
