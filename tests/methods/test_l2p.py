"""L2P as published: tokens in front, chosen by each image, read out at the prompts."""

from __future__ import annotations

import pytest
import torch
from prompt_helpers import build, first_batch, pixels, predict, spread_keys, tiny_vit, train
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor
from torch.nn import functional as F

from benchmark.data.stream import make_tasks
from benchmark.registry import METHODS

TASK = make_tasks([2, 2])[0]


@pytest.fixture(scope="module")
def vit() -> VisionTransformer:
    return tiny_vit()


def test_prompts_enter_in_front_and_are_read_out_by_their_mean(vit: VisionTransformer) -> None:
    method = build("l2p", vit)
    spread_keys(method, vit)
    method.grow(TASK)
    batch = first_batch(vit, TASK)
    entered: list[Tensor] = []
    left: list[Tensor] = []
    method.backbone.blocks[0].register_forward_pre_hook(lambda m, args: entered.append(args[0]))
    method.backbone.norm.register_forward_hook(lambda m, args, out: left.append(out))
    read: list[Tensor] = []
    method.heads[0].register_forward_pre_hook(lambda m, args: read.append(args[0]))
    method.predict(batch.images, batch.frozen)

    similarity = F.normalize(batch.frozen, dim=1) @ F.normalize(method.keys, dim=1).T
    chosen = similarity.argsort(dim=1, descending=True)[:, :2]
    assert len(chosen.unique(dim=0)) > 1
    for b in range(len(batch.images)):
        own = torch.cat([method.prompts[m] for m in chosen[b]])  # 2 prompts of 2 tokens
        torch.testing.assert_close(entered[0][b, :4], own)
        torch.testing.assert_close(read[0][b], left[0][b, :4].mean(dim=0))
    assert entered[0].shape[1] == 4 + 5


def test_the_loss_is_cross_entropy_minus_the_pull_of_the_chosen_keys(
    vit: VisionTransformer,
) -> None:
    method = build("l2p", vit, {"pull": 0.3})
    method.grow(TASK)
    batch = first_batch(vit, TASK)
    similarity, chosen = method.choose(batch.frozen)
    pulls = [similarity[b, m] for b, ids in enumerate(chosen) for m in ids]
    features = method.prompt_features(batch.images, chosen)
    expected = F.cross_entropy(method.heads[0](features), batch.labels)
    expected = expected - 0.3 * sum(pulls) / len(batch.labels)
    torch.testing.assert_close(method.loss(batch, TASK), expected)


def test_only_chosen_prompts_and_keys_learn(vit: VisionTransformer) -> None:
    method = build("l2p", vit)
    method.grow(TASK)
    batch = first_batch(vit, TASK, count=2)
    _, chosen = method.choose(batch.frozen)
    method.loss(batch, TASK).backward()
    picked = torch.zeros(6, dtype=torch.bool)
    picked[chosen.flatten()] = True
    assert 0 < int(picked.sum()) < 6
    assert torch.equal(method.prompts.grad.flatten(1).any(dim=1), picked)
    assert torch.equal(method.keys.grad.any(dim=1), picked)


def test_keys_learn_from_the_pull_alone(vit: VisionTransformer) -> None:
    method = build("l2p", vit, {"pull": 0.0})
    method.grow(TASK)
    method.loss(first_batch(vit, TASK), TASK).backward()
    assert method.prompts.grad.any()
    assert not method.keys.grad.any()


def test_the_vote_marks_the_row_and_reads_the_batch(vit: VisionTransformer) -> None:
    method = train("l2p", vit, (2, 2), {"batch_vote": True})
    spread_keys(method, vit)
    assert method.batch_dependent
    assert not METHODS.get("l2p").batch_dependent
    assert not build("l2p", vit).batch_dependent
    _, chosen = method.choose(vit(pixels(24) / 255.0))
    assert torch.equal(chosen, chosen[:1].expand_as(chosen))
    alone = torch.cat([predict(method, vit, image) for image in pixels(24).split(1)])
    assert not torch.allclose(alone, predict(method, vit, pixels(24)), atol=1e-4)
