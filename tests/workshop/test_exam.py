"""The exam finds each broken promise, and passes the baseline."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmark import registry
from benchmark.workshop.exam import exam

HEADER = """
from dataclasses import dataclass
import torch
from torch import nn
from torch.nn import functional as F
from benchmark import Method, register, setting
from benchmark.method import MethodConfig

@register("candidate")
class Candidate(Method):
    {doc}
"""

BROKEN = {
    "source keeps to the contract": """
    def grow(self, task):
        super().grow(task)
        torch.manual_seed(0)
""",
    "settings are frozen and explained": """
    class Config(MethodConfig):
        pass
""",
    "what is stored has its name": """
    kept = {"memory": "class means"}
""",
    "trains and predicts every class seen": """
    def predict(self, images, frozen=None):
        return super().predict(images) * float("nan")
""",
    "same bits twice": """
    calls = 0
    def begin_task(self, task, data):
        Candidate.calls += 1
        with torch.no_grad():
            self.heads[-1].bias += 0.1 * Candidate.calls
""",
    "grows, saves and reloads to the same bits": """
    shift = 0.0
    def end_task(self, task, data):
        self.shift = 1.0
    def predict(self, images, frozen=None):
        return super().predict(images) + self.shift
""",
    "prediction is independent of the batch": """
    def predict(self, images, frozen=None):
        logits = super().predict(images)
        return logits + logits.mean(dim=0)
""",
    "frozen means frozen": """
    def parameter_groups(self):
        return [group for group in super().parameter_groups() if group["name"] == "heads"]
    def after_step(self, task):
        with torch.no_grad():
            self.backbone.cls_token += 1e-3
""",
    "parameter count equals its formula": """
    def __init__(self, backbone, config):
        super().__init__(backbone, config)
        self.extra = nn.Parameter(torch.zeros(7))
""",
    "tasks of unequal size, one class, one task, batch of one": """
    def end_task(self, task, data):
        features = torch.cat([self.features(batch.images) for batch in data.batches(False)])
        spread = features.std(dim=0).mean()  # a single image has no spread
        with torch.no_grad():
            self.heads[-1].bias += spread * 0
""",
}


@pytest.fixture(autouse=True)
def fresh_plugins(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    monkeypatch.setattr(registry, "_plugins", [])
    monkeypatch.delitem(registry.METHODS._loaded, "candidate", raising=False)


def ask(tmp_path: Path, body: str, only: str | None = None) -> dict[str, bool]:
    path = tmp_path / "candidate.py"
    path.write_text(HEADER.format(doc='"""A candidate."""') + body)
    registry.add_plugin(path)
    verdicts = {verdict.question: verdict.passed for verdict in exam("candidate", only)}
    registry.METHODS._loaded.pop("candidate")
    return verdicts


def test_baseline_passes(tmp_path: Path) -> None:
    verdicts = ask(tmp_path, "    pass\n")
    assert set(verdicts) == set(BROKEN)
    assert all(verdicts.values()), verdicts


@pytest.mark.parametrize("question", BROKEN)
def test_broken_promise_is_found(tmp_path: Path, question: str) -> None:
    assert ask(tmp_path, BROKEN[question], question) == {question: False}


def test_an_unknown_role_is_found(tmp_path: Path) -> None:
    question = "settings are frozen and explained"
    assert ask(tmp_path, '    role = "baseline"\n', question) == {question: False}


@pytest.mark.parametrize("name", sorted(registry.METHODS.sources()))
def test_every_method_passes(name: str) -> None:
    failed = [verdict for verdict in exam(name) if not verdict.passed]
    assert not failed
