"""What all prompt methods promise."""

from __future__ import annotations

import copy

import pytest
import torch
from prompt_helpers import (
    SMALL,
    build,
    first_batch,
    pixels,
    predict,
    tiny_vit,
    train,
)
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from benchmark.data.stream import make_tasks
from benchmark.engine.trainer import Observer
from benchmark.method import Method, Task
from benchmark.spec import Recipe

FAMILY = sorted(SMALL)


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    return tiny_vit()


@pytest.mark.parametrize("name", FAMILY)
def test_prompts_and_the_current_head_learn_and_the_backbone_does_not(
    name: str, vit: VisionTransformer
) -> None:
    method = build(name, vit)
    tasks = make_tasks([2, 2])
    for task in tasks:
        method.grow(task)
    trained = {id(p): p for g in method.parameter_groups() for p in g["params"]}
    own = {id(p) for n, p in method.named_parameters() if not n.startswith(("backbone", "heads"))}
    assert set(trained) - own == {id(p) for p in method.heads[-1].parameters()}
    assert not any(p.requires_grad for p in method.backbone.parameters())
    method.loss(first_batch(vit, tasks[-1]), tasks[-1]).backward()
    assert all(p.grad is None for p in method.backbone.parameters())
    assert all(p.grad is not None for p in trained.values())


@pytest.mark.parametrize("name", FAMILY)
def test_queries_are_computed_where_nobody_gives_them(name: str, vit: VisionTransformer) -> None:
    method = train(name, vit, (2, 2))
    images = pixels(5) / 255.0
    with torch.inference_mode():
        torch.testing.assert_close(method.predict(images), method.predict(images, vit(images)))


@pytest.mark.parametrize("name", FAMILY)
def test_mixed_precision_trains(name: str, vit: VisionTransformer) -> None:
    method = build(name, vit)
    task = make_tasks([2])[0]
    method.grow(task)
    batch = first_batch(vit, task)
    with torch.autocast("cpu", torch.bfloat16):
        low = method.loss(batch, task)
    low.backward()
    full = method.loss(batch, task)
    assert low.item() == pytest.approx(full.item(), rel=0.05)
    grads = [p.grad for g in method.parameter_groups() for p in g["params"]]
    assert all(torch.isfinite(g).all() for g in grads)


@pytest.mark.parametrize("name", FAMILY)
def test_prompts_learn_from_the_labels(name: str, vit: VisionTransformer) -> None:
    start: dict[str, Tensor] = {}

    class Keep(Observer):
        def prepared(self, method: Method, task: Task) -> None:
            start.update(copy.deepcopy(method.state_dict()))

    recipe = Recipe(lr=1e-2, epochs=40, schedule="constant")
    method = train(name, vit, (3,), recipe=recipe, batch_size=12, observer=Keep())
    labels = torch.arange(3).repeat_interleave(4)

    def error() -> float:
        return float(F.cross_entropy(predict(method, vit, pixels(12)), labels))

    trained = error()
    heads = {n: p for n, p in method.state_dict().items() if n.startswith("heads")}
    method.load_state_dict({**start, **heads})
    assert trained < error() - 0.005


@pytest.mark.parametrize("name", ["l2p_pp", "dualprompt", "coda_p"])
def test_a_block_the_backbone_does_not_have(name: str, vit: VisionTransformer) -> None:
    with pytest.raises(ValueError, match="block 5, the backbone has 5"):
        build(name, vit, {"layers": (0, 5)})
