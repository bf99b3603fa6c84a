"""The class-incremental stream: class order, task split, and what a method sees of a task."""

from __future__ import annotations

import hashlib
import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmark.data.base import DataError, Dataset, Split
from benchmark.data.transforms import CropFlip, InputRange, plain
from benchmark.method import Batch, Task, TaskData
from benchmark.registry import UnknownNameError
from benchmark.seeds import generator

Frozen = Callable[[Tensor], Tensor]


def class_order(order: str, class_names: Sequence[str]) -> list[int]:
    """The natural indices of the classes in the order in which they are learned.

    order: "natural"; "shuffled:SEED", numpy's legacy permutation as the field's published orders
    use it; or the path of a text file with one class name a line.
    """
    if order == "natural":
        return list(range(len(class_names)))
    kind, _, seed = order.partition(":")
    if kind == "shuffled" and seed.isdigit():
        return [int(c) for c in np.random.RandomState(int(seed)).permutation(len(class_names))]
    path = Path(order)
    if not path.is_file():
        raise DataError(f"class order {order!r}: neither natural, shuffled:SEED nor a file")
    names = path.read_text(encoding="utf-8").split("\n")
    names = [name.strip() for name in names if name.strip()]
    for name in names:
        if name not in class_names:
            raise DataError(f"{path}: {UnknownNameError('class', name, class_names)}")
    missing = set(class_names) - set(names)
    if missing or len(names) != len(class_names):
        fault = f"class {min(missing)!r} is missing" if missing else "a class is listed twice"
        raise DataError(f"{path}: {fault}; every class must be listed once")
    return [list(class_names).index(name) for name in names]


def make_tasks(sizes: Sequence[int]) -> list[Task]:
    """Tasks of the given numbers of classes, over consecutive labels."""
    stops = np.cumsum(sizes).tolist()
    return [
        Task(index, len(sizes), range(stop - size, stop))
        for index, (size, stop) in enumerate(zip(sizes, stops, strict=True))
    ]


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
    """SHA-256 of everything that decides which image is seen in which task."""
    text = json.dumps([manifest_hash, list(order), validation])
    return hashlib.sha256(text.encode()).hexdigest()


class TaskStream(TaskData):
    """What the trainer draws its batches from: a task's data and its training passes."""

    @abstractmethod
    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The training pass of 0-based `epoch`."""


class ImageStream(TaskStream):
    """Training images of one task, held on the training device.

    images: uint8 [n, 3, H, W]; labels: int64 [n] in the order of learning. Shuffling and
    augmentation are drawn from streams of their own, named by seed, task and pass.
    """

    def __init__(
        self,
        task: Task,
        images: Tensor,
        labels: Tensor,
        *,
        batch_size: int,
        seed: int,
        augment: CropFlip | None = None,
        input_range: InputRange | None = None,
        frozen: Frozen | None = None,
        drop_last: bool = False,
    ) -> None:
        self.task = task
        self._images, self._labels = images, labels
        self._batch_size, self._seed = batch_size, seed
        self._augment, self._range = augment, input_range or InputRange()
        self._frozen, self._drop_last = frozen, drop_last
        self._passes = 0
        self._open = True

    def __len__(self) -> int:
        return len(self._labels)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """The training pass of 0-based `epoch`: shuffled and augmented."""
        return self._pass("epoch", epoch, shuffle=True, drop_last=self._drop_last)

    def batches(self, augment: bool) -> Iterator[Batch]:
        """A pass for statistics; an augmented one is shuffled and drawn anew at every call."""
        self._passes += 1
        return self._pass("pass", self._passes, shuffle=augment, drop_last=False)

    def close(self) -> None:
        """End the task: its images are gone from here on."""
        self._open = False
        self._images = self._labels = torch.empty(0)

    def _pass(self, kind: str, number: int, *, shuffle: bool, drop_last: bool) -> Iterator[Batch]:
        self._check_open()
        count, size = len(self._labels), self._batch_size
        purpose = (self.task.index, kind, number)
        order = torch.arange(count)
        if shuffle:
            order = torch.randperm(count, generator=generator(self._seed, "shuffle", *purpose))
        order = order.to(self._labels.device)
        draws = generator(self._seed, "augment", *purpose)
        for start in range(0, count - size + 1 if drop_last else count, size):
            self._check_open()
            index = order[start : start + size]
            raw = self._images[index]
            images = self._augment(raw, draws) if shuffle and self._augment else plain(raw)
            images = self._range(images)
            frozen = self._frozen(images) if self._frozen else None
            yield Batch(images, self._labels[index], frozen)

    def _check_open(self) -> None:
        if not self._open:
            raise RuntimeError(
                f"the data of task {self.task.index + 1} is void after end_task: "
                "a method cannot go back to old images"
            )


class Stream:
    """A data set cut into tasks: training streams by task, test images of the tasks seen."""

    def __init__(
        self, dataset: Dataset, order: str, sizes: Sequence[int], validation: float = 0.0
    ) -> None:
        self.dataset = dataset
        self.order = class_order(order, dataset.class_names)
        self.tasks = make_tasks(sizes)
        if sum(sizes) > len(self.order):
            raise DataError(
                f"{dataset.name} has {len(self.order)} classes, the tasks ask for {sum(sizes)}"
            )
        train, test = dataset.train, dataset.test
        if validation > 0:  # the test images are not touched: held-out training images stand in
            kept, held = carve(train.labels, validation)
            train, test = train.subset(kept), train.subset(held)
        self._train, self._test = train, test
        position = np.empty(len(self.order), dtype=np.int64)
        position[self.order] = np.arange(len(self.order))
        self._train_labels = position[train.labels]
        self._test_labels = position[test.labels]

    def joint_task(self) -> Task:
        """All classes as one task, for the upper bound."""
        return Task(0, 1, range(0, self.tasks[-1].seen))

    def train(self, task: Task) -> tuple[Tensor, Tensor]:
        """Training images uint8 [n, 3, H, W] and labels int64 [n] of one task."""
        return _select(self._train, self._train_labels, task.classes)

    def test(self) -> tuple[Tensor, Tensor, list[int]]:
        """Test images and labels of all tasks, task after task, and how many each task has."""
        parts = [_select(self._test, self._test_labels, task.classes) for task in self.tasks]
        images, labels = (torch.cat(kind) for kind in zip(*parts, strict=True))
        return images, labels, [len(part[1]) for part in parts]


def _select(split: Split, labels: np.ndarray, classes: range) -> tuple[Tensor, Tensor]:
    index = np.flatnonzero((labels >= classes.start) & (labels < classes.stop))
    images = torch.from_numpy(split.images[index]).permute(0, 3, 1, 2).contiguous()
    return images, torch.from_numpy(labels[index])
