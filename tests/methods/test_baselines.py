"""The rows every table needs: what they train, and what they leave alone."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from toy_world import DEPTH, WIDTH, copies, data, images, learn, make, moved, predict, vit

from benchmark.data.stream import make_tasks
from benchmark.method import Batch
from benchmark.workshop.replay.world import RecordedStream

TASKS = make_tasks([3, 2])


def second_task(name: str) -> tuple[set[str], set[str]]:
    """Names of parameters that training on the second task moved, and of the rest."""
    method = learn(make(name), TASKS[:1])
    before = copies(method)
    changed = moved(before, learn(method, TASKS[1:]))
    return changed, set(before) - changed


def test_sequential_trains_everything_but_old_heads() -> None:
    changed, kept = second_task("sequential")
    assert kept == {"heads.0.weight", "heads.0.bias"}
    assert len(changed) == len(dict(vit().named_parameters()))


def test_sequential_lora_trains_one_lora_through_all_tasks() -> None:
    changed, _ = second_task("seq_lora")
    assert changed == {f"lora.{b}.{part}" for b in range(DEPTH) for part in ("down", "up")}
    method = make("seq_lora", rank=2)
    assert method.expanded_parameters() == DEPTH * 2 * 2 * WIDTH * 2
    assert type(method).expanded_formula(method.config, 768, 12, 10) == 12 * 2 * 1536 * 2
    x = images()
    with torch.no_grad():
        assert torch.equal(method.features(x), vit()(x))  # it starts without effect


def test_joint_meets_all_classes_at_once() -> None:
    method = learn(make("joint"), make_tasks([5]))
    assert method.stream == "joint"
    assert predict(method).shape == (9, 5)
    assert len(method.heads) == 1


def test_the_linear_probe_trains_heads_on_frozen_features() -> None:
    changed, kept = second_task("linear_probe")
    assert not changed
    assert kept
    probe = learn(make("linear_probe"), TASKS)
    x, frozen = images(), vit()(images()).detach()
    with torch.no_grad():
        assert torch.equal(probe.predict(x, frozen), probe.logits(frozen))
        assert torch.allclose(probe.predict(x), probe.predict(x, frozen))
    labels = torch.arange(len(x)) % 2 + 3
    loss = probe.loss(Batch(x, labels, frozen), TASKS[1])
    assert torch.allclose(loss, F.cross_entropy(probe.heads[1](frozen), labels - 3))
    assert {group["name"] for group in probe.parameter_groups()} == {"heads"}


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_ncm_predicts_the_nearest_class_mean(distance: str) -> None:
    method = learn(make("ncm", distance=distance), TASKS)
    assert method.parameter_groups() == []
    features = vit()(images(9)).detach()
    means = []
    for task in TASKS:
        given = data(task)
        own = vit()(given._images).detach()
        means += [own[given._labels == label].mean(0) for label in task.classes]
    mean = torch.stack(means)
    assert torch.allclose(method.means, mean, atol=1e-12)
    if distance == "cosine":
        expected = F.cosine_similarity(features[:, None], mean[None], dim=2)
    else:
        expected = -(features[:, None] - mean[None]).square().sum(2)
    assert torch.allclose(method.predict(images(9), features), expected, atol=1e-10)
    assert torch.allclose(predict(method), expected, atol=1e-10)
    assert method.statistics() == 5 * WIDTH
    assert method.expanded_parameters() == 0


def test_ncm_keeps_old_means_and_survives_a_class_without_images() -> None:
    method = learn(make("ncm"), TASKS[:1])
    first = method.means.clone()
    method.grow(TASKS[1])
    method.end_task(TASKS[1], RecordedStream(images(), torch.full((6,), 4), 8))
    assert torch.equal(method.means[:3], first)
    assert not method.means[3].any()
    assert torch.isfinite(predict(method)).all()


def test_ncm_is_exact_under_mixed_precision() -> None:
    method = learn(make("ncm"), TASKS)
    features = vit()(images(9)).detach()
    exact = method.predict(images(9), features)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(method.predict(images(9), features), exact, atol=1e-12)


@pytest.mark.parametrize("name", ["linear_probe", "ncm", "seq_lora", "inflora", "inflora_b5"])
def test_methods_on_a_frozen_backbone_promise_it(name: str) -> None:
    method = make(name)
    assert not method.trains_backbone
    assert not any(p.requires_grad for p in method.backbone.parameters())
