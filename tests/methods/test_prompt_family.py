"""What all prompt methods promise."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import timm
import torch
from prompt_helpers import (
    SMALL,
    advance,
    build,
    first_batch,
    pixels,
    predict,
    spread_keys,
    tiny_vit,
    train,
)
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from benchmark.data.stream import make_tasks
from benchmark.engine.trainer import Observer
from benchmark.method import Method, Task
from benchmark.registry import METHODS
from benchmark.spec import Recipe

FAMILY = sorted(SMALL)


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    return tiny_vit()


@pytest.mark.parametrize(
    ("name", "settings", "tasks", "count"),
    [
        ("l2p", {}, 10, 46_080),
        ("l2p", {"length": 10}, 10, 84_480),
        ("l2p_pp", {}, 10, 483_840),
        ("l2p_pp", {"layers": (0, 1, 2, 3, 4)}, 10, 2_419_200),
        ("dualprompt", {}, 10, 493_056),
        ("dualprompt", {}, 5, 251_136),
        ("dualprompt", {}, 20, 976_896),
        ("dualprompt", {"pool": 10}, 5, 493_056),
        ("coda_p", {}, 10, 3_840_000),
        ("coda_p", {}, 20, 3_840_000),
    ],
)
def test_parameters_added_to_a_vit_b16(
    name: str, settings: dict[str, Any], tasks: int, count: int
) -> None:
    with torch.device("meta"):
        backbone = timm.create_model("vit_base_patch16_224", num_classes=0)
    kind = METHODS.get(name)
    config = kind.Config(**settings)
    method = kind(backbone, config)
    for task in make_tasks([10] * tasks):
        method.grow(task)
    assert method.expanded_parameters() == count
    assert kind.expanded_formula(config, 768, 12, tasks) == count
    assert method.statistics() == 0


@pytest.mark.parametrize("name", FAMILY)
def test_only_prompts_and_the_current_head_learn(name: str, vit: VisionTransformer) -> None:
    method = train(name, vit)
    head = {id(p) for p in method.heads[-1].parameters()}
    trained = {id(p) for g in method.parameter_groups() for p in g["params"]}
    own = {id(p) for n, p in method.named_parameters() if not n.startswith(("backbone", "heads"))}
    assert trained - own == head
    for (n, p), q in zip(method.backbone.named_parameters(), vit.parameters(), strict=True):
        assert p.grad is None, n
        assert torch.equal(p, q), n


@pytest.mark.parametrize("name", FAMILY)
def test_no_gradient_reaches_a_backbone_that_asks_for_one(
    name: str, vit: VisionTransformer
) -> None:
    method = build(name, vit)
    task = make_tasks([2])[0]
    method.grow(task)
    assert not any(p.requires_grad for p in method.backbone.parameters())
    method.loss(first_batch(vit, task), task).backward()
    assert all(p.grad is None for p in method.backbone.parameters())
    assert all(p.grad is not None for g in method.parameter_groups() for p in g["params"])


@pytest.mark.parametrize("name", FAMILY)
def test_the_company_of_an_image_does_not_matter(name: str, vit: VisionTransformer) -> None:
    method = train(name, vit)
    if name != "coda_p":
        spread_keys(method, vit)
        choices = method.choose(vit(pixels(24) / 255.0))[1].view(
            -1, 24, SMALL[name].get("top_k", 1)
        )
        assert all(len(block.unique(dim=0)) > 1 for block in choices)
    images = pixels(24)
    whole = predict(method, vit, images)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(5))
    shuffled = torch.empty_like(whole)
    shuffled[order] = predict(method, vit, images[order])
    torch.testing.assert_close(shuffled, whole, rtol=0, atol=1e-5)
    for size in (1, 7):
        parts = torch.cat([predict(method, vit, part) for part in images.split(size)])
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FAMILY)
def test_a_cut_run_goes_on_to_the_same_bits(name: str, vit: VisionTransformer) -> None:
    sizes = (2, 1, 3)
    whole = train(name, vit, sizes)
    cut = train(name, vit, sizes, until=2)
    torch.manual_seed(77)
    resumed = build(name, vit)
    torch.manual_seed(78)
    for task in make_tasks(sizes)[:2]:
        resumed.grow(task)
    resumed.load_state_dict(cut.state_dict(), strict=True)
    assert torch.equal(predict(resumed, vit, pixels(9)), predict(cut, vit, pixels(9)))
    advance(resumed, make_tasks(sizes)[2], vit)
    assert torch.equal(predict(resumed, vit, pixels(9)), predict(whole, vit, pixels(9)))


@pytest.mark.parametrize("name", FAMILY)
def test_queries_are_computed_where_nobody_gives_them(name: str, vit: VisionTransformer) -> None:
    method = train(name, vit, (2, 2))
    images = pixels(5) / 255.0
    with torch.inference_mode():
        torch.testing.assert_close(method.predict(images), method.predict(images, vit(images)))


@pytest.mark.parametrize("name", FAMILY)
@pytest.mark.parametrize(
    ("sizes", "batch_size"),
    [((1, 1, 1), 5), ((4,), 5), ((2, 2), 1), ((1, 3, 2), 4), ((1,), 1)],
)
def test_degenerate_streams(
    name: str, sizes: tuple[int, ...], batch_size: int, vit: VisionTransformer
) -> None:
    method = train(name, vit, sizes, batch_size=batch_size)
    logits = predict(method, vit, pixels(1))
    assert logits.shape == (1, sum(sizes))
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(p).all() for p in method.parameters())


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


@pytest.mark.parametrize(
    ("name", "settings", "fault"),
    [
        ("l2p", {"top_k": 11}, "top_k must be at most pool"),
        ("l2p_pp", {"top_k": 31}, "top_k must be at most pool"),
        ("l2p_pp", {"length": 5}, "length must be even"),
        ("l2p_pp", {"layers": (1, 1)}, "different block numbers"),
        ("l2p_pp", {"key_loss": "mean"}, "must be one of 'cross', 'gather'"),
        ("dualprompt", {"general_length": 3}, "general_length must be even"),
        ("dualprompt", {"layers": ()}, "different block numbers"),
        ("coda_p", {"components": 0}, "components must be at least 1"),
        ("coda_p", {"length": 7}, "length must be even"),
    ],
)
def test_settings_that_make_no_sense(name: str, settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        METHODS.get(name).Config(**settings)


@pytest.mark.parametrize("name", ["l2p_pp", "dualprompt", "coda_p"])
def test_a_block_the_backbone_does_not_have(name: str, vit: VisionTransformer) -> None:
    with pytest.raises(ValueError, match="block 5, the backbone has 5"):
        build(name, vit, {"layers": (0, 5)})
