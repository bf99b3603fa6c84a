"""A small world for the exam: a backbone, and a run as the runner carries it out."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer

from benchmark.engine.plan import plan_runs
from benchmark.engine.pool import ExecutionSettings, execute
from benchmark.events import Event
from benchmark.method import MethodConfig
from benchmark.registry import add_plugin, plugin_files
from benchmark.results.store import Result, ResultStore
from benchmark.spec import Evaluation, Recipe, RunSpec

WIDTH, DEPTH, HEADS, SIDE, PATCH = 64, 6, 2, 16, 4
TASKS = (2, 3, 1)  # uneven, one of them with a class more and one with a single class
# A plug-in, so that processes of their own know the data set too, and no list of data sets has it.
EVALUATION = Evaluation(resize="both", crop=1.0)  # nothing is changed
_DATASET = Path(__file__).with_name("exam_dataset.py")


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


def run_once(method: str, settings: MethodConfig, emit: Callable[[Event], None]) -> Result:
    """Carry out one run in three uneven tasks, in the way `clbench run` does; its result."""
    add_plugin(_DATASET)
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
            evaluation=EVALUATION,
        )
        store = ResultStore(Path(folder) / "results")
        (planned,) = plan_runs([spec], store)
        options = ExecutionSettings(
            store.root, jobs=1, device="cpu", threads=1, workers=1, plugins=tuple(plugin_files())
        )
        execute([replace(planned, skip=None)], options, emit)
        (result,) = store.results()
        return result
