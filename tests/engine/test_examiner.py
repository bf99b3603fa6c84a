"""The examiner: what a method's process is told of test images, and how answers are scored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmark.data.base import ArrayImages, Dataset, FileImages
from benchmark.engine.context import Context
from benchmark.engine.examiner import Examiner, content_order
from benchmark.engine.plan import plan_runs
from benchmark.events import Event, TaskDone
from benchmark.results.store import ResultStore
from benchmark.spec import RunSpec


@pytest.fixture
def examiner(spec: RunSpec, tmp_path: Path) -> Callable[..., Examiner]:
    planned = plan_runs([spec], ResultStore(tmp_path))[0]

    def make(emit: Callable[[Event], None] = lambda event: None) -> Examiner:
        return Examiner(planned, Context(torch.device("cpu")), False, emit)

    return make


def test_numbers_tell_nothing_of_place_or_class(
    examiner: Callable[..., Examiner], toy_data: Dataset
) -> None:
    made = examiner()
    numbers = np.concatenate([made.asked(3)])
    assert numbers.tolist() == list(range(48))
    shown = np.stack([made.images.read(int(i)) for i in numbers])
    natural = np.stack([toy_data.test.images.read(i) for i in range(48)])
    place = [int(np.flatnonzero((natural == image).all((1, 2, 3)))[0]) for image in shown]
    assert sorted(place) == list(range(48))
    assert place != list(range(48))
    labels = toy_data.test.labels[place]
    assert np.abs(np.diff(labels)).mean() > 1.5  # 0.15 in the data set's order, 2.6 by chance
    assert [len(made.asked(stage)) for stage in range(4)] == [12, 24, 36, 48]


def test_answers_are_scored_by_the_labels_of_their_own_images(
    examiner: Callable[..., Examiner], toy_data: Dataset
) -> None:
    seen: list[Event] = []
    made = examiner(seen.append)
    natural = np.stack([toy_data.test.images.read(i) for i in range(48)])
    for stage in range(4):
        labels = [
            toy_data.test.labels[(natural == made.images.read(int(i))).all((1, 2, 3))][0]
            for i in made.asked(stage)
        ]
        top = np.array(labels, dtype=np.int16)[:, None]
        wrong = (top + 2) % 8 if stage == 1 else top
        best = np.zeros((len(top), stage + 1), dtype=np.int16)
        best[np.arange(len(top)), top[:, 0] // 2] = top[:, 0]
        answer = {"top_classes": wrong, "top_scores": top, "best_of_task": best}
        made.answer(stage, answer)
        made.answer(stage, answer | {"top_classes": top})  # the first answer stays
        made.finished(stage)
    assert made.accuracy() == [[100.0], [0.0, 0.0], [100.0] * 3, [100.0] * 4]
    assert [e.accuracy for e in seen if isinstance(e, TaskDone)] == [100.0, 0.0, 100.0, 100.0]
    _, predictions = made.graded({})
    for stage in range(4):
        count = 12 * (stage + 1)
        assert predictions[f"known/{stage}"].tolist() == toy_data.test.labels[:count].tolist()


def test_images_in_files_get_their_numbers_by_content(tmp_path: Path) -> None:
    drawn = np.random.default_rng(0).integers(0, 255, (9, 4, 4, 3)).astype(np.uint8)
    names = [f"{i}.png" for i in range(9)]
    for name, image in zip(names, drawn, strict=True):
        Image.fromarray(image).save(tmp_path / name)
    order = content_order(FileImages(tmp_path, tuple(names)))
    assert sorted(order.tolist()) == list(range(9))
    turned = content_order(FileImages(tmp_path, tuple(reversed(names))))
    assert (8 - turned).tolist() == order.tolist()
    assert sorted(content_order(ArrayImages(drawn)).tolist()) == list(range(9))
