"""CODA-Prompt: weighted components, of which the earlier ones never move."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from prompt_helpers import advance, build, first_batch, pixels, tiny_vit, train
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

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


def test_new_components_are_orthonormal_at_the_start_of_their_task(vit: VisionTransformer) -> None:
    method = build("coda_p", vit)
    for task in TASKS:
        method.grow(task)
    for name in PARTS:
        rows = torch.cat(list(getattr(method, name)), dim=1).flatten(2)  # untrained: all of them
        for gram in rows @ rows.mT:
            torch.testing.assert_close(gram, torch.eye(6), rtol=0, atol=1e-5)


def test_new_components_do_not_depend_on_old_ones_being_of_length_one(
    vit: VisionTransformer,
) -> None:
    method = build("coda_p", vit)
    method.grow(TASKS[0])
    with torch.no_grad():
        for name in PARTS:
            getattr(method, name)[0].mul_(7.0)
    method.grow(TASKS[1])
    for name in PARTS:
        old, new = (part.flatten(2) for part in getattr(method, name))
        torch.testing.assert_close(new.norm(dim=2), torch.ones(3, 2))
        assert float((F.normalize(old, dim=2) @ new.mT).detach().abs().max()) < 1e-5


def test_prediction_is_the_naive_formula(vit: VisionTransformer) -> None:
    method = train("coda_p", vit)
    images = pixels(5) / 255.0
    query = vit(images)
    prefixes = {}
    for i, layer in enumerate((0, 1, 3)):
        summed = torch.zeros(5, 4, 16)
        for t in range(3):
            for m in range(2):
                p, k, a = (getattr(method, name)[t][i, m] for name in PARTS)
                weight = F.cosine_similarity(query * a, k[None], dim=1)
                summed = summed + weight[:, None, None] * p
        prefixes[layer] = (summed[:, :2], summed[:, 2:])
    expected = method.logits(method.prefixed(images, prefixes))
    torch.testing.assert_close(method.predict(images, query), expected)


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


def test_the_penalty_is_added_with_its_weight(vit: VisionTransformer) -> None:
    losses = {}
    for weight in (0.0, 0.25):
        method = train("coda_p", vit, until=1)
        method.grow(TASKS[1])
        object.__setattr__(method.config, "ortho_weight", weight)
        losses[weight] = method.loss(first_batch(vit, TASKS[1]), TASKS[1])
    expected = 0.0
    for name in PARTS:
        for rows in torch.cat(list(getattr(method, name)), dim=1).flatten(2):
            expected = expected + (rows @ rows.T - torch.eye(4)).square().mean()
    assert expected.item() > 1e-4
    torch.testing.assert_close(losses[0.25] - losses[0.0], 0.25 * expected, rtol=1e-3, atol=1e-6)


def test_the_penalty_keeps_components_orthogonal(vit: VisionTransformer) -> None:
    recipe = Recipe(lr=1e-2, epochs=10, schedule="constant")
    free, held = (
        train("coda_p", vit, settings={"ortho_weight": w}, recipe=recipe) for w in (0.0, 10.0)
    )
    assert held.penalty().item() < 0.2 * free.penalty().item()


def test_more_tasks_than_components_is_an_error(vit: VisionTransformer) -> None:
    with pytest.raises(ValueError, match="6 components do not reach 7 tasks"):
        build("coda_p", vit).grow(make_tasks([1] * 7)[0])


def test_a_remainder_of_components_is_not_used(vit: VisionTransformer) -> None:
    method = train("coda_p", vit, (1, 1, 1, 1))  # 6 components
    assert [part.shape[1] for part in method.keys] == [1, 1, 1, 1]
    assert method.expanded_parameters() == method.expanded_formula(method.config, 16, 5, 4)
