"""What all prompt methods promise."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_world import (
    SMALL,
    TASKS,
    Hooks,
    data,
    first_batch,
    grown,
    images,
    learn,
    make,
    predict,
)

from benchmark.data.stream import make_tasks
from benchmark.method import Batch
from benchmark.spec import Recipe

FAMILY = sorted(SMALL)


@pytest.mark.parametrize("name", FAMILY)
def test_prompts_and_the_current_head_learn_and_the_backbone_does_not(name: str) -> None:
    method, task = grown(name, TASKS[:2]), TASKS[1]
    trained = {id(p): p for g in method.parameter_groups() for p in g["params"]}
    own = {id(p) for n, p in method.named_parameters() if not n.startswith(("backbone", "heads"))}
    assert set(trained) - own == {id(p) for p in method.heads[-1].parameters()}
    assert not any(p.requires_grad for p in method.backbone.parameters())
    method.loss(first_batch(task), task).backward()
    assert all(p.grad is None for p in method.backbone.parameters())
    assert all(p.grad is not None for p in trained.values())


@pytest.mark.parametrize("name", FAMILY)
def test_queries_are_computed_where_nobody_gives_them(name: str) -> None:
    method = learn(make(name), TASKS[:2])
    with torch.inference_mode():
        torch.testing.assert_close(method.predict(images(9)), predict(method))


@pytest.mark.parametrize("name", FAMILY)
def test_mixed_precision_trains(name: str) -> None:
    method, task = grown(name, TASKS[:1]).float(), TASKS[0]
    batch = first_batch(task)
    batch = Batch(batch.images.float(), batch.labels, batch.frozen.float())
    with torch.autocast("cpu", torch.bfloat16):
        low = method.loss(batch, task)
    low.backward()
    full = method.loss(batch, task)
    assert low.item() == pytest.approx(full.item(), rel=0.05)
    grads = [p.grad for g in method.parameter_groups() for p in g["params"]]
    assert all(torch.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("name", FAMILY)
def test_prompts_learn_from_the_labels(name: str) -> None:
    start: dict[str, Tensor] = {}
    recipe = Recipe(lr=1e-2, epochs=40, batch_size=6, schedule="constant")
    (task,) = make_tasks([3])
    keep = Hooks(lambda method, task: start.update(copy.deepcopy(method.state_dict())))
    method = learn(make(name), [task], recipe=recipe, observer=keep)
    (batch,) = data(task, batch_size=18).epoch(0)

    def error() -> float:
        return float(F.cross_entropy(predict(method, batch.images), batch.labels))

    trained = error()
    heads = {n: p for n, p in method.state_dict().items() if n.startswith("heads")}
    method.load_state_dict({**start, **heads})
    assert trained < error() - 0.005


@pytest.mark.parametrize("name", ["l2p_pp", "dualprompt", "coda_p"])
def test_a_block_the_backbone_does_not_have(name: str) -> None:
    with pytest.raises(ValueError, match="block 6, the backbone has 6"):
        make(name, layers=(0, 6))
