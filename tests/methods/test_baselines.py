"""The rows every table needs: what they train, and what they leave alone."""

from __future__ import annotations

import pytest
import torch
from small_runs import DEPTH, WIDTH, images, make, predict, stream, train, vit
from torch.nn import functional as F

from benchmark.data.stream import make_tasks
from benchmark.method import Batch
from benchmark.workshop.replay.world import RecordedStream

SIZES = (3, 2)


def moved(name: str) -> tuple[set[str], set[str]]:
    """Names of parameters that training on the second task moved, and of the rest."""
    method = train(make(name), SIZES[:1])
    before = {key: p.detach().clone() for key, p in method.named_parameters()}
    train(method, SIZES, first=1)
    after = dict(method.named_parameters())
    changed = {key for key, value in before.items() if not torch.equal(value, after[key])}
    return changed, set(before) - changed


def test_sequential_trains_everything_but_old_heads() -> None:
    changed, kept = moved("sequential")
    assert kept == {"heads.0.weight", "heads.0.bias"}
    assert len(changed) == len(dict(vit().named_parameters()))


def test_sequential_lora_trains_one_lora_through_all_tasks() -> None:
    changed, _ = moved("seq_lora")
    assert changed == {f"lora.{b}.{part}" for b in range(DEPTH) for part in ("down", "up")}
    method = make("seq_lora", rank=2)
    assert method.expanded_parameters() == DEPTH * 2 * 2 * WIDTH * 2
    assert type(method).expanded_formula(method.config, 768, 12, 10) == 12 * 2 * 1536 * 2
    x = images(5)
    with torch.no_grad():
        assert torch.equal(method.features(x), vit()(x))  # it starts without effect


def test_joint_meets_all_classes_at_once() -> None:
    method = train(make("joint"), SIZES)
    assert method.stream == "joint"
    assert predict(method).shape == (9, 5)
    assert len(method.heads) == 1


def test_the_linear_probe_trains_heads_on_frozen_features() -> None:
    changed, kept = moved("linear_probe")
    assert not changed
    assert kept
    probe = train(make("linear_probe"), SIZES)
    x, frozen = images(7), vit()(images(7)).detach()
    with torch.no_grad():
        assert torch.equal(probe.predict(x, frozen), probe.logits(frozen))
        assert torch.allclose(probe.predict(x), probe.predict(x, frozen))
    task = make_tasks(SIZES)[1]
    labels = torch.arange(len(x)) % 2 + 3
    loss = probe.loss(Batch(x, labels, frozen), task)
    assert torch.allclose(loss, F.cross_entropy(probe.heads[1](frozen), labels - 3))
    assert {group["name"] for group in probe.parameter_groups()} == {"heads"}


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_ncm_predicts_the_nearest_class_mean(distance: str) -> None:
    method = train(make("ncm", distance=distance), SIZES)
    assert method.parameter_groups() == []
    features = vit()(images(99, 9)).detach()
    means = []
    for task in make_tasks(SIZES):
        data = stream(task)
        own = vit()(data._images).detach()
        means += [own[data._labels == label].mean(0) for label in task.classes]
    mean = torch.stack(means)
    assert torch.allclose(method.means, mean, atol=1e-12)
    if distance == "cosine":
        expected = F.cosine_similarity(features[:, None], mean[None], dim=2)
    else:
        expected = -(features[:, None] - mean[None]).square().sum(2)
    assert torch.allclose(method.predict(images(99, 9), features), expected, atol=1e-10)
    assert torch.allclose(predict(method), expected, atol=1e-10)
    assert method.statistics() == 5 * WIDTH
    assert method.expanded_parameters() == 0


def test_ncm_keeps_old_means_and_survives_a_class_without_images() -> None:
    method = train(make("ncm"), SIZES[:1])
    first = method.means.clone()
    task = make_tasks(SIZES)[1]
    method.grow(task)
    method.end_task(task, RecordedStream(images(3), torch.full((20,), 4), 8))
    assert torch.equal(method.means[:3], first)
    assert not method.means[3].any()
    assert torch.isfinite(predict(method)).all()


def test_ncm_is_exact_under_mixed_precision() -> None:
    method = train(make("ncm"), SIZES)
    features = vit()(images(99, 9)).detach()
    exact = method.predict(images(99, 9), features)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.allclose(method.predict(images(99, 9), features), exact, atol=1e-12)


@pytest.mark.parametrize("name", ["linear_probe", "ncm", "seq_lora", "inflora", "inflora_b5"])
def test_methods_on_a_frozen_backbone_promise_it(name: str) -> None:
    method = make(name)
    assert not method.trains_backbone
    assert not any(p.requires_grad for p in method.backbone.parameters())
