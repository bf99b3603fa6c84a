"""A small world for the exam: a data set, a backbone, and a run as the runner carries it out.

Passed as a plug-in file, so that processes of their own know the data set too.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from benchmark.data import DATASETS
from benchmark.data.base import ArrayImages, Dataset, DatasetInfo, Split
from benchmark.engine.plan import plan_runs
from benchmark.engine.pool import ExecutionSettings, execute
from benchmark.events import Event
from benchmark.method import MethodConfig
from benchmark.registry import plugin_files
from benchmark.results.store import Result, ResultStore
from benchmark.spec import Recipe, RunSpec

WIDTH, DEPTH, HEADS, SIDE, PATCH = 64, 6, 2, 16, 4
TASKS = (2, 3, 1)  # uneven, one of them with a class more and one with a single class
_NAMES = [f"class {number}" for number in range(sum(TASKS))]


def backbone() -> VisionTransformer:
    """An untrained Vision Transformer, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return VisionTransformer(
            img_size=SIDE,
            patch_size=PATCH,
            embed_dim=WIDTH,
            depth=DEPTH,
            num_heads=HEADS,
            num_classes=0,
        ).eval()


@cache
def dataset() -> Dataset:
    """Classes of noise around a colour: 6 images of each to train on, 4 to test on."""
    return Dataset("exam", tuple(_NAMES), _split(6, 1), _split(4, 2), "resize")


def _split(per_class: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(_NAMES)), per_class).astype(np.int64)
    colours = np.random.default_rng(0).integers(30, 225, (len(_NAMES), 1, 1, 3))
    noise = random.integers(-30, 30, (len(labels), SIDE, SIDE, 3))
    images = (colours[labels] + noise).clip(0, 255).astype(np.uint8)
    return Split(ArrayImages(images), labels, ("",) * len(labels))


DATASETS.add(
    "exam",
    DatasetInfo(
        name="exam",
        summary="noise, for clbench check",
        classes=len(_NAMES),
        default_tasks=len(TASKS),
        class_names=lambda _source: list(_NAMES),
        manifest_hash=lambda _source: "exam",
        load=lambda _source: dataset(),
    ),
)


def run_once(method: str, settings: MethodConfig, emit: Callable[[Event], None]) -> Result:
    """Carry out one run in three uneven tasks, in the way `clbench run` does; its result."""
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "exam.safetensors"
        save_file(backbone().state_dict(), weights)
        spec = RunSpec(
            dataset="exam",
            tasks=TASKS,
            order="natural",
            method=method,
            settings=settings,
            recipe=Recipe(lr=1e-3, epochs=1, batch_size=6),
            backbone=f"file:{weights}:heads={HEADS}",
            seed=0,
        )
        store = ResultStore(Path(folder) / "results")
        (planned,) = plan_runs([spec], store)
        options = ExecutionSettings(
            store.root, jobs=1, device="cpu", threads=1, workers=1, plugins=_plugins()
        )
        execute([replace(planned, skip=None)], options, emit)
        (result,) = store.results()
        return result


def _plugins() -> tuple[Path, ...]:
    return (*plugin_files(), Path(__file__).resolve())
