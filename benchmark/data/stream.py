"""The stream of tasks: class order, task split, and what a method sees of a task."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

import numpy as np
import torch
from torch import Tensor

from benchmark.data.base import DataError, Dataset, Images, Split
from benchmark.data.loading import Loader, Request
from benchmark.data.orders import class_order
from benchmark.data.transforms import COLOUR_DRAWS, CROP_DRAWS, InputRange
from benchmark.method import Batch, Task, TaskData
from benchmark.seeds import generator

PART_OF_EVERY_RUN = True  # see engine.provenance

Frozen = Callable[[Tensor], Tensor]


def make_tasks(sizes: Sequence[int]) -> list[Task]:
    """Tasks of the given numbers of classes, over consecutive labels."""
    stops = np.cumsum(sizes).tolist()
    return [
        Task(index, len(sizes), range(stop - size, stop))
        for index, (size, stop) in enumerate(zip(sizes, stops, strict=True))
    ]


def make_domain_tasks(count: int, classes: int) -> list[Task]:
    """One task a domain, all of them over the same labels."""
    return [Task(index, count, range(classes), repeats=index > 0) for index in range(count)]


def carve(labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Indices (kept, held out) of a stratified validation split of training labels [N].

    The split depends on nothing but the labels and the share: it is the same for every run.
    Every class with at least two images gives at least one and keeps at least one.
    """
    held = np.zeros(len(labels), dtype=bool)
    for c in np.unique(labels):
        members = np.flatnonzero(labels == c)
        count = min(max(round(share * len(members)), 1), len(members) - 1)
        drawn = torch.randperm(len(members), generator=generator(0, "validation", int(c)))
        held[members[drawn[:count].numpy()]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def stream_hash(manifest_hash: str, order: Sequence[int], validation: float) -> str:
    """SHA-256 of the images, the order of the classes and the share held out for validation."""
    text = json.dumps([manifest_hash, list(order), validation])
    return hashlib.sha256(text.encode()).hexdigest()


class TrainingData(TaskData):
    """What the trainer draws its batches from: a task's data and its training passes.

    Attributes:
        passes: How many passes for statistics have been given, which those to come depend on.
    """

    passes = 0

    @abstractmethod
    def epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """The training pass of 0-based `epoch`, without its first `done` batches."""


class TrainingImages(TrainingData):
    """Training images of one task.

    loader: the task's images; labels: int64 [n] in the order of learning. Shuffling and
    augmentation are drawn from streams of their own, named by seed, task and pass.
    """

    def __init__(
        self,
        task: Task,
        loader: Loader,
        labels: Tensor,
        *,
        batch_size: int,
        seed: int,
        augment: bool = False,
        input_range: InputRange | None = None,
        frozen: Frozen | None = None,
        drop_last: bool = False,
    ) -> None:
        self.task = task
        self._loader, self._labels = loader, labels
        self._batch_size, self._seed = batch_size, seed
        self._augment, self._range = augment, input_range or InputRange()
        self._frozen, self._drop_last = frozen, drop_last
        self._open = True

    def __len__(self) -> int:
        return len(self._labels)

    def epoch(self, epoch: int, done: int = 0) -> Iterator[Batch]:
        """The training pass of 0-based `epoch`, shuffled and augmented, from batch `done` on."""
        return self._pass("epoch", epoch, shuffle=True, drop_last=self._drop_last, done=done)

    def batches(self, augment: bool) -> Iterator[Batch]:
        """A pass for statistics; an augmented one is shuffled and drawn again at every call."""
        self.passes += 1
        # Pass 1 of a task is `sample`, those for statistics count from 2.
        return self._pass("pass", self.passes + 1, shuffle=augment, drop_last=False)

    def sample(self, count: int) -> Batch:
        """The first images as they are; nothing is drawn."""
        index = torch.arange(min(count, len(self._labels)))
        return self._batch(index, next(self._loader.load([Request(index)])))

    def close(self) -> None:
        """End the task: its images are gone from here on."""
        self._open = False
        self._loader.close()

    def _pass(
        self, kind: str, number: int, *, shuffle: bool, drop_last: bool, done: int = 0
    ) -> Iterator[Batch]:
        self._check_open()
        count, size = len(self._labels), self._batch_size
        purpose = (self.task.index, kind, number)
        order = torch.arange(count)
        if shuffle:
            order = torch.randperm(count, generator=generator(self._seed, "shuffle", *purpose))
        starts = range(0, count - size + 1 if drop_last else count, size)
        batches = [order[start : start + size] for start in starts]
        requests = self._requests(batches, purpose, shuffle and self._augment)
        # The draws of batches that are done are made again, their images are not loaded.
        loaded = self._loader.load(islice(requests, done, None))
        for index in batches[done:]:
            self._check_open()
            yield self._batch(index, next(loaded))

    def _requests(
        self, batches: Sequence[Tensor], purpose: tuple[int, str, int], augment: bool
    ) -> Iterator[Request]:
        """The batches with their draws; those of colours come from a stream of their own."""
        crops, colours = (
            generator(self._seed, name, *purpose) for name in ("augment", "augment colours")
        )
        for index in batches:
            if not augment:
                yield Request(index)
                continue
            drawn = (
                torch.rand(len(index), CROP_DRAWS, generator=crops),
                torch.rand(len(index), COLOUR_DRAWS, generator=colours),
            )
            yield Request(index, torch.cat(drawn, dim=1))

    def _batch(self, index: Tensor, loaded: Tensor) -> Batch:
        """The images at `index`, once they are loaded, in the backbone's range."""
        images = self._range(loaded)
        frozen = self._frozen(images) if self._frozen else None
        return Batch(images, self._labels[index.to(self._labels.device)], frozen)

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeError(
                f"the data of task {self.task.index + 1} is void after end_task: "
                "a method cannot go back to old images"
            )


class Stream:
    """A data set cut into tasks: training streams by task, test images of the tasks seen.

    scenario: "class", tasks of new classes, `sizes` of them; "domain", a task a domain, where all
    have the same classes and `sizes` repeats their number.
    """

    def __init__(
        self,
        dataset: Dataset,
        order: str,
        sizes: Sequence[int],
        validation: float = 0.0,
        *,
        scenario: str = "class",
        domains: Sequence[str] = (),
    ) -> None:
        self.dataset = dataset
        self.order = class_order(order, dataset.class_names)
        classes = len(self.order)
        self._domains = tuple(domains) if scenario == "domain" else ()
        if self._domains:
            self.tasks = make_domain_tasks(len(sizes), classes)
        else:
            self.tasks = make_tasks(sizes)
            if sum(sizes) > classes:
                raise DataError(
                    f"{dataset.name} has {classes} classes, the tasks ask for {sum(sizes)}"
                )
        train, test = dataset.train, dataset.test
        if validation > 0:  # the test images are not touched: held-out training images stand in
            kept, held = carve(train.labels, validation)
            train, test = train.subset(kept), train.subset(held)
        self._train, self._test = train, test
        position = np.empty(classes, dtype=np.int64)
        position[self.order] = np.arange(classes)
        self._train_labels = position[train.labels]
        self._test_labels = position[test.labels]

    def joint_task(self) -> Task:
        """All classes as one task, for the upper bound."""
        return Task(0, 1, range(self.tasks[-1].seen))

    def train(self, task: Task) -> tuple[Images, Tensor]:
        """Training images and labels int64 [n] of one task."""
        whole = task.count == 1 or not self._domains
        index = self._members(self._train, self._train_labels, task, whole)
        if len(index) == 0:
            raise DataError(f"{self.dataset.name}: task {task.index + 1} has no training images")
        return self._train.images.take(index), torch.from_numpy(self._train_labels[index])

    def test(self) -> tuple[Images, Tensor, list[int]]:
        """Test images and labels of all tasks, task after task, and how many each task has."""
        parts = [
            self._members(self._test, self._test_labels, task, not self._domains)
            for task in self.tasks
        ]
        for task, part in zip(self.tasks, parts, strict=True):
            if len(part) == 0:
                raise DataError(f"{self.dataset.name}: task {task.index + 1} has no test images")
        index = np.concatenate(parts)
        labels = torch.from_numpy(self._test_labels[index])
        return self._test.images.take(index), labels, [len(part) for part in parts]

    def _members(self, split: Split, labels: np.ndarray, task: Task, whole: bool) -> np.ndarray:
        """Positions of the images of a task."""
        chosen = (labels >= task.classes.start) & (labels < task.classes.stop)
        if not whole:
            chosen &= np.array(split.domains) == self._domains[task.index]
        return np.flatnonzero(chosen)
