"""SLCA: slow body, aligned heads for prediction, unaligned ones for training."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from toy_world import WIDTH, Hooks, copies, data, images, learn, make, vit

from benchmark.data.stream import make_tasks
from benchmark.peft.alignment import align
from benchmark.registry import METHODS

TASKS = make_tasks([2, 3, 1])


def weights(method: Any) -> torch.Tensor:
    return torch.cat([head.weight.detach() for head in method.heads])


def test_backbone_learns_a_hundred_times_slower() -> None:
    method = make("slca")
    method.grow(make_tasks([2])[0])
    groups = {group["name"]: group for group in method.parameter_groups()}
    assert {name: group["lr_scale"] for name, group in groups.items()} == {"body": 0.01, "heads": 1}
    assert sum(len(group["params"]) for group in groups.values()) == len(list(method.parameters()))


def test_final_norm_starts_afresh_and_is_trained() -> None:
    norm = make("slca").backbone.norm
    assert (norm.eps, norm.weight.unique().tolist(), norm.bias.unique().tolist()) == (
        1e-5,
        [1],
        [0],
    )
    assert norm.weight.requires_grad
    assert make("slca", fresh_norm=False).backbone.norm.eps == 1e-6


def test_heads_start_small() -> None:
    method = make("slca")
    method.grow(make_tasks([500])[0])
    assert float(method.heads[0].weight.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert not method.heads[0].bias.any()


def test_alignment_moves_the_classifier_and_nothing_else() -> None:
    before: list[dict[str, torch.Tensor]] = []
    after: list[dict[str, torch.Tensor]] = []

    class Watch(Hooks):
        def prepared(self, method: Any, task: Any) -> None:
            after.append(copies(method))  # what the task before left behind; grown heads aside

    watch = Watch(trained=lambda method, task: before.append(copies(method)))
    method = learn(make("slca"), TASKS, observer=watch)
    after = [*after[1:], copies(method)]
    for left, found in zip(before, after, strict=True):
        assert all(torch.equal(found[name], value) for name, value in left.items())
    # Backbone and heads are bit-identical, yet prediction no longer takes the heads' own logits.
    assert not torch.allclose(method.aligned_weight, weights(method), atol=1e-3)


def test_every_alignment_starts_from_unaligned_heads() -> None:
    method = make("slca")
    learn(method, TASKS, observer=Hooks(trained=lambda method, task: torch.manual_seed(4)))
    torch.manual_seed(4)
    again = align(list(method.heads), method.gaussians, method.config)
    assert torch.equal(method.aligned_weight, again.weight)
    assert torch.equal(method.aligned_bias, again.bias)


def test_prediction_takes_raw_logits_of_the_aligned_heads() -> None:
    method = learn(make("slca"), TASKS)
    with torch.no_grad():
        wanted = F.linear(method.features(images()), method.aligned_weight, method.aligned_bias)
        assert torch.equal(method.predict(images()), wanted)
        assert wanted.shape == (6, 6)


def test_first_task_is_not_aligned() -> None:
    method = learn(make("slca"), TASKS[:1])
    assert torch.equal(method.aligned_weight, weights(method))


def test_statistics_are_of_plain_images_and_never_renewed() -> None:
    method, second = learn(make("slca"), TASKS[:2]), TASKS[1]
    parts = list(data(second).batches(augment=False))
    with torch.no_grad():
        features = torch.cat([method.features(b.images) for b in parts])
    labels = torch.cat([b.labels for b in parts])
    for c in second.classes:
        assert torch.allclose(method.gaussians.mean[c], features[labels == c].mean(0), atol=1e-6)
    known = method.gaussians.factor.clone()
    learn(method, TASKS[2:])
    assert torch.equal(method.gaussians.factor[: second.seen], known)
    assert method.statistics() == 6 * (WIDTH + WIDTH**2) + 6 * (WIDTH + 1)


def test_pooled_tokens_get_a_fresh_norm_too() -> None:
    pooled = vit(global_pool="avg", class_token=False)
    kind = METHODS.get("slca")
    method = kind(pooled, kind.Config())
    assert isinstance(pooled.norm, nn.Identity)
    assert pooled.fc_norm.eps == 1e-5
    assert method.features(images()).shape == (6, 16)
