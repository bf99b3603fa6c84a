"""The exam finds each broken promise, and passes the baseline."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from benchmark import registry
from benchmark.data import DATASETS
from benchmark.workshop.exam import Verdict, exam

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
    "groups and loss are what the class says": """
    loss_is_local = False
""",
    "keeps no images of earlier tasks": """
    memory = ()
    def loss(self, batch, task):
        self.memory = [*self.memory, {"images": batch.images.clone()}][:3]
        return super().loss(batch, task)
""",
    "runs as the runner runs it: saved, resumed, evaluated, costs counted": """
    def predict(self, images, frozen=None):
        if len(images) == 24:  # the runner's own batch
            raise ValueError("too many images")
        return super().predict(images)
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
    return {verdict.question: verdict.passed for verdict in found(tmp_path, body, only)}


def found(tmp_path: Path, body: str, only: str | None = None) -> list[Verdict]:
    path = tmp_path / "candidate.py"
    path.write_text(HEADER.format(doc='"""A candidate."""') + body)
    registry.add_plugin(path)
    verdicts = list(exam("candidate", only))
    registry.METHODS._loaded.pop("candidate")
    return verdicts


def test_baseline_passes(tmp_path: Path) -> None:
    verdicts = ask(tmp_path, "    pass\n")
    assert set(verdicts) == set(BROKEN)
    assert all(verdicts.values()), verdicts


@pytest.mark.parametrize("question", BROKEN)
def test_broken_promise_is_found(tmp_path: Path, question: str) -> None:
    assert ask(tmp_path, BROKEN[question], question) == {question: False}


FAULTS = {
    "an unfrozen backbone": (
        """
    trains_backbone = False
    def __init__(self, backbone, config):
        super().__init__(backbone, config)
        backbone.requires_grad_(True)
""",
        "frozen means frozen",
        "but trains the backbone: 78 of its tensors .* \\(candidate.py, line 14\\)",
    ),
    "undeclared groups": (
        """
    def parameter_groups(self):
        return [{"name": "all", "params": list(self.parameters()), "lr_scale": 1.0}]
""",
        "frozen means frozen",
        "groups all are not among its `groups`, body, heads \\(candidate.py, line 13\\)",
    ),
    "an attribute lost at a resume": (
        BROKEN["grows, saves and reloads to the same bits"],
        "grows, saves and reloads to the same bits",
        "is all of its state saved.*candidate.py, line 14",
    ),
    "an attribute dropped in end_task": (
        """
    scale = None
    def grow(self, task):
        super().grow(task)
        self.scale = torch.ones(1)
    def end_task(self, task, data):
        del self.scale
    def predict(self, images, frozen=None):
        return super().predict(images) * self.scale
""",
        "trains and predicts every class seen",
        "TypeError: .* \\(candidate.py, line 20\\)",
    ),
    "a second evaluation that differs": (
        """
    def predict(self, images, frozen=None):
        with torch.no_grad():
            self.heads[-1].bias += 1
        return super().predict(images)
""",
        "trains and predicts every class seen",
        "a second evaluation gives others \\(candidate.py, line 13\\)",
    ),
    "images kept in a buffer": (
        """
    def end_task(self, task, data):
        self.register_buffer("stash", next(data.batches(False)).images, persistent=False)
""",
        "keeps no images of earlier tasks",
        "keeps images in stash \\(candidate.py, line 13\\)",
    ),
    "a loss over all classes": (
        """
    def loss(self, batch, task):
        return F.cross_entropy(self.logits(self.features(batch.images)), batch.labels)
""",
        "groups and loss are what the class says",
        "loss_is_local is True, but .* changes the loss \\(candidate.py, line 13\\)",
    ),
    "data sets": (
        """
    def begin_task(self, task, data):
        import benchmark.data
        from clbench import load_dataset
        from benchmark import data as labels
""",
        "source keeps to the contract",
        "uses benchmark.data .*line 14.*uses clbench.load_dataset .*15.*uses benchmark.data .*16",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_file_and_line(tmp_path: Path, fault: str) -> None:
    body, question, text = FAULTS[fault]
    (verdict,) = found(tmp_path, body, question)
    assert not verdict.passed
    assert re.search(text, verdict.detail), verdict.detail


def test_a_fault_is_described_once(tmp_path: Path) -> None:
    body = """
    def loss(self, batch, task):
        raise RuntimeError("no loss today")
"""
    failed = [verdict for verdict in found(tmp_path, body) if not verdict.passed]
    assert len(failed) > 5
    assert failed[0].detail == "RuntimeError: no loss today (candidate.py, line 14, in loss)"
    assert {one.detail for one in failed[1:]} == {f"as above: {failed[0].question}"}


def test_the_exams_own_data_set_is_in_no_list(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    question = "runs as the runner runs it: saved, resumed, evaluated, costs counted"
    assert ask(tmp_path, "    pass\n", question) == {question: True}
    monkeypatch.setattr(registry, "_plugins", [])
    assert "exam" not in DATASETS.names()


def test_a_teacher_of_one_task_may_go_with_it(tmp_path: Path) -> None:
    body = """
    def begin_task(self, task, data):
        self.teacher = torch.ones(1)
    def loss(self, batch, task):
        return super().loss(batch, task) * self.teacher.sum()
    def end_task(self, task, data):
        del self.teacher
"""
    for question in ("groups and loss are what the class says", "same bits twice"):
        assert ask(tmp_path, body, question) == {question: True}


def test_files_beside_a_plugin_are_read_too(tmp_path: Path) -> None:
    (tmp_path / "exam_helper.py").write_text("import os\n\nhome = os.sep\n")
    body = "    import exam_helper\n"
    (verdict,) = found(tmp_path, body, "source keeps to the contract")
    assert verdict.detail == "imports os (exam_helper.py, line 1)"


def test_an_unknown_role_is_found(tmp_path: Path) -> None:
    question = "settings are frozen and explained"
    assert ask(tmp_path, '    role = "baseline"\n', question) == {question: False}


@pytest.mark.parametrize("name", sorted(registry.METHODS.sources()))
def test_every_method_passes(name: str) -> None:
    failed = [verdict for verdict in exam(name) if not verdict.passed]
    assert not failed
