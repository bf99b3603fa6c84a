"""The exam every method passes: what the contract promises, tested on a tiny backbone."""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.data.loading import MemoryLoader
from benchmark.data.stream import TrainingImages, make_tasks
from benchmark.data.transforms import plain
from benchmark.engine.trainer import Observer, train_task
from benchmark.method import Method, MethodConfig, Task
from benchmark.registry import METHODS
from benchmark.spec import Recipe

ROLES = ("bound", "reference", "method")
WIDTH, DEPTH, SIDE = 32, 6, 16
PER_CLASS = 4
RECIPE = Recipe(lr=1e-3, epochs=2, batch_size=6)
TOLERANCE = 1e-5  # of a logit, when the batch around an image changes
# What the runner owns: a method that names one of these goes behind its back.
FORBIDDEN_CALLS = {"open", "print", "input", "manual_seed", "seed", "cuda", "set_num_threads"}
FORBIDDEN_MODULES = {"os", "pathlib", "time", "datetime", "socket", "urllib", "requests"}


@dataclass(frozen=True)
class Verdict:
    """The answer to one question of the exam, and what was found."""

    question: str
    passed: bool
    detail: str = ""


def exam(name: str, only: str | None = None, **settings: Any) -> Iterator[Verdict]:
    """Ask method `name` every question in turn, or one of them alone.

    settings: those that differ from the method's defaults.
    """
    kind = METHODS.get(name)
    examinee = Examinee(kind, kind.Config(**settings))
    questions: list[tuple[str, Callable[[], str]]] = [
        ("source keeps to the contract", lambda: _source(METHODS.source(name).path)),
        ("settings are frozen and explained", lambda: _settings(kind)),
        ("what is stored has its name", examinee.names_stored),
        ("trains and predicts every class seen", examinee.predicts),
        ("same bits twice", examinee.repeats),
        ("grows, saves and reloads to the same bits", examinee.reloads),
        ("prediction is independent of the batch", examinee.batch),
        ("frozen means frozen", examinee.frozen),
        ("parameter count equals its formula", examinee.count),
        ("tasks of unequal size, one class, one task, batch of one", examinee.edges),
    ]
    for question, ask in questions:
        if only not in (None, question):
            continue
        try:
            yield Verdict(question, True, ask())
        except Exception as error:  # noqa: BLE001 - any fault of the method is a finding
            yield Verdict(question, False, f"{type(error).__name__}: {error}")


class ExamError(AssertionError):
    """A promise of the contract that a method does not keep."""


class Freezing(Observer):
    """Watches that nothing outside the parameter groups moves between `begin_task` and `end_task`.

    Buffers may move in `after_step`, which is what averages are for.
    """

    def __init__(self) -> None:
        self._before: dict[str, Tensor] = {}

    def prepared(self, method: Method, task: Task) -> None:
        """Copy what must not move."""
        trained = {id(p) for group in method.parameter_groups() for p in group["params"]}
        kept = {name: p for name, p in method.backbone.named_parameters() if id(p) not in trained}
        self._before = {name: p.detach().clone() for name, p in kept.items()}

    def trained(self, method: Method, task: Task) -> None:
        """Compare."""
        now = dict(method.backbone.named_parameters())
        for name, before in self._before.items():
            if not torch.equal(now[name], before):
                raise ExamError(f"backbone tensor {name} is in no parameter group, yet it moved")


class Examinee:
    """A method under examination, with a tiny backbone and random images."""

    def __init__(self, kind: type[Method], config: MethodConfig) -> None:
        self.kind, self.config = kind, config
        torch.manual_seed(0)
        self.vit = VisionTransformer(
            img_size=SIDE, patch_size=4, embed_dim=WIDTH, depth=DEPTH, num_heads=2, num_classes=0
        ).eval()
        draws = torch.Generator().manual_seed(1)
        self.images = torch.randint(256, (64, 3, SIDE, SIDE), generator=draws, dtype=torch.uint8)

    def tasks(self, *sizes: int) -> list[Task]:
        """Return tasks of these numbers of new classes, or one of them all for a joint method."""
        return make_tasks([sum(sizes)] if self.kind.stream == "joint" else sizes)

    def train(
        self,
        tasks: Iterable[Task],
        batch_size: int = RECIPE.batch_size,
        observer: Observer | None = None,
    ) -> Method:
        """Return a fresh method after these tasks."""
        method = self._fresh(seed=2)
        for task in tasks:
            self._advance(method, task, batch_size, observer)
        return method

    def predict(self, method: Method, images: Tensor) -> Tensor:
        """Return the logits of uint8 images, with frozen features where the method reads them."""
        with torch.inference_mode():
            pixels = plain(images)
            if self.kind.frozen_features:
                return method.predict(pixels, self.vit(pixels))
            return method.predict(pixels)

    def predicts(self) -> str:
        """Logits have the right shape and are numbers after every task."""
        method = self._fresh(seed=2)
        for task in self.tasks(2, 2, 2):
            self._advance(method, task)
            logits = self.predict(method, self.images[:5])
            _expect(logits.shape == (5, task.seen), f"logits of shape {tuple(logits.shape)}")
            _expect(bool(torch.isfinite(logits).all()), "logits are not finite")
        return "3 tasks"

    def repeats(self) -> str:
        """Two trainings with the same seeds agree to the last bit."""
        first, second = (self.predict(self.train(self.tasks(2, 2)), self.images) for _ in range(2))
        _expect(torch.equal(first, second), f"logits differ by {_gap(first, second):.2g}")
        return ""

    def reloads(self) -> str:
        """`grow` rebuilds all shapes from the tasks, the state loads strictly, training goes on."""
        self.check_resume(self.tasks(2, 1, 3))
        return ""

    def check_resume(self, tasks: list[Task]) -> Method:
        """A method reloaded after two tasks predicts and learns the same as one that is not.

        Returns:
            The method after all tasks.
        """
        finished = tasks[:2]
        method, fresh = self.train(finished), self._fresh(seed=9)
        for task in finished:
            fresh.grow(task)
        fresh.load_state_dict(copy.deepcopy(method.state_dict()), strict=True)
        self._expect_equal(method, fresh.eval(), "reloaded")
        for task in tasks[2:]:
            self._advance(method, task)
            self._advance(fresh, task)
            self._expect_equal(method, fresh, "reloaded and trained on")
        return method

    def _expect_equal(self, method: Method, other: Method, when: str) -> None:
        before, after = (self.predict(m, self.images) for m in (method, other))
        _expect(torch.equal(before, after), f"{when}: logits differ by {_gap(before, after):.2g}")

    def batch(self) -> str:
        """Neither the size nor the order of a batch changes what is said of an image."""
        method = self._trained
        if method.batch_dependent:
            return "declared: its rows are marked"
        whole = self.predict(method, self.images)
        single = torch.cat([self.predict(method, image) for image in self.images.split(1)])
        uneven = torch.cat([self.predict(method, part) for part in self.images.split(7)])
        reverse = self.predict(method, self.images.flip(0)).flip(0)
        moved = max(_gap(whole, other) for other in (single, uneven, reverse))
        _expect(moved <= TOLERANCE, f"a logit moved by {moved:.2g}")
        return f"largest change {moved:.1g}"

    def frozen(self) -> str:
        """Nothing but the declared groups moves; gradients reach the backbone only if declared."""
        # The trainer itself refuses gradients in the backbone of a method with
        # trains_backbone = False.
        self.train(self.tasks(2, 2), observer=Freezing())
        return "backbone is trained" if self.kind.trains_backbone else "backbone gets no gradient"

    def count(self) -> str:
        """`expanded_formula` gives what a walk over the module counts."""
        for method, tasks in ((self.train(self.tasks(2)), 1), (self._trained, 3)):
            counted = method.expanded_parameters()
            formula = self.kind.expanded_formula(method.config, WIDTH, DEPTH, tasks)
            _expect(counted == formula, f"formula {formula}, counted {counted}, tasks {tasks}")
        return f"{counted} after 3 tasks"

    def names_stored(self) -> str:
        """Every attribute named in `kept` stores something after three tasks."""
        if self.config != self.kind.Config():
            return "asked of the default settings"  # others may keep less
        method = self._trained
        paths = [name for name, _ in method.named_parameters()]
        paths += [name for name, _ in method.named_statistics()]
        unknown = [key for key in self.kind.kept if not any(_below(path, key) for path in paths)]
        _expect(not unknown, f"kept names {', '.join(unknown)}, which nothing is stored in")
        return ", ".join(dict.fromkeys(self.kind.kept.values()))

    def edges(self) -> str:
        """Degenerate streams give finite logits."""
        for sizes, batch_size in (((1, 3, 2), 6), ((1, 1), 1), ((5,), 4)):
            logits = self.predict(self.train(self.tasks(*sizes), batch_size), self.images[:3])
            _expect(bool(torch.isfinite(logits).all()), f"not finite with tasks of {sizes} classes")
        return ""

    @cached_property
    def _trained(self) -> Method:
        """The method after three tasks, for the questions that only look at it."""
        return self.train(self.tasks(2, 2, 2))

    def _fresh(self, seed: int) -> Method:
        torch.manual_seed(seed)
        return self.kind(copy.deepcopy(self.vit).requires_grad_(True), self.config)

    def _advance(
        self,
        method: Method,
        task: Task,
        batch_size: int = RECIPE.batch_size,
        observer: Observer | None = None,
    ) -> None:
        """Train on one more task, with random numbers of its own."""
        torch.manual_seed(3 + task.index)
        method.grow(task)
        data = self._data(task, batch_size)
        train_task(method, task, data, replace(RECIPE, batch_size=batch_size), observer)
        data.close()
        method.eval()

    def _data(self, task: Task, batch_size: int) -> TrainingImages:
        labels = torch.arange(task.classes.start, task.classes.stop).repeat_interleave(PER_CLASS)
        if len(task.classes) == 1:
            labels = labels[:1]  # a class with a single image
        start = task.classes.start * PER_CLASS
        images = self.images[torch.arange(start, start + len(labels)) % len(self.images)]
        frozen = (lambda x: self.vit(x).detach()) if self.kind.frozen_features else None
        return TrainingImages(
            task,
            MemoryLoader(images),
            labels,
            batch_size=batch_size,
            seed=0,
            augment=True,
            frozen=frozen,
        )


def _source(path: Path) -> str:
    faults = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            roots = {name.partition(".")[0] for name in names}
            faults += [f"line {node.lineno} imports {m}" for m in sorted(roots & FORBIDDEN_MODULES)]
        elif isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name in FORBIDDEN_CALLS:
                faults.append(f"line {node.lineno} calls {name}")
    _expect(not faults, "; ".join(faults))
    return ""


def _settings(kind: type[Method]) -> str:
    config = kind.Config()
    parameters = vars(kind.Config).get("__dataclass_params__")
    _expect(parameters is not None and parameters.frozen, "Config is not a frozen dataclass")
    silent = [f.name for f in fields(config) if not f.metadata.get("help")]
    _expect(not silent, f"no help text for {', '.join(silent)}: declare it with setting(...)")
    _expect(bool((kind.__doc__ or "").strip()), "the class has no docstring")
    _expect(kind.role in ROLES, f"role {kind.role!r} is none of {ROLES}")
    return f"{len(fields(config))} settings"


def _below(path: str, key: str) -> bool:
    return path == key or path.startswith(f"{key}.")


def _expect(condition: bool, fault: str) -> None:
    if not condition:
        raise ExamError(fault)


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())
