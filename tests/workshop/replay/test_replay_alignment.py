"""Recorded classifier alignments: ours agree, at any size, and a changed number is found."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import case_tools
import numpy as np
import pytest
import torch
from case_tools import Arrays, check_each_is_named, recorded_names, uncovered, wrong
from torch import nn
from torch.nn import functional as F

from benchmark.workshop.replay.case import ReplayError
from benchmark.workshop.replay.run import replay

GOLDEN = case_tools.GOLDEN / "classifier_alignment"
INPUTS = {"features", "eps", "permutation", "classifier_weight_before", "classifier_bias_before"}


@pytest.mark.parametrize("name", ["inflora_case0", "slca_case0"])
def test_recorded_alignment_is_ours(name: str) -> None:
    found = replay(GOLDEN / f"{name}.npz")
    assert found.ok
    assert found.error < 1e-12
    assert uncovered(found) == INPUTS
    assert len(found.results) == 17


def write(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture(scope="module")
def recorded() -> Arrays:
    return case_tools.read(GOLDEN / "inflora_case0.npz")


OUTPUTS_OF_INPUTS = {
    "features": {"class_mean", "class_cov", "samples_epoch0_first8"},
    "eps": {"plain/loss", "samples_epoch0_first8"},
    "classifier_weight_before": {"plain/loss", "logit_norm_0.1/classifier_bias_after"},
    "classifier_bias_before": {"plain/loss", "logit_norm_0.1/classifier_bias_after"},
}


def test_every_changed_number_is_named(tmp_path: Path) -> None:
    path = Path(shutil.copy(GOLDEN / "inflora_case0.npz", tmp_path))
    outputs = [name for name in recorded_names(path) if name not in INPUTS]
    check_each_is_named(path, outputs, 1e-7)


@pytest.mark.parametrize("name", OUTPUTS_OF_INPUTS)
def test_a_changed_input_is_found(recorded: Arrays, tmp_path: Path, name: str) -> None:
    changed = recorded[name].copy()
    changed.flat[0] += 0.1
    found = replay(write(tmp_path / "case.npz", recorded | {name: changed}))
    assert wrong(found) >= OUTPUTS_OF_INPUTS[name]


def test_a_changed_order_is_found(recorded: Arrays, tmp_path: Path) -> None:
    swapped = recorded["permutation"].copy()
    swapped[4, [0, -1]] = swapped[4, [-1, 0]]  # two samples change batches
    found = replay(write(tmp_path / "case.npz", recorded | {"permutation": swapped}))
    assert {"plain/loss", "logit_norm_0.1/loss"} <= wrong(found)
    swapped[0, 0] = swapped[0, 1]
    with pytest.raises(ReplayError, match="permutation"):
        replay(write(tmp_path / "case.npz", recorded | {"permutation": swapped}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda meta: meta.update(tasks=4), "features"),
        (lambda meta: meta.update(classes_per_task=[2, 2]), "3 tasks of"),
        (lambda meta: meta.pop("batch"), "no field batch"),
        (lambda meta: meta.update(batch=0), "align_batch"),
        (lambda meta: meta["optimizer"].update(lr="fast"), "optimizer.lr"),
    ],
)
def test_an_odd_description_is_reported(
    recorded: Arrays, tmp_path: Path, change: Callable[[Any], Any], message: str
) -> None:
    meta = json.loads(str(recorded["meta_json"]))
    change(meta)
    with pytest.raises(ReplayError, match=message):
        replay(write(tmp_path / "case.npz", recorded | {"meta_json": json.dumps(meta)}))


def test_an_unknown_variant_is_not_covered(recorded: Arrays, tmp_path: Path) -> None:
    arrays = recorded | {"cosine/loss": np.zeros(30)}
    found = replay(write(tmp_path / "case.npz", arrays))
    assert found.ok
    assert [ln.status for ln in found.results if ln.name == "cosine/loss"] == ["not covered"]
    with pytest.raises(ReplayError, match="no temperature"):
        replay(write(tmp_path / "case.npz", recorded | {"logit_norm_x/loss": np.zeros(30)}))


@pytest.mark.parametrize(
    ("sizes", "width", "epochs", "samples", "batch", "variants"),
    [
        ([2, 2], 5, 3, 8, 8, {"plain": None, "logit_norm_0.05": 0.05}),
        ([1, 3, 2], 7, 2, 12, 10, {"logit_norm_0.1": 0.1, "logit_norm_1.0": 1.0}),
        ([1, 1], 4, 1, 3, 256, {"plain": None}),
        ([3], 4, 6, 5, 5, {"logit_norm_0.5": 0.5}),
    ],
)
def test_other_sizes(
    tmp_path: Path,
    sizes: list[int],
    width: int,
    epochs: int,
    samples: int,
    batch: int,
    variants: dict[str, float | None],
) -> None:
    """A reference written step by step, with one set of parameters a head and plain loops."""
    torch.manual_seed(0)
    classes, double = sum(sizes), torch.float64
    features = torch.randn(classes, 9, width, dtype=double) + torch.randn(classes, 1, width)
    eps = torch.randn(epochs, classes, samples, width, dtype=double)
    order = torch.stack([torch.randperm(classes * samples) for _ in range(epochs)])
    weight, bias = torch.randn(classes, width, dtype=double), torch.randn(classes, dtype=double)
    mean = features.mean(1)
    cov = torch.stack([torch.cov(f.T) + 1e-4 * torch.eye(width, dtype=double) for f in features])
    factor = torch.linalg.cholesky(cov)
    ages = [t for t, size in enumerate(sizes) for _ in range(size)]
    scaled = torch.stack(
        [m * (0.9 + 0.1 * (t + 1) / len(sizes)) for m, t in zip(mean, ages, strict=True)]
    )

    def draw(epoch: int) -> torch.Tensor:
        return torch.stack([scaled[c] + eps[epoch, c] @ factor[c].T for c in range(classes)])

    arrays: dict[str, Any] = {
        "features": features, "eps": eps, "permutation": order, "class_mean": mean,
        "class_cov": cov, "scaled_mean": scaled, "samples_epoch0_first8": draw(0)[:, :8],
        "classifier_weight_before": weight, "classifier_bias_before": bias,
    }  # fmt: skip
    recipe = {"algo": "SGD", "ca_epochs": epochs, "lr": 0.02, "momentum": 0.8, "weight_decay": 1e-3}
    for variant, tau in variants.items():
        heads = [nn.Linear(width, size, dtype=double) for size in sizes]
        with torch.no_grad():
            for t, head in enumerate(heads):
                own = [c for c in range(classes) if ages[c] == t]
                head.weight.copy_(weight[own])
                head.bias.copy_(bias[own])
        velocity: dict[Any, torch.Tensor] = {}
        losses, rates = [], []
        for epoch in range(epochs):
            rate = 0.01 * (1 + math.cos(math.pi * epoch / epochs))
            x, y = draw(epoch).flatten(0, 1), torch.arange(classes).repeat_interleave(samples)
            x, y = x[order[epoch]], y[order[epoch]]
            for start in range(0, len(y), batch):
                parts = [head(x[start : start + batch]) for head in heads]
                logits = torch.cat(parts, 1)
                if tau is not None:
                    norms = torch.stack([p.norm(dim=1) + 1e-7 for p in parts]).mean(0)
                    logits = logits / norms[:, None] / tau
                loss = F.cross_entropy(logits, y[start : start + batch])
                parameters = [p for head in heads for p in head.parameters()]
                for p, g in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    step = g + 1e-3 * p.detach()
                    velocity[p] = 0.8 * velocity[p] + step if p in velocity else step
                    p.data -= rate * velocity[p]
                losses.append(loss.detach())
                rates.append(rate)
        arrays[f"{variant}/classifier_weight_after"] = torch.cat([h.weight.detach() for h in heads])
        arrays[f"{variant}/classifier_bias_after"] = torch.cat([h.bias.detach() for h in heads])
        arrays[f"{variant}/loss"] = torch.stack(losses)
        arrays[f"{variant}/lr"] = np.array(rates)
    meta = {
        "tasks": len(sizes),
        "classes_per_task": sizes[0] if len(set(sizes)) == 1 else sizes,
        "feature_dim": width,
        "samples_per_class": samples,
        "batch": batch,
        "optimizer": recipe,
        "implementation": "a loop in this test",
    }
    stored = {name: np.asarray(value) for name, value in arrays.items()}
    found = replay(write(tmp_path / "case.npz", stored | {"meta_json": json.dumps(meta)}))
    assert found.ok
    assert found.error < 1e-12
    assert uncovered(found) == INPUTS
