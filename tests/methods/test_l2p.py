"""L2P as published: tokens in front, chosen by each image, read out at the prompts."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from toy_world import (
    TASKS,
    first_batch,
    grown,
    images,
    make,
    predict,
    spread_keys,
    vit,
)

from benchmark.registry import METHODS


def test_prompts_enter_in_front_and_are_read_out_by_their_mean() -> None:
    method = grown("l2p", TASKS[:1])
    spread_keys(method)
    batch = first_batch(TASKS[0])
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


def test_the_loss_is_cross_entropy_minus_the_pull_of_the_chosen_keys() -> None:
    method = grown("l2p", TASKS[:1], pull=0.3)
    batch = first_batch(TASKS[0])
    similarity, chosen = method.choose(batch.frozen)
    pulls = [similarity[b, m] for b, ids in enumerate(chosen) for m in ids]
    features = method.prompt_features(batch.images, chosen)
    expected = F.cross_entropy(method.heads[0](features), batch.labels)
    expected = expected - 0.3 * sum(pulls) / len(batch.labels)
    torch.testing.assert_close(method.loss(batch, TASKS[0]), expected)


def test_only_chosen_prompts_and_keys_learn() -> None:
    method = grown("l2p", TASKS[:1])
    batch = first_batch(TASKS[0], count=2)
    _, chosen = method.choose(batch.frozen)
    method.loss(batch, TASKS[0]).backward()
    picked = torch.zeros(6, dtype=torch.bool)
    picked[chosen.flatten()] = True
    assert 0 < int(picked.sum()) < 6
    assert torch.equal(method.prompts.grad.flatten(1).any(dim=1), picked)
    assert torch.equal(method.keys.grad.any(dim=1), picked)


def test_keys_learn_from_the_pull_alone() -> None:
    method = grown("l2p", TASKS[:1], pull=0.0)
    method.loss(first_batch(TASKS[0]), TASKS[0]).backward()
    assert method.prompts.grad.any()
    assert not method.keys.grad.any()


def test_the_vote_marks_the_row_and_reads_the_batch() -> None:
    method = grown("l2p", TASKS, batch_vote=True)
    spread_keys(method)
    assert method.batch_dependent
    assert not METHODS.get("l2p").batch_dependent
    assert not make("l2p").batch_dependent
    _, chosen = method.choose(vit()(images(24)))
    assert torch.equal(chosen, chosen[:1].expand_as(chosen))
    alone = torch.cat([predict(method, image) for image in images(24).split(1)])
    assert not torch.allclose(alone, predict(method, images(24)), atol=1e-4)
