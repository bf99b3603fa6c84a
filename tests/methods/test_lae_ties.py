"""LAE with TIES: when the experts are merged, from where vectors are counted, what is stored."""

from __future__ import annotations

import pytest
import torch
from lae_family import make
from torch import Tensor
from toy_world import TASKS, copies, learn, same

from benchmark.engine.trainer import Observer
from benchmark.method import Method, Task
from benchmark.peft.merging import flatten, ties, trim
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
    seen: list[dict[str, Tensor]] = []

    class Watch(Observer):
        def step(self, task: Task, epoch: int, loss: Tensor, lr: float) -> None:
            seen.append(copies(method.offline))

        def trained(self, method: Method, task: Task) -> None:
            """Nothing."""

    first = copies(method.online)
    learn(method, TASKS[1:2], observer=Watch())
    assert seen and all(same(now, first) for now in seen)
    assert not same(copies(method.offline), first)
    assert not same(copies(method.offline), copies(method.online))


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
