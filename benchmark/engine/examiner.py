"""What holds the labels of the test images: it hands the images out, and scores the answers.

It lives in another process than the method. A test image has no label, no file name and no place
in the data set there, only a number: its rank by a digest of its content, which says nothing that
the image does not say itself and is the same in every run.
"""

from __future__ import annotations

import hashlib
import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.base import DataError, FileImages, Images
from benchmark.data.decoded import DecodedImages
from benchmark.data.digests import file_digests
from benchmark.data.loading import Loader, Preparation
from benchmark.data.stream import Stream
from benchmark.engine import fence
from benchmark.engine.context import Context
from benchmark.engine.evaluation import final_choices
from benchmark.engine.plan import PlannedRun
from benchmark.events import Event, TaskDone
from benchmark.method import Task
from benchmark.spec import RunSpec

PART_OF_EVERY_RUN = True  # see engine.provenance

PROBES = 8  # images predicted a second time
Choices = Mapping[str, np.ndarray]  # what `evaluation.choices` gives


@dataclass(frozen=True)
class Outline:
    """What a method's process knows of its data before the first task.

    tasks: those it learns, one for joint training. stages: how many evaluations there could be.
    class_groups: int16 [C], the task of every class, all 0 where every task has all classes.
    """

    tasks: list[Task]
    stages: int
    class_groups: np.ndarray


class RunData(ABC):
    """What the process of a method may ask for: no label of a test image, no task to come."""

    outline: Outline

    @abstractmethod
    def train(self, task: int) -> tuple[Images, np.ndarray]:
        """Training images and labels, int64 [n], of a 0-based task, once it starts."""

    @abstractmethod
    def test_loader(self, preparation: Preparation) -> Loader:
        """All test images, by number."""

    @abstractmethod
    def asked(self, stage: int) -> np.ndarray:
        """Numbers int64 [n] of the images to predict after a stage."""

    @abstractmethod
    def probes(self, stage: int) -> np.ndarray:
        """Positions int64 [m] in `asked` of images to predict a second time, freshly drawn."""

    @abstractmethod
    def answer(self, stage: int, choices: Choices) -> None:
        """Hand in the choices for the images of `asked`, in its order."""

    @abstractmethod
    def finished(self, task: int) -> None:
        """A task is trained, evaluated and saved."""


class Examiner(RunData):
    """The data of one run with all labels.

    Raises `DataError` where the data are not what the run was planned with.
    """

    def __init__(
        self, planned: PlannedRun, context: Context, joint: bool, emit: Callable[[Event], None]
    ) -> None:
        spec = planned.spec
        if context.data_hash(spec) != planned.data_hash:
            raise DataError(f"the images of {spec.dataset} changed after the run was planned")
        self._key, self._context, self._emit = planned.key, context, emit
        self._stream = context.stream(spec)
        images, labels, self.counts = self._stream.test()
        self._labels = labels.numpy()
        self._order = content_order(images)  # natural position by number
        self._images = images.take(self._order)
        self._joint = joint
        tasks = [self._stream.joint_task()] if joint else self._stream.tasks
        self.outline = Outline(
            tasks,
            len(self.counts),
            _class_groups(spec, self._stream),
        )
        self._answers: dict[int, dict[str, np.ndarray]] = {}

    @property
    def images(self) -> Images:
        """The test images, by number."""
        return self._images

    def places(self) -> tuple[list[Path], list[Path]]:
        """Folders that are closed to the method's process, and files in them that are not."""
        return fence.places(self._stream.train(self.outline.tasks[0])[0], self._images)

    def train(self, task: int) -> tuple[Images, np.ndarray]:
        """Training images and labels of a 0-based task."""
        if task != self._next:
            raise DataError(f"the images of task {task + 1} are not to be had now")
        images, labels = self._stream.train(self.outline.tasks[task])
        return images, labels.numpy()

    @property
    def _next(self) -> int:
        """The task whose images may be asked for: the first one that no answer is there for."""
        return 0 if self._joint else len(self._answers)

    def test_loader(self, preparation: Preparation) -> Loader:
        """All test images, by number."""
        return self._context.loader(self._images, preparation, keep=True)

    def asked(self, stage: int) -> np.ndarray:
        """Numbers of the images of the tasks up to `stage`, in rising order."""
        return np.flatnonzero(self._order < self._count(stage))

    def probes(self, stage: int) -> np.ndarray:
        """A few positions in `asked`, from the system's source of randomness."""
        count = self._count(stage)
        return np.array(random.SystemRandom().sample(range(count), min(PROBES, count)))

    def answer(self, stage: int, choices: Choices) -> None:
        """Keep the choices of a stage, in the data set's order; the first answer stays."""
        natural = self._order[self.asked(stage)]
        kept = {}
        for name in ("top_classes", "top_scores", "best_of_task"):
            given = choices[name]
            kept[name] = np.empty_like(given)
            kept[name][natural] = given
        groups = self.outline.class_groups[self._labels[: len(natural)]]
        kept["known"] = kept.pop("best_of_task")[np.arange(len(natural)), groups]
        self._answers.setdefault(stage, kept)

    def finished(self, task: int) -> None:
        """Tell the accuracy after a task."""
        accuracy = self.accuracy()[self._stage(task)]
        assert accuracy is not None
        self._emit(TaskDone(self._key, task, sum(accuracy) / len(accuracy)))

    def accuracy(self) -> list[list[float] | None]:
        """Percent on each task seen, a row a stage; None where a stage was not evaluated."""
        return [
            self._scored(stage) if stage in self._answers else None
            for stage in range(self.outline.stages)
        ]

    def graded(self, outcome: dict[str, Any]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """A finished run's outcome with its accuracies, and the predictions to store."""
        predictions = {
            f"{name}/{stage}": array
            for stage, kept in sorted(self._answers.items())
            for name, array in kept.items()
        }
        predictions |= {
            "labels": self._labels.astype(np.int16),
            "task_of_class": self.outline.class_groups,
            "task_of_image": np.repeat(np.arange(len(self.counts), dtype=np.int16), self.counts),
        }
        if self._context.keep == "last":
            predictions = final_choices(predictions, self.outline.stages - 1)
        return {**outcome, "accuracy": self.accuracy(), "test_counts": self.counts}, predictions

    def _scored(self, stage: int) -> list[float]:
        best = self._answers[stage]["top_classes"][:, 0]
        right = best == self._labels[: len(best)]
        ends = np.cumsum(self.counts[: stage + 1])[:-1]
        return [100 * float(part.mean()) for part in np.split(right, ends)]

    def _stage(self, task: int) -> int:
        return self.outline.stages - 1 if self._joint else task

    def _count(self, stage: int) -> int:
        return sum(self.counts[: stage + 1])


def content_order(images: Images) -> np.ndarray:
    """Positions of the images, int64 [N], by a digest of what is in them."""
    if isinstance(images, DecodedImages):
        images = images.originals()
    if isinstance(images, FileImages):
        digests = file_digests(images.folder, images.paths)
    else:
        digests = [hashlib.blake2b(images.read(i).tobytes()).digest() for i in range(len(images))]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64)


def _class_groups(spec: RunSpec, stream: Stream) -> np.ndarray:
    if spec.scenario == "domain":
        return np.zeros(len(stream.order), dtype=np.int16)
    return np.repeat(np.arange(len(spec.tasks), dtype=np.int16), spec.tasks)
