"""Domain-incremental runs: the same classes in every task, a domain after the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.config import Overrides, SuiteError, expand, load_suite
from benchmark.engine.plan import plan_runs
from benchmark.engine.pool import ExecutionSettings, execute
from benchmark.metrics import prediction_metrics
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec


def carry_out(spec: RunSpec, folder: Path) -> tuple[ResultStore, str]:
    store = ResultStore(folder)
    planned = plan_runs([spec], store)
    settings = ExecutionSettings(folder, jobs=1, device="cpu")
    assert not execute(planned, settings, lambda event: None)
    return store, planned[0].key


@pytest.mark.parametrize("method", ["sequential", "joint"])
def test_a_run_over_domains(spec: RunSpec, tmp_path: Path, method: str) -> None:
    domains = replace(spec, scenario="domain", tasks=(8, 8), method=method)
    store, key = carry_out(domains, tmp_path)
    outcome, kept = store.read(key)["outcome"], store.predictions(key)
    rows = outcome["accuracy"]
    assert [row and len(row) for row in rows] == ([1, 2] if method == "sequential" else [None, 2])
    assert sum(outcome["test_counts"]) == len(kept["labels"])
    assert np.bincount(kept["task_of_image"]).tolist() == outcome["test_counts"]
    assert kept["top_classes/1"].max() < 8
    metrics = prediction_metrics(kept)
    assert metrics["wrong_task"] == 0  # no class belongs to one task
    assert metrics["wrong_class"] == pytest.approx(100 - np.mean(rows[-1]))
    assert metrics["task_known"] == pytest.approx(np.mean(rows[-1]))
    assert outcome["classifier_parameters"] == 8 * 65  # one head, shared


def test_domains_are_another_run(spec: RunSpec, tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    both = [spec, replace(spec, scenario="domain", tasks=(8, 8))]
    assert len({planned.key for planned in plan_runs(both, store)}) == 2


def test_a_method_that_meets_classes_once_is_left_out(spec: RunSpec, tmp_path: Path) -> None:
    domains = replace(spec, scenario="domain", tasks=(8, 8), method="ncm")
    (planned,) = plan_runs([domains], ResultStore(tmp_path))
    assert planned.skip is not None and not planned.open


def test_what_a_suite_asks_for(spec: RunSpec) -> None:
    suite = load_suite("icons")
    sets = ("scenario=domain",)
    asked = expand(suite, Overrides(dataset=("toy",), method=("sequential",), sets=sets))
    assert [run.tasks for run in asked] == [(8, 8)]
    with pytest.raises(SuiteError, match="has no domains"):
        expand(suite, Overrides(sets=sets))
    with pytest.raises(SuiteError, match="has 2 tasks, its domains"):
        expand(suite, Overrides(dataset=("toy",), tasks=(4,), sets=sets))
    with pytest.raises(SuiteError, match="split of toy"):
        expand(suite, Overrides(dataset=("toy",), sets=("split=publik",)))
