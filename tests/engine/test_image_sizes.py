"""A run with images of another size than its backbone was trained on, from plan to table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from in_process import run_one

from benchmark.engine.context import Context
from benchmark.engine.plan import plan_runs
from benchmark.report.rows import make_blocks
from benchmark.results.frame import load_results
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec


def test_a_run_with_larger_images(spec: RunSpec, tmp_path: Path) -> None:
    store = ResultStore(tmp_path)
    short = replace(spec, recipe=replace(spec.recipe, epochs=1))
    planned = plan_runs([short, replace(short, backbone_image_size=24)], store)
    context = Context(torch.device("cpu"))
    assert [run_one(run, store, context, lambda _event: None) for run in planned] == ["done"] * 2
    results = store.results()
    sizes = {
        result["spec"].get("backbone_image_size"): result["environment"]["inputs"]["image size"]
        for result in results
    }
    assert sizes == {None: "16", 24: "24"}
    assert len({result["environment"]["weight_hash"] for result in results}) == 1
    (block,) = make_blocks(results)
    labels = {row.label for row in block.rows}
    assert labels == {"sequential", "sequential (backbone_image_size=24)"}
    frame = load_results(tmp_path, predictions=False)
    assert sorted(frame.backbone_image_size.fillna(0)) == [0, 24]
