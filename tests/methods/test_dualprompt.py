"""DualPrompt: the task's own expert in training, each image's own one at prediction."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from toy_world import (
    DEPTH,
    TASKS,
    WIDTH,
    copies,
    first_batch,
    grown,
    images,
    learn,
    make,
    moved,
    spread_keys,
    vit,
)

from benchmark.data.stream import make_tasks
from benchmark.spec import Recipe


def test_every_image_gets_its_own_experts() -> None:
    method, x = grown("dualprompt", TASKS), images(12)
    query = vit()(x)
    spread_keys(method)
    _, chosen = method.choose(query)
    assert all(len(set(block.flatten().tolist())) > 1 for block in chosen)
    assert not torch.equal(chosen[0], chosen[1])
    together = method.predict(x, query)
    for b in range(len(x)):
        prefixes = {}
        for i, layer in enumerate(method.config.layers):
            key = torch.stack([method.keys[m][i] for m in range(3)])
            nearest = int(F.cosine_similarity(query[b : b + 1], key).argmax())
            own = method.experts[nearest][i][None]
            prefixes[layer] = (own[:, :2], own[:, 2:])
        for layer, own in zip(method.config.general_layers, method.general, strict=True):
            prefixes[layer] = (own[None, :1], own[None, 1:])
        alone = method.logits(method.prefixed(x[b : b + 1], prefixes))
        torch.testing.assert_close(together[b : b + 1], alone)


def test_training_uses_the_expert_of_the_task_whatever_its_key() -> None:
    method = grown("dualprompt", TASKS[:2])
    batch = first_batch(TASKS[1])
    for m in range(3):
        method.keys[m].data.copy_(batch.frozen.mean(dim=0) * (-1 if m == 1 else 1))
    assert not (method.choose(batch.frozen)[1] == 1).any()
    method.loss(batch, TASKS[1]).backward()
    assert method.experts[1].grad.flatten(1).any(dim=1).all()
    assert method.keys[1].grad.any(dim=1).all()
    for m in (0, 2):
        assert method.experts[m].grad is None and method.keys[m].grad is None
    assert method.general.grad.any()


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_other_tasks_experts_stay_to_the_bit(optimizer: str) -> None:
    recipe = Recipe(optimizer=optimizer, lr=1e-2, epochs=2, weight_decay=0.1)  # type: ignore[arg-type]
    method = learn(make("dualprompt"), TASKS[:2], recipe=recipe)
    before = copies(method)
    learn(method, TASKS[2:], recipe=recipe)
    learning = {name for name, p in method.named_parameters() if p.requires_grad}
    assert learning == {"general", "experts.2", "keys.2", "heads.2.weight", "heads.2.bias"}
    assert moved(before, method) == {"general", "experts.2", "keys.2"}


@pytest.mark.parametrize(("eligible", "nearest"), [("all", 2), ("seen", 0)])
def test_experts_of_future_tasks(eligible: str, nearest: int) -> None:
    method = grown("dualprompt", TASKS[:2], eligible=eligible)
    query = vit()(images(1))
    with torch.no_grad():
        for m, towards in enumerate((query + 0.5, -query, query)):
            method.keys[m].copy_(towards.expand(3, -1))
    assert method.choose(query)[1].flatten().tolist() == [nearest] * 3


def test_a_larger_pool_and_one_too_small() -> None:
    method = grown("dualprompt", make_tasks([2, 2]), pool=5)
    assert len(method.experts) == len(method.keys) == 5
    assert method.expanded_parameters() == method.expanded_formula(method.config, WIDTH, DEPTH, 2)
    with pytest.raises(ValueError, match="pool of 2 experts is too small for 3 tasks"):
        grown("dualprompt", TASKS, pool=2)
