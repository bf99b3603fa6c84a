"""CODA-Prompt: weighted components, of which the earlier ones never move."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from toy_world import (
    DEPTH,
    TASKS,
    WIDTH,
    Hooks,
    copies,
    first_batch,
    grown,
    learn,
    make,
    moved,
    predict,
)

from benchmark.data.stream import make_tasks
from benchmark.spec import Recipe

PARTS = ("prompts", "keys", "attention")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("settings", [{}, {"ortho_weight": 0.5}])
def test_earlier_components_stay_to_the_bit(optimizer: str, settings: dict[str, Any]) -> None:
    recipe = Recipe(optimizer=optimizer, lr=1e-2, epochs=2, weight_decay=0.1)  # type: ignore[arg-type]
    method = learn(make("coda_p", **settings), TASKS[:2], recipe=recipe)
    before, start = copies(method), {}
    start_of_task = Hooks(lambda method, task: start.update(copies(method)))
    learn(method, TASKS[2:], recipe=recipe, observer=start_of_task)
    assert not moved(before, method)
    assert moved(start, method) >= {f"{name}.2" for name in PARTS}


def test_earlier_components_stay_in_the_sum() -> None:
    method = learn(make("coda_p"))
    before = predict(method)
    with torch.no_grad():
        method.prompts[0].zero_()
    assert not torch.allclose(predict(method), before)


def test_the_weights_learn_from_the_labels() -> None:
    method = grown("coda_p", TASKS[:2])
    method.loss(first_batch(TASKS[1]), TASKS[1]).backward()
    for name in PARTS:
        old, new = getattr(method, name)
        assert old.grad is None
        assert new.grad.flatten(2).any(dim=2).all()


def test_more_tasks_than_components_is_an_error() -> None:
    with pytest.raises(ValueError, match="6 components do not reach 7 tasks"):
        make("coda_p").grow(make_tasks([1] * 7)[0])


def test_a_remainder_of_components_is_not_used() -> None:
    method = grown("coda_p", make_tasks([1, 1, 1, 1]))  # 6 components
    assert [part.shape[1] for part in method.keys] == [1, 1, 1, 1]
    assert method.expanded_parameters() == method.expanded_formula(method.config, WIDTH, DEPTH, 4)
