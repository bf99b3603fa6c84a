"""What `clbench plan` says about the cost of open runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmark.cli.estimate import Estimate, estimate
from benchmark.config import Recipe, RunSpec


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
        "about 15 s with 2 at a time, up to 500 MB of memory each, 2.0 MB of disk; "
        "1 of 2 runs could not be judged"
    )


def test_nothing_to_go_by(tmp_path: Path) -> None:
    store = Store(tmp_path, [])
    assert estimate([run("ncm", 8)], store).in_words(2).startswith("cost of 1 open runs unknown")
    assert estimate([], store).in_words(2) == "nothing to do"
