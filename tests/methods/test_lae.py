"""LAE's claims: what learns when, what the offline copy is, how both experts vote."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from lae_family import make
from torch import Tensor
from toy_world import DEPTH, RECIPE, TASKS, WIDTH, copies, images, learn, same

from benchmark.engine.trainer import Observer
from benchmark.method import Batch, Task
from benchmark.peft.ports import plug
from methods.lae import Lae

# One of each way to attach, to merge and to store: forms could differ no further.
every_kind = pytest.mark.parametrize("form", ["lora", "prefix", "ties_history", "conv_ties"])
averaging = pytest.mark.parametrize("form", ["lora", "adapter", "prefix", "conv"])


@averaging
def test_offline_copy_is_the_stated_average(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = make(form, ema=0.8, dropout=0.0) if form == "conv" else make(form, ema=0.8)
    learn(method, TASKS[:1])
    end_of_first_task = copies(method.online)
    seen: list[dict[str, Tensor]] = []
    after_step = method.after_step

    def watched(task: Task) -> None:
        seen.append(copies(method.online))
        after_step(task)

    monkeypatch.setattr(method, "after_step", watched)
    learn(method, TASKS[1:])
    assert len(seen) == (5 + 3) * RECIPE.epochs  # steps of both tasks: frozen epochs count
    expected = end_of_first_task
    for online in seen:
        expected = {name: 0.8 * p + 0.2 * online[name] for name, p in expected.items()}
    torch.testing.assert_close(copies(method.offline), expected)
    assert not same(copies(method.online), copies(method.offline))


@every_kind
def test_offline_copy_starts_with_the_second_task_as_the_online_module_then_is(form: str) -> None:
    method = make(form)
    learn(method, TASKS[:1])
    assert not list(method.offline.parameters())
    end = copies(method.online)
    method.grow(TASKS[1])
    assert same(copies(method.offline), end)
    assert not any(p.requires_grad for p in method.offline.parameters())
    shared = {p.data_ptr() for p in method.online.parameters()}
    assert shared.isdisjoint(p.data_ptr() for p in method.offline.parameters())


@every_kind
def test_frozen_epochs_train_the_new_head_alone(form: str) -> None:
    method = make(form, freeze_epochs=2)
    history: list[tuple[int, int, dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]] = []

    class Watch(Observer):
        def epoch_done(self, task: Task, epoch: int, mean_loss: float) -> None:
            old, new = method.heads[: task.index], method.heads[task.index]
            history.append((task.index, epoch, copies(method.online), copies(old), copies(new)))

    learn(method, observer=Watch())
    for before, after in pairwise(history):
        task, epoch = after[:2]
        if epoch == 0:
            continue
        frozen = task > 0 and epoch < 2
        assert same(before[2], after[2]) == frozen
        assert same(before[3], after[3])
        assert not same(before[4], after[4])
    for before, after in pairwise(history):
        if after[1] == 0:  # the first epoch of a task against the end of the one before
            assert same(before[2], after[2])


@every_kind
def test_frozen_epochs_give_the_same_loss_and_no_gradient_to_the_module(form: str) -> None:
    method = make(form, dropout=0.0) if "conv" in form else make(form)
    learn(method, TASKS[:2])
    batch = Batch(images(), torch.tensor([2, 3, 4, 2, 3, 4]))
    losses = []
    for frozen in (True, False):
        method.heads_only = frozen
        loss = method.loss(batch, TASKS[1])
        loss.backward()
        losses.append(loss.item())
        reached = [p.grad is not None for p in method.online.parameters()]
        assert not any(reached) if frozen else all(reached)
        assert all(p.grad is not None for p in method.heads[1].parameters())
        assert all(p.grad is None for p in method.backbone.parameters())
        assert all(p.grad is None for p in method.offline.parameters())
    assert losses[0] == losses[1]


@every_kind
def test_prediction_is_the_maximum_of_both_softmaxes(form: str) -> None:
    method = learn(make(form))
    with torch.no_grad():  # far apart, so that the vote is not that of one
        for p in method.online.parameters():
            p += 0.3 * torch.randn_like(p)
        for head in method.heads:
            head.weight.normal_()
        x = images(40)
        online = method.logits(method.features(x)).softmax(dim=1)
        plug(method.ports, method.offline)
        offline = method.logits(method.features(x)).softmax(dim=1)
        plug(method.ports, method.online)
        vote = torch.stack([online, offline]).amax(dim=0)
        scores = method.predict(x)
    torch.testing.assert_close(scores.exp(), vote)
    assert torch.equal(scores.argmax(dim=1), vote.argmax(dim=1))
    wins = online > offline
    assert wins.any() and not wins.all()
    with torch.no_grad():  # the online module is in its place again
        assert torch.equal(method.logits(method.features(x)).softmax(dim=1), online)


@pytest.mark.parametrize(("tasks", "forwards"), [(1, 1), (2, 2), (3, 2)])
def test_number_of_forward_passes(tasks: int, forwards: int) -> None:
    method = learn(make("lora"), TASKS[:tasks])
    calls = []
    method.backbone.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    method.predict(images())
    assert len(calls) == forwards


@every_kind
def test_without_offline_copy_the_online_module_predicts_alone(form: str) -> None:
    method = learn(make(form, offline=False))
    assert not list(method.offline.parameters())
    expected = method.logits(method.features(images())).log_softmax(dim=1)
    torch.testing.assert_close(method.predict(images()), expected)


def test_heads_start_small_without_bias() -> None:
    method = make("lora")
    torch.manual_seed(0)
    method.grow(Task(0, 1, range(4000)))
    weight, bias = method.heads[0].parameters()
    assert weight.std().item() == pytest.approx(1e-3, rel=0.02)
    assert abs(weight.mean().item()) < 1e-5
    assert not bias.any()


def test_shallow_backbones_have_all_blocks_adapted() -> None:
    method = make("lora", blocks=9)
    assert len(method.online) == DEPTH
    assert Lae.expanded_formula(method.config, WIDTH, DEPTH, 1) == method.expanded_parameters()
