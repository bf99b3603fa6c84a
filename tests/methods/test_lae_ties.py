"""LAE with TIES: when the experts are merged, from where vectors are counted, what is stored."""

from __future__ import annotations

import pytest
import torch
from lae_family import TASKS, learn, make, same, values
from torch import Tensor
from toy_tasks import images

from benchmark.engine.trainer import Observer
from benchmark.method import Method, Task
from benchmark.peft.merging import flatten, ties, trim, unflatten_
from methods.lae_ties import LaeTies

every_form = pytest.mark.parametrize("form", ["ties", "ties_prefix", "conv_ties"])


class Vectors(Observer):
    """Copies both experts as they are at the end of training, before `end_task`."""

    def __init__(self) -> None:
        self.online: list[Tensor] = []
        self.offline: list[Tensor] = []

    def trained(self, method: Method, task: Task) -> None:
        assert isinstance(method, LaeTies)
        self.online.append(flatten(method.online))
        if task.index:
            self.offline.append(flatten(method.offline))


@every_form
def test_offline_expert_rests_until_the_task_is_over(form: str) -> None:
    method = make(form)
    learn(method, TASKS[:1])
    seen: list[list[Tensor]] = []

    class Watch(Observer):
        def step(self, task: Task, epoch: int, loss: Tensor, lr: float) -> None:
            seen.append(values(method.offline))

        def trained(self, method: Method, task: Task) -> None:
            """Nothing."""

    first = values(method.online)
    learn(method, TASKS[1:2], observer=Watch())
    assert seen and all(same(now, first) for now in seen)
    assert not same(values(method.offline), first)
    assert not same(values(method.offline), values(method.online))


@pytest.mark.parametrize("keep", [20.0, 50.0, 100.0])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_merged_expert_is_ties_of_the_ways_from_the_start(keep: float, strength: float) -> None:
    method, watch = make("ties", keep=keep, strength=strength), Vectors()
    start = flatten(method.online)
    learn(method, TASKS[:2], observer=watch)
    assert torch.equal(method.merging.start, start)
    moved = torch.stack([watch.offline[0] - start, watch.online[1] - start])
    expected = start + strength * ties(moved, keep)
    torch.testing.assert_close(flatten(method.offline), expected)
    assert torch.equal(watch.offline[0], watch.online[0])


@every_form
def test_experts_that_agree_stay_as_they_are(form: str) -> None:
    """TIES of identical vectors, untrimmed and at full strength, is the identity."""
    method = make(form, keep=100.0, freeze_epochs=3)  # the online module rests in task 2
    learn(method, TASKS[:2])
    assert not torch.equal(flatten(method.online), method.merging.start)
    torch.testing.assert_close(flatten(method.offline), flatten(method.online), rtol=0, atol=1e-6)


def test_newcomer_only_leaves_the_offline_vector_whole() -> None:
    method, watch = make("ties", newcomer_only=True, keep=20.0), Vectors()
    start = flatten(method.online)
    learn(method, TASKS[:2], observer=watch)
    old, new = watch.offline[0] - start, watch.online[1] - start
    expected = start + ties(torch.stack([old, trim(new[None], 20.0)[0]]), 100.0)
    torch.testing.assert_close(flatten(method.offline), expected)


def test_history_merges_the_vectors_of_all_tasks_at_once() -> None:
    method, watch = make("ties_history", keep=50.0), Vectors()
    start = flatten(method.online)
    learn(method, observer=watch)
    moved = torch.stack(watch.online) - start
    torch.testing.assert_close(method.merging.past, moved[:2])
    torch.testing.assert_close(flatten(method.offline), start + ties(moved, 50.0))


def test_statistics_are_the_start_and_the_history() -> None:
    size = make("ties").expanded_parameters()
    assert learn(make("ties")).statistics() == size
    assert learn(make("ties_history")).statistics() == 3 * size


def test_order_of_the_experts_does_not_matter() -> None:
    one, other = make("ties"), make("ties")
    learn(one, TASKS[:1])
    learn(other, TASKS[:1])
    one.grow(TASKS[1])
    other.grow(TASKS[1])
    with torch.no_grad():
        for p in one.online.parameters():
            p += torch.randn_like(p)
    unflatten_(other.offline, flatten(one.online))
    for method in (one, other):
        method.end_task(TASKS[1], None)
    torch.testing.assert_close(flatten(one.offline), flatten(other.offline))


@every_form
def test_both_experts_vote_after_the_merge(form: str) -> None:
    method = learn(make(form))
    online = method.logits(method.features(images())).softmax(dim=1)
    offline = method.offline_logits(images()).softmax(dim=1)
    assert not torch.allclose(online, offline)
    torch.testing.assert_close(method.predict(images()).exp(), torch.maximum(online, offline))
