"""Class orders, task splits, the validation split, and what a task's data gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from toy_dataset import toy_dataset

from benchmark.data.base import DataError, Dataset, Images
from benchmark.data.loading import MemoryLoader
from benchmark.data.orders import class_order
from benchmark.data.stream import Stream, TrainingImages, carve, make_tasks
from benchmark.data.transforms import DRAWS, Augment, plain
from benchmark.method import Task
from benchmark.spec import Augmentation


def test_orders(tmp_path: Path) -> None:
    names = ["a", "b", "c", "d"]
    assert class_order("natural", names) == [0, 1, 2, 3]
    shuffled = class_order("shuffled:1993", [str(i) for i in range(200)])
    assert shuffled[:3] == [168, 136, 51]  # the permutation of the published runs
    file = tmp_path / "order.txt"
    file.write_text("c\na\n\nd\nb\n")
    assert class_order(str(file), names) == [2, 0, 3, 1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\nb\nc\n", "'d' is missing"),
        ("a\na\nb\nc\nd\n", "twice"),
        ("a\nb\nc\ndd\n", "did you mean 'd'"),
    ],
)
def test_bad_order_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "order.txt"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        class_order(str(file), ["a", "b", "c", "d"])


def test_order_that_is_nothing() -> None:
    with pytest.raises(DataError, match="neither natural"):
        class_order("alphabetical", ["a"])


def test_uneven_tasks_are_consecutive() -> None:
    tasks = make_tasks([3, 1, 2])
    assert [task.classes for task in tasks] == [range(3), range(3, 4), range(4, 6)]
    assert [task.seen for task in tasks] == [3, 4, 6]


def test_stream_relabels_in_the_order_of_learning() -> None:
    toy_data = toy_dataset()
    stream = Stream(toy_data, "shuffled:5", [4, 4])
    images, labels = stream.train(stream.tasks[1])
    assert set(labels.tolist()) == {4, 5, 6, 7}
    natural = stream.order[int(labels[0])]
    members = np.flatnonzero(toy_data.train.labels == natural)
    wanted = [toy_data.train.images.read(i) for i in members]
    assert any(np.array_equal(images.read(0), image) for image in wanted)
    _, test_labels, counts = stream.test()
    assert counts == [24, 24]
    assert test_labels[:24].max() < 4 <= test_labels[24:].min()


def test_validation_never_touches_test_images() -> None:
    toy_data = toy_dataset()
    poisoned = Dataset(
        toy_data.name,
        toy_data.class_names,
        toy_data.train,
        None,  # type: ignore[arg-type]
    )
    stream = Stream(poisoned, "natural", [4, 4], validation=0.25)
    images, _, counts = stream.test()
    assert counts == [12, 12]
    train = [_bytes(stream.train(task)[0]) for task in stream.tasks]
    seen = set().union(*train)
    assert len(seen) + len(images) == len(toy_data.train.labels)
    assert not seen & _bytes(images)


def _bytes(images: Images) -> set[bytes]:
    return {images.read(i).tobytes() for i in range(len(images))}


def test_domains_one_after_the_other() -> None:
    toy_data = toy_dataset()
    stream = Stream(toy_data, "natural", [8, 8], scenario="domain", domains=("painted", "drawn"))
    assert [(task.classes, task.repeats) for task in stream.tasks] == [
        (range(8), False),
        (range(8), True),
    ]
    drawn = sum(domain == "drawn" for domain in toy_data.train.domains)
    counts = [len(stream.train(task)[1]) for task in stream.tasks]
    assert counts == [len(toy_data.train.labels) - drawn, drawn]
    assert len(stream.train(stream.joint_task())[1]) == len(toy_data.train.labels)
    _, labels, counts = stream.test()
    assert set(labels[: counts[0]].tolist()) == set(labels[counts[0] :].tolist()) == set(range(8))


def test_carve_is_stratified_and_keeps_single_images() -> None:
    labels = np.array([0] * 10 + [1] * 2 + [2])
    kept, held = carve(labels, 0.2)
    assert sorted([*kept, *held]) == list(range(13))
    assert np.bincount(labels[held], minlength=3).tolist() == [2, 1, 0]


def _stream(task: Task, **options: object) -> TrainingImages:
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 3, 4, 4).contiguous()
    loader = MemoryLoader(images)
    return TrainingImages(task, loader, torch.arange(10), batch_size=4, seed=0, **options)  # type: ignore[arg-type]


def test_epochs_shuffle_by_name_and_cover_everything() -> None:
    task = make_tasks([10])[0]
    first = torch.cat([batch.labels for batch in _stream(task).epoch(0)])
    again = torch.cat([batch.labels for batch in _stream(task).epoch(0)])
    second = torch.cat([batch.labels for batch in _stream(task).epoch(1)])
    assert torch.equal(first, again)
    assert not torch.equal(first, second)
    assert sorted(first.tolist()) == list(range(10))
    plain_labels = torch.cat([batch.labels for batch in _stream(task).batches(augment=False)])
    assert plain_labels.tolist() == list(range(10))


def test_an_extra_pass_moves_no_epoch() -> None:
    task = make_tasks([10])[0]
    stream = _stream(task, augment=True)
    list(stream.batches(augment=True))
    ours = [batch.images for batch in stream.epoch(0)]
    other = [batch.images for batch in _stream(task, augment=True).epoch(0)]
    assert all(torch.equal(a, b) for a, b in zip(ours, other, strict=True))


def test_data_is_void_after_the_task() -> None:
    stream = _stream(make_tasks([10])[0])
    running = stream.batches(augment=False)
    next(running)
    stream.close()
    with pytest.raises(RuntimeError, match="void"):
        next(running)
    with pytest.raises(RuntimeError, match="void"):
        next(stream.batches(augment=False))


def test_drop_last() -> None:
    task = make_tasks([10])[0]
    assert [len(b.labels) for b in _stream(task, drop_last=True).epoch(0)] == [4, 4]


def test_full_crop_without_flip_is_the_identity() -> None:
    images = torch.randint(256, (3, 3, 9, 9), dtype=torch.uint8)
    draws = torch.rand(3, DRAWS)
    crop = Augment(Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0))
    assert torch.allclose(crop(images, draws, 9), plain(images), atol=1e-6)
    flipped = Augment(Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=1.0))
    assert torch.allclose(flipped(images, draws, 9), plain(images).flip(3), atol=1e-6)


def test_crops_stay_inside_the_image() -> None:
    images = torch.full((64, 3, 8, 8), 200, dtype=torch.uint8)
    out = Augment()(images, torch.rand(64, DRAWS), 8)
    assert torch.allclose(out, torch.full_like(out, 200 / 255), atol=1e-5)
