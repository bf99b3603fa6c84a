"""Results as a runner would leave them, made up: for tests of the store and of the reports."""

from __future__ import annotations

import copy
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.results.store import SCHEMA_VERSION, ResultStore, run_key, spec_dict
from benchmark.spec import Recipe, RunSpec

Arrays = dict[str, NDArray[Any]]
IMAGES = 40  # test images a task

# method: (accuracy on a new task, points lost with every later task, expanded parameters)
METHODS = {
    "sequential": (93.0, 22.0, 0),
    "seq_lora": (91.0, 9.0, 368_640),
    "linear_probe": (70.0, 2.2, 0),
    "ncm": (66.0, 1.5, 0),
    "l2p": (82.0, 3.0, 46_080),
    "coda_p": (86.0, 2.6, 384_000),
    "inflora": (90.0, 2.0, 36_864),
    "joint": (92.0, 0.0, 0),
}


def make_spec(method: str = "inflora", seed: int = 0, **changes: Any) -> RunSpec:
    """A specification; `changes` are fields of RunSpec."""
    fields: dict[str, Any] = {
        "dataset": "icons",
        "tasks": (2,) * 5,
        "order": "natural",
        "method": method,
        "settings": {"rank": 5} if "lora" in method else {},
        "recipe": Recipe(),
        "backbone": "tiny_sup",
        "seed": seed,
    }
    return RunSpec(**(fields | changes))


def role_of(method: str) -> str:
    """What the method is in a comparison."""
    if method in ("sequential", "joint"):
        return "bound"
    return "reference" if method in ("seq_lora", "linear_probe", "ncm") else "method"


def make_predictions(spec: RunSpec) -> Arrays:
    """Predictions that get worse with every later task, in the form of `predictions.npz`."""
    new, loss, _ = METHODS.get(spec.method, (80.0, 4.0, 0))
    # Without the fields that came later: the tests' numbers stay what they were.
    told = repr(spec).replace(f", evaluation={spec.evaluation}", "")
    told = told.replace(", interpolation='bilinear'", "")
    rng = np.random.default_rng(zlib.crc32(told.encode()))
    tasks = len(spec.tasks)
    task_of_class = np.repeat(np.arange(tasks), spec.tasks).astype(np.int16)
    classes = [np.flatnonzero(task_of_class == task) for task in range(tasks)]
    labels = np.concatenate([rng.choice(own, IMAGES) for own in classes]).astype(np.int16)
    arrays: Arrays = {
        "labels": labels,
        "task_of_class": task_of_class,
        "task_of_image": task_of_class[labels],
    }
    for stage in range(tasks):
        if spec.method == "joint" and stage < tasks - 1:
            continue
        own = labels[: IMAGES * (stage + 1)]
        age = stage - task_of_class[own]
        right = 100 * rng.random(len(own)) < np.maximum(new - loss * age + rng.normal(0, 2), 2)
        seen = int((task_of_class <= stage).sum())
        shuffled = np.argsort(rng.random((len(own), seen)), axis=1).astype(np.int16)
        top = shuffled[:, : min(5, seen)].copy()
        clash = top[:, 0] == own
        top[clash, 0] = (own[clash] + 1) % seen
        top[right, 0] = own[right]
        within = rng.random(len(own)) < 0.9
        arrays[f"top_classes/{stage}"] = top
        arrays[f"top_scores/{stage}"] = -np.sort(-rng.random(top.shape)).astype(np.float16)
        other = np.array([classes[t][0] for t in task_of_class[own]], dtype=np.int16)
        arrays[f"known/{stage}"] = np.where(right | within, own, other).astype(np.int16)
    return arrays


def make_result(
    spec: RunSpec,
    *,
    source: str = "source",
    data: str | None = None,
    weights: str = "weights",
    started: str = "2026-01-01T00:00:00+00:00",
    dirty: bool = False,
    marks: tuple[str, ...] = (),
) -> tuple[dict[str, Any], Arrays]:
    """A finished run and its predictions."""
    arrays = make_predictions(spec)
    tasks = len(spec.tasks)
    rows: list[list[float] | None] = []
    for stage in range(tasks):
        if f"top_classes/{stage}" not in arrays:
            rows.append(None)
            continue
        right = arrays[f"top_classes/{stage}"][:, 0] == arrays["labels"][: IMAGES * (stage + 1)]
        rows.append([100 * float(part.mean()) for part in np.split(right, stage + 1)])
    data = f"data {spec.order}" if data is None else data
    result = {
        "schema": SCHEMA_VERSION,
        "key": run_key(spec, source, data, weights),
        "spec": spec_dict(spec),
        "outcome": {
            "status": "done",
            "error": None,
            "accuracy": rows,
            "test_counts": [IMAGES] * tasks,
            "losses": [[1.5, 0.5]] * tasks,
            "train_seconds": [10.0 + spec.seed] * tasks,
            "eval_seconds": [1.0] * tasks,
            "train_images_per_second": [200.0] * tasks,
            "trainable_parameters": [4096] * tasks,
            "expanded_parameters": METHODS.get(spec.method, (0, 0, 12_345))[2],
            "stored_statistics": 100,
            "stored": {"parameters": {}, "statistics": {"other": 100}},
            "classifier_parameters": 1000,
            "backbone_parameters": 5_000_000,
            "flops_per_image": {"train": 3e9, "predict": 1e9, "query": 0.0},
            "peak_memory_mb": 512.0,
            "marks": list(marks),
        },
        "environment": {
            "role": role_of(spec.method),
            "stream": "joint" if spec.method == "joint" else "tasks",
            "suite": "icons",
            "revision": "0123456789abcdef",
            "dirty": dirty,
            "version": "0.1.0",
            "method_source_hash": source,
            "data_manifest_hash": data,
            "weight_hash": weights,
            "sources": {"benchmark/engine/trainer.py": "0" * 12},
            "inputs": {"image size": "32"},
            "packages": {"torch": "2.6.0", "python": "3.11.0"},
            "device": "cpu",
            "hardware": "a processor",
            "threads": 1,
            "started": started,
            "seconds": 61.0,
        },
    }
    return result, arrays


def make_broken(
    spec: RunSpec, status: str = "failed", error: str = "out of memory"
) -> dict[str, Any]:
    """A run that broke off, with as little in it as the runner may leave."""
    result = copy.deepcopy(make_result(spec)[0])
    return result | {
        "outcome": {"status": status, "error": error},
        "environment": {name: result["environment"][name] for name in ("role", "stream", "suite")},
    }


def write_campaign(root: Path) -> ResultStore:
    """26 runs: three seeds of eight methods, one of them failed, one dirty; a second setting."""
    store = ResultStore(root)
    for method in METHODS:
        for seed in range(3):
            spec = make_spec(method, seed)
            if (method, seed) == ("l2p", 2):
                store.write(make_broken(spec), {})
            else:
                store.write(*make_result(spec, dirty=(method, seed) == ("coda_p", 0)))
    for seed in range(2):
        store.write(*make_result(make_spec("inflora", seed, settings={"rank": 10})))
    return store
