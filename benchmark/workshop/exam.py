"""The exam every method passes: what the contract promises, tested on a tiny backbone."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from benchmark.data.loading import MemoryLoader
from benchmark.data.stream import TrainingImages, make_tasks
from benchmark.data.transforms import plain
from benchmark.engine.hooks import MethodError
from benchmark.engine.trainer import Observer, train_task
from benchmark.events import Event
from benchmark.method import Batch, Method, MethodConfig, Task
from benchmark.registry import METHODS, Source
from benchmark.spec import Recipe
from benchmark.workshop.exam_kept import SeenImages
from benchmark.workshop.exam_source import line_of, line_of_hook, own_files, source_faults
from benchmark.workshop.exam_world import DEPTH, SIDE, WIDTH, backbone, run_once

ROLES = ("bound", "reference", "method")
PER_CLASS = 4
RECIPE = Recipe(lr=1e-3, epochs=2, batch_size=6)
TOLERANCE = 1e-5  # of a logit, when the batch around an image changes


@dataclass(frozen=True)
class Verdict:
    """The answer to one question of the exam, and what was found: a fault with file and line."""

    question: str
    passed: bool
    detail: str = ""


def exam(name: str, only: str | None = None, **settings: Any) -> Iterator[Verdict]:
    """Ask method `name` every question in turn, or one of them alone.

    A fault that an earlier question has found is not described again.
    settings: those that differ from the method's defaults.
    """
    kind, source = METHODS.get(name), METHODS.source(name)
    files = own_files(source)
    found: dict[str, str] = {}
    for question, ask in _questions(kind, source, kind.Config(**settings)):
        if only not in (None, question):
            continue
        try:
            yield Verdict(question, True, ask())
        except Exception as error:  # noqa: BLE001 - any fault of the method is a finding
            where, detail = line_of(error, files), f"{type(error).__name__}: {error}"
            if isinstance(error, MethodError):  # its text says where
                where, detail = "", str(error)
            if isinstance(error, ExamError):
                where, detail = line_of_hook(kind, *error.hooks) if error.hooks else "", str(error)
            fault = f"{detail} ({where})" if where else detail
            first = found.setdefault(fault, question)
            yield Verdict(question, False, fault if first == question else f"as above: {first}")


def _questions(
    kind: type[Method], source: Source, config: MethodConfig
) -> list[tuple[str, Callable[[], str]]]:
    examinee = Examinee(kind, config)
    return [
        ("source keeps to the contract", lambda: _source(source)),
        ("settings are frozen and explained", lambda: _settings(kind)),
        ("trains and predicts every class seen", examinee.predicts),
        ("what is stored has its name", examinee.names_stored),
        ("same bits twice", examinee.repeats),
        ("grows, saves and reloads to the same bits", examinee.reloads),
        ("prediction is independent of the batch", examinee.batch),
        ("frozen means frozen", examinee.frozen),
        ("groups and loss are what the class says", examinee.declares),
        ("keeps no images of earlier tasks", examinee.keeps_no_images),
        ("parameter count equals its formula", examinee.count),
        ("tasks of unequal size, one class, one task, batch of one", examinee.edges),
        ("runs as the runner runs it: saved, resumed, evaluated, costs counted", examinee.runs),
    ]


class ExamError(AssertionError):
    """A promise of the contract that a method does not keep.

    hooks: those that are likely to break it, the likeliest first.
    """

    def __init__(self, text: str, *hooks: str) -> None:
        super().__init__(text)
        self.hooks = hooks


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
                raise ExamError(
                    f"backbone tensor {name} is in no parameter group, yet it moved",
                    "after_step", "begin_epoch", "loss", "parameter_groups",
                )  # fmt: skip


class Declared(Observer):
    """Compares what is trained with what the class declares."""

    def __init__(self, pretrained: Iterable[nn.Parameter]) -> None:
        # They are held, so that no tensor made later gets the identity of one that was replaced.
        self._pretrained = {id(p): p for p in pretrained}

    def prepared(self, method: Method, task: Task) -> None:
        """Look at the parameter groups."""
        groups = method.parameter_groups()
        names = {group["name"] for group in groups}
        if unknown := sorted(names - set(method.groups)):
            raise ExamError(
                f"parameter groups {', '.join(unknown)} are not among its `groups`, "
                f"{', '.join(method.groups) or 'none'}",
                "parameter_groups",
            )
        trained = {id(p) for group in groups for p in group["params"]}
        reached = trained & self._pretrained.keys()
        if not method.trains_backbone and reached:
            raise ExamError(
                "declares trains_backbone = False, but trains the backbone: "
                f"{len(reached)} of its tensors are in the parameter groups",
                "parameter_groups", "begin_task", "grow", "__init__",
            )  # fmt: skip


class SingleClass(Observer):
    """Finds out whether the loss of a task of one class depends on its logit.

    local: whether it does not; None where no head is trained.
    """

    def __init__(self, examinee: Examinee) -> None:
        self._examinee = examinee
        self.local: bool | None = None

    def trained(self, method: Method, task: Task) -> None:
        """Move the bias of the newest head up and back, within the task."""
        if len(task.classes) > 1 or not method.parameter_groups() or not len(method.heads):
            return
        bias = next(p for p in method.heads[-1].parameters() if p.ndim == 1)
        data = self._examinee.data(task, 1)
        (batch,) = list(data.batches(augment=False))
        losses = []
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            for shift in (0.0, 1.0):
                torch.manual_seed(0)
                bias.add_(shift)
                losses.append(float(method.loss(batch, task)))
            bias.sub_(1.0)
        self.local = losses[0] == losses[1]


class Examinee:
    """A method under examination, with a tiny backbone and random images."""

    def __init__(self, kind: type[Method], config: MethodConfig) -> None:
        self.kind, self.config = kind, config
        self.vit = backbone()
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
        *,
        declared: bool = False,
    ) -> Method:
        """Return a fresh method after these tasks; declared: what it trains is looked at."""
        vit = copy.deepcopy(self.vit).requires_grad_(True)
        pretrained = list(vit.parameters())
        torch.manual_seed(2)
        method = self.kind(vit, self.config)
        for task in tasks:
            self._advance(method, task, batch_size, Declared(pretrained) if declared else observer)
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
            shape = tuple(logits.shape)
            fault = f"logits of shape {shape} where (5, {task.seen}) was expected"
            _expect(shape == (5, task.seen), fault, "predict", "logits", "grow")
            _expect(bool(torch.isfinite(logits).all()), "logits are not finite", "predict", "loss")
            again = self.predict(method, self.images[:5])
            _expect(torch.equal(logits, again), "a second evaluation gives others", "predict")
        return "3 tasks, evaluated twice"

    def repeats(self) -> str:
        """Two trainings with the same seeds agree to the last bit."""
        first, second = (self.predict(self.train(self.tasks(2, 2)), self.images) for _ in range(2))
        fault = f"logits of two equal trainings differ by {_gap(first, second):.2g}"
        _expect(torch.equal(first, second), fault, "begin_task", "loss", "end_task", "__init__")
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
        fault = f"{when}: logits differ by {_gap(before, after):.2g} (is all of its state saved?)"
        _expect(torch.equal(before, after), fault, "end_task", "begin_task", "predict")

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
        allowed = TOLERANCE * max(1.0, float(whole.abs().max()))  # rounding grows with logits
        _expect(moved <= allowed, f"a logit moved by {moved:.2g}", "predict", "features")
        return f"largest change {moved:.1g}"

    def frozen(self) -> str:
        """Nothing but the declared groups moves; gradients reach the backbone only if declared."""
        # The trainer itself refuses gradients in the backbone of a method with
        # trains_backbone = False.
        self.train(self.tasks(2, 2), observer=Freezing())
        self.train(self.tasks(2, 2), declared=True)
        return "backbone is trained" if self.kind.trains_backbone else "backbone gets no gradient"

    def declares(self) -> str:
        """Whether `loss_is_local` is what the loss does in a task of one class."""
        watch = SingleClass(self)
        self.train(self.tasks(2, 1), observer=watch)
        if watch.local is None:
            return "no head is trained in tasks"
        declared = self.kind.loss_is_local
        what = "does not change" if watch.local else "changes"
        fault = f"loss_is_local is {declared}, but the logit of a task of one class {what} the loss"
        _expect(watch.local == declared, fault, "loss_is_local", "loss")
        return "the loss is local" if watch.local else "the loss compares tasks"

    def keeps_no_images(self) -> str:
        """No image of a task can be found in the method after it."""
        seen, method = SeenImages(3 * SIDE * SIDE), self._fresh(seed=2)
        for task in self.tasks(2, 2):
            self._advance(method, task, seen=seen)
            kept = seen.kept_in(method)
            _expect(
                not kept, f"keeps images in {', '.join(kept)}", "end_task", "begin_task", "loss"
            )
        return ""

    def runs(self) -> str:
        """A whole run as `clbench run` carries it out, in tasks of 2, 3 and 1 classes."""
        said: list[Event] = []
        outcome = run_once(self.kind.name, self.config, said.append)["outcome"]
        if outcome["status"] != "done":
            raise ExamError(str(outcome["error"]))
        return "3 tasks of 2, 3 and 1 classes"

    def count(self) -> str:
        """`expanded_formula` gives what a walk over the module counts."""
        for method, tasks in ((self.train(self.tasks(2)), 1), (self._trained, 3)):
            counted = method.expanded_parameters()
            formula = self.kind.expanded_formula(method.config, WIDTH, DEPTH, tasks)
            fault = (
                f"expanded_formula gives {formula} after {tasks} tasks, the module has {counted}"
            )
            _expect(
                counted == formula, fault, "expanded_formula", "expanded_parameters", "__init__"
            )
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
            fault = f"logits are not finite with tasks of {sizes} classes"
            _expect(bool(torch.isfinite(logits).all()), fault, "end_task", "loss", "predict")
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
        seen: SeenImages | None = None,
    ) -> None:
        """Train on one more task, with random numbers of its own; `seen` takes its images."""
        torch.manual_seed(3 + task.index)
        method.grow(task)
        data = self.data(task, batch_size, seen)
        train_task(method, task, data, replace(RECIPE, batch_size=batch_size), observer)
        data.close()
        method.eval()

    def data(self, task: Task, batch_size: int, seen: SeenImages | None = None) -> TrainingImages:
        """Return the training images of a task, 4 of each class; `seen` remembers them."""
        labels = torch.arange(task.classes.start, task.classes.stop).repeat_interleave(PER_CLASS)
        if len(task.classes) == 1:
            labels = labels[:1]  # a class with a single image
        start = task.classes.start * PER_CLASS
        images = self.images[torch.arange(start, start + len(labels)) % len(self.images)]
        frozen = (lambda x: self.vit(x).detach()) if self.kind.frozen_features else None
        made = TrainingImages if seen is None else partial(Watched, seen)
        return made(
            task,
            MemoryLoader(images),
            labels,
            batch_size=batch_size,
            seed=0,
            augment=True,
            frozen=frozen,
        )


class Watched(TrainingImages):
    """Training images that are remembered as they are given away."""

    def __init__(self, seen: SeenImages, task: Task, *given: Any, **options: Any) -> None:
        super().__init__(task, *given, **options)
        self._watcher = seen

    def batches(self, augment: bool) -> Iterator[Batch]:
        """As of any task."""
        yield from self._told(super().batches(augment))

    def epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """As of any task."""
        yield from self._told(super().epoch(epoch, done))

    def _told(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self._watcher.add(batch)
            yield batch


def _source(source: Source) -> str:
    _expect(not (faults := list(source_faults(source))), "; ".join(faults))
    return ""


def _settings(kind: type[Method]) -> str:
    config = kind.Config()
    parameters = vars(kind.Config).get("__dataclass_params__")
    _expect(
        parameters is not None and parameters.frozen, "Config is not a frozen dataclass", "Config"
    )
    silent = [f.name for f in fields(config) if not f.metadata.get("help")]
    _expect(
        not silent, f"no help text for {', '.join(silent)}: declare it with setting(...)", "Config"
    )
    _expect(bool((kind.__doc__ or "").strip()), "the class has no docstring", "__doc__")
    _expect(kind.role in ROLES, f"role {kind.role!r} is none of {ROLES}", "role")
    return f"{len(fields(config))} settings"


def _below(path: str, key: str) -> bool:
    return path == key or path.startswith(f"{key}.")


def _expect(condition: bool, fault: str, *hooks: str) -> None:
    if not condition:
        raise ExamError(fault, *hooks)


def _gap(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())
