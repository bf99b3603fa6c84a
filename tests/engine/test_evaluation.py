"""Evaluation: accuracies, stored predictions, and what a prediction may not do."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.data.loading import MemoryLoader
from benchmark.data.transforms import InputRange
from benchmark.engine.evaluation import TestSet, choices, predicted
from benchmark.engine.hooks import MethodError
from benchmark.method import Method

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
        batch_size=4,
        device=torch.device("cpu"),
        input_range=InputRange(),
        frozen=frozen,  # type: ignore[arg-type]
    )


test_set.__test__ = False  # type: ignore[attr-defined]


def logits(make: Callable[[], Method], test: TestSet | None = None) -> tuple[Tensor, bool]:
    asked, probes = torch.arange(6), torch.tensor([5, 0, 2])
    return predicted(make, test or test_set(), asked, probes, 4, "fp32")


def test_choices() -> None:
    kept = choices(logits(Oracle)[0], TASKS)
    assert kept["top_classes"][:, 0].tolist() == [0, 0, 2, 2, 0, 3]
    assert kept["best_of_task"].tolist() == [[0, 2], [0, 2], [0, 2], [0, 2], [0, 2], [0, 3]]
    assert kept["top_scores"][0, 0] == 2
    assert kept["top_classes"].shape == (6, 4)


def test_wrong_number_of_classes() -> None:
    class Short(Oracle):
        def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
            return super().predict(images)[:, :3]

    with pytest.raises(MethodError, match="3 classes, 4 were seen"):
        logits(Short)


def test_logits_that_are_not_finite() -> None:
    class Broken(Oracle):
        def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
            return super().predict(images) * torch.nan

    with pytest.raises(MethodError, match="not finite"):
        logits(Broken)


class Voting(Oracle):
    """Lets the batch vote, as some published code does."""

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        logits = super().predict(images)
        return logits + logits.mean(dim=0)


def test_reading_the_batch_is_refused_unless_declared() -> None:
    with pytest.raises(MethodError, match="depends on the other images"):
        logits(Voting)

    class Declared(Voting):
        batch_dependent = True

    assert logits(Declared)[1]


class Counting(Oracle):
    """Guesses by how many images came before."""

    met = 0

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        self.met += len(images)
        return super().predict(images) + self.met


class Adapting(Oracle):
    """Changes its weights at test time."""

    def predict(self, images: Tensor, frozen: Tensor | None = None) -> Tensor:
        self.backbone.cls_token.data += 1
        return super().predict(images)


def test_what_came_before_an_image_must_not_matter() -> None:
    with pytest.raises(MethodError, match="images predicted before"):
        logits(Counting)
    with pytest.raises(MethodError, match="changed the method's state"):
        logits(Adapting)


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
        logits(Reading, test)
    assert calls == [4, 2]
