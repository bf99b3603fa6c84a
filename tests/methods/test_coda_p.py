"""CODA-Prompt: weighted components, of which the earlier ones never move."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from prompt_helpers import advance, build, first_batch, pixels, tiny_vit, train
from timm.models.vision_transformer import VisionTransformer

from benchmark.data.stream import make_tasks
from benchmark.spec import Recipe

TASKS = make_tasks([2, 2, 2])
PARTS = ("prompts", "keys", "attention")


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    return tiny_vit()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("settings", [{}, {"ortho_weight": 0.5}])
def test_earlier_components_stay_to_the_bit(
    optimizer: str, settings: dict[str, Any], vit: VisionTransformer
) -> None:
    recipe = Recipe(optimizer=optimizer, lr=1e-2, epochs=2, weight_decay=0.1)  # type: ignore[arg-type]
    method = train("coda_p", vit, settings=settings, until=2, recipe=recipe)
    before = {name: p.detach().clone() for name, p in method.named_parameters()}
    torch.manual_seed(9)
    method.grow(TASKS[2])
    start = {name: getattr(method, name)[2].detach().clone() for name in PARTS}
    method = train("coda_p", vit, settings=settings, until=2, recipe=recipe)
    advance(method, TASKS[2], vit, recipe)
    for name, p in before.items():
        assert torch.equal(method.get_parameter(name), p), name
    for name in PARTS:
        assert not torch.equal(getattr(method, name)[2], start[name])


def test_earlier_components_stay_in_the_sum(vit: VisionTransformer) -> None:
    method = train("coda_p", vit)
    images = pixels(5) / 255.0
    before = method.predict(images, vit(images))
    with torch.no_grad():
        method.prompts[0].zero_()
    assert not torch.allclose(method.predict(images, vit(images)), before)


def test_the_weights_learn_from_the_labels(vit: VisionTransformer) -> None:
    method = build("coda_p", vit)
    for task in TASKS[:2]:
        method.grow(task)
    method.loss(first_batch(vit, TASKS[1]), TASKS[1]).backward()
    for name in PARTS:
        old, new = getattr(method, name)
        assert old.grad is None
        assert new.grad.flatten(2).any(dim=2).all()


def test_more_tasks_than_components_is_an_error(vit: VisionTransformer) -> None:
    with pytest.raises(ValueError, match="6 components do not reach 7 tasks"):
        build("coda_p", vit).grow(make_tasks([1] * 7)[0])


def test_a_remainder_of_components_is_not_used(vit: VisionTransformer) -> None:
    method = train("coda_p", vit, (1, 1, 1, 1))  # 6 components
    assert [part.shape[1] for part in method.keys] == [1, 1, 1, 1]
    assert method.expanded_parameters() == method.expanded_formula(method.config, 16, 5, 4)
