"""What `clbench plan` says about the cost of open runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmark.engine.estimate import Estimate, Rough, estimate
from benchmark.spec import Recipe, RunSpec


@dataclass
class Store:
    root: Path
    done: list[dict[str, Any]]

    def results(self) -> list[dict[str, Any]]:
        return self.done

    def folder(self, key: str) -> Path:
        return self.root / key


def run(method: str, epochs: int, open_: bool = True) -> Any:
    spec = RunSpec("icons", (10,) * 10, "natural", method, {}, Recipe(epochs=epochs), "b", 0)
    return SimpleNamespace(spec=spec, open=open_)


def result(key: str, method: str, epochs: int, seconds: float, memory: float) -> dict[str, Any]:
    return {
        "key": key,
        "spec": {"method": method, "dataset": "icons", "backbone": "b", "precision": "fp32",
                 "recipe": {"epochs": epochs}},
        "outcome": {"status": "done", "peak_memory_mb": memory},
        "environment": {"seconds": seconds},
    }  # fmt: skip


def test_cost_grows_with_the_epochs_of_runs_that_are_alike(tmp_path: Path) -> None:
    for key in ("x", "y"):
        (tmp_path / key).mkdir()
        (tmp_path / key / "result.json").write_bytes(b"0" * 2_000_000)
    store = Store(tmp_path, [result("x", "ncm", 4, 10.0, 300), result("y", "ncm", 4, 20.0, 500)])
    found = estimate([run("ncm", 8), run("ncm", 4, open_=False), run("joint", 4)], store)
    assert found == Estimate(runs=2, unknown=1, seconds=30.0, memory_mb=500, disk_mb=2.0)
    assert found.in_words(jobs=2) == (
        "about 15 s with 2 at a time, up to 500.0 MB of memory each, 2.0 MB of disk; "
        "1 of 2 runs could not be judged"
    )


def test_nothing_to_go_by(tmp_path: Path) -> None:
    store = Store(tmp_path, [])
    assert estimate([run("ncm", 8)], store).in_words(2).startswith("cost of 1 open runs unknown")
    assert estimate([], store).in_words(2) == "nothing to do"


def test_a_forecast_stands_in_where_nothing_alike_is_finished(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    store = Store(tmp_path, [result("x", "ncm", 4, 10.0, 300)])
    guesses = {"joint": Rough(100.0, 900.0, 3.0, 40.0)}
    runs = [run("ncm", 4), run("joint", 4), run("joint", 4, open_=False), run("slca", 4)]
    found = estimate(runs, store, lambda one: guesses.get(one.spec.method))
    assert found == Estimate(
        runs=3, unknown=1, seconds=110.0, memory_mb=900, disk_mb=3.0, rough=1, checkpoint_mb=40.0
    )
    assert found.in_words(jobs=1) == (
        "roughly 1 min 50 s with 1 at a time, up to 900.0 MB of memory each, 3.0 MB of disk and up "
        "to 40.0 MB for each run under way; 1 of 3 runs could not be judged"
    )


def test_long_times_and_large_sizes_are_readable() -> None:
    words = Estimate(9, 0, 86_400 * 2000.0, 15_400.0, 12_345.0, 9).in_words(jobs=2)
    assert words == (
        "roughly 1,000 days with 2 at a time, up to 15.4 GB of memory each, 12.3 GB of disk"
    )
