"""Evaluation: accuracies, stored predictions, and what a prediction may not do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.data.loading import MemoryLoader
from benchmark.data.transforms import InputRange
from benchmark.engine.evaluation import TestSet, evaluate
from benchmark.engine.trainer import TrainingError
from benchmark.method import Method

LABELS = torch.tensor([0, 1, 2, 2, 3, 3])
COUNTS = [2, 4]
TASKS = np.array([0, 0, 1, 1])


class Oracle(Method):
    """Reads the wanted class and a competitor from the pixels."""

    def __init__(self) -> None:
        vit = VisionTransformer(
            img_size=8, patch_size=4, embed_dim=16, depth=1, num_heads=1, num_classes=0
        )
        super().__init__(vit, self.Config())

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        wanted = (images[:, 0, 0, 0] * 255).round().long()
        logits = torch.zeros(len(images), 4)
        logits[torch.arange(len(images)), wanted] = 2
        logits[:, 2] += 1
        return logits


def test_set(frozen: object = None) -> TestSet:
    answers = torch.tensor([0, 0, 2, 2, 0, 3], dtype=torch.uint8)
    images = answers.view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    return TestSet(
        MemoryLoader(images),
        LABELS,
        COUNTS,
        batch_size=4,
        device=torch.device("cpu"),
        input_range=InputRange(),
        frozen=frozen,  # type: ignore[arg-type]
    )


test_set.__test__ = False  # type: ignore[attr-defined]


def test_accuracy_and_predictions() -> None:
    accuracy, kept = evaluate(Oracle(), test_set(), 1, TASKS, "fp32")
    assert accuracy == [50.0, 75.0]
    assert kept["top_classes"][:, 0].tolist() == [0, 0, 2, 2, 0, 3]
    assert kept["known"].tolist() == [0, 0, 2, 2, 2, 3]  # best class within the image's own task
    assert kept["top_scores"][0, 0] == 2
    assert kept["top_classes"].shape == (6, 4)


def test_wrong_number_of_classes() -> None:
    class Short(Oracle):
        def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
            return super().predict(images)[:, :3]

    with pytest.raises(TrainingError, match="3 classes, 4 were seen"):
        evaluate(Short(), test_set(), 1, TASKS, "fp32")


def test_logits_that_are_not_finite() -> None:
    class Broken(Oracle):
        def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
            return super().predict(images) * torch.nan

    with pytest.raises(TrainingError, match="not finite"):
        evaluate(Broken(), test_set(), 1, TASKS, "fp32")


class Voting(Oracle):
    """Lets the batch vote, as some published code does."""

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        logits = super().predict(images)
        return logits + logits.mean(dim=0)


def test_reading_the_batch_is_refused_unless_declared() -> None:
    with pytest.raises(TrainingError, match="depends on the other images"):
        evaluate(Voting(), test_set(), 1, TASKS, "fp32")
    declared = Voting()
    declared.batch_dependent = True
    evaluate(declared, test_set(), 1, TASKS, "fp32")


def test_frozen_features_are_computed_once() -> None:
    calls: list[int] = []

    def model(images: Tensor) -> Tensor:
        calls.append(len(images))
        return images.mean(dim=(2, 3))

    class Reading(Oracle):
        frozen_features = True

        def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
            assert frozen is not None
            assert torch.allclose(frozen, images.mean(dim=(2, 3)), atol=1e-6)
            return super().predict(images)

    test = test_set(model)
    for _ in range(3):
        evaluate(Reading(), test, 1, TASKS, "fp32")
    assert calls == [4, 2]
