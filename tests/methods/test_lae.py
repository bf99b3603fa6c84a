"""LAE's claims: what learns when, what the offline copy is, how both experts vote."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import timm
import torch
from lae_family import FORMS, RECIPE, TASKS, data, images, learn, make, same, values, vit
from torch import Tensor

from benchmark.engine.trainer import Observer, train_task
from benchmark.method import Batch, Task
from benchmark.peft.ports import plug
from methods.lae import Lae

every_form = pytest.mark.parametrize("form", list(FORMS))
# Where forms could differ no further: one of each way to attach, to merge and to store.
few_forms = pytest.mark.parametrize("form", ["adapter", "prefix", "ties_history", "conv_ties"])
averaging = pytest.mark.parametrize("form", ["lora", "adapter", "prefix", "conv"])


@averaging
def test_offline_copy_is_the_stated_average(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = make(form, ema=0.8, dropout=0.0) if form == "conv" else make(form, ema=0.8)
    learn(method, TASKS[:1])
    end_of_first_task = values(method.online)
    seen: list[list[Tensor]] = []
    after_step = method.after_step

    def watched(task: Task) -> None:
        seen.append(values(method.online))
        after_step(task)

    monkeypatch.setattr(method, "after_step", watched)
    learn(method, TASKS[1:])
    assert len(seen) == 2 * 3 * 3  # tasks, epochs, steps: frozen epochs count
    expected = end_of_first_task
    for online in seen:
        expected = [0.8 * off + 0.2 * on for off, on in zip(expected, online, strict=True)]
    for found, wanted in zip(values(method.offline), expected, strict=True):
        torch.testing.assert_close(found, wanted)
    assert not same(values(method.online), values(method.offline))


@averaging
def test_distance_to_a_resting_online_module_shrinks_by_the_decay(form: str) -> None:
    method = make(form, freeze_epochs=3, ema=0.9)
    learn(method, TASKS[:1])

    def shift(task: Task) -> None:
        with torch.no_grad():
            for p in method.offline.parameters():
                p += 1.0

    learn(method, TASKS[1:2], grown=shift)
    for on, off in zip(values(method.online), values(method.offline), strict=True):
        torch.testing.assert_close(off - on, torch.full_like(on, 0.9**9), rtol=1e-5, atol=1e-5)


@every_form
def test_offline_copy_starts_with_the_second_task_as_the_online_module_then_is(form: str) -> None:
    method = make(form)
    learn(method, TASKS[:1])
    assert not list(method.offline.parameters())
    end = values(method.online)
    method.grow(TASKS[1])
    assert same(values(method.offline), end)
    assert not any(p.requires_grad for p in method.offline.parameters())
    shared = {p.data_ptr() for p in method.online.parameters()}
    assert shared.isdisjoint(p.data_ptr() for p in method.offline.parameters())


@every_form
def test_frozen_epochs_train_the_new_head_alone(form: str) -> None:
    method = make(form, freeze_epochs=2)
    history: list[tuple[int, int, list[Tensor], list[Tensor], list[Tensor]]] = []

    class Watch(Observer):
        def epoch_done(self, task: Task, epoch: int, mean_loss: float) -> None:
            old, new = method.heads[: task.index], method.heads[task.index]
            history.append((task.index, epoch, values(method.online), values(old), values(new)))

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


@every_form
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


@every_form
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


@few_forms
def test_without_offline_copy_the_online_module_predicts_alone(form: str) -> None:
    method = learn(make(form, offline=False))
    assert not list(method.offline.parameters())
    expected = method.logits(method.features(images())).log_softmax(dim=1)
    torch.testing.assert_close(method.predict(images()), expected)
    kind, config = type(method), method.config
    assert method.expanded_parameters() == kind.expanded_formula(config, 16, 3, len(TASKS))


@few_forms
def test_backbone_stays_bit_identical(form: str) -> None:
    method = make(form)
    before = values(method.backbone)
    learn(method)
    assert same(values(method.backbone), before)
    assert not any(p.requires_grad for p in method.backbone.parameters())


@every_form
def test_a_new_module_changes_nothing(form: str) -> None:
    if "prefix" in form:
        pytest.skip("a prefix is never silent: its tokens take attention from the start")
    assert torch.equal(make(form).features(images()), vit()(images()))


@every_form
def test_heads_start_small_without_bias(form: str) -> None:
    method = make(form)
    torch.manual_seed(0)
    method.grow(Task(0, 1, range(4000)))
    weight, bias = method.heads[0].parameters()
    assert weight.std().item() == pytest.approx(1e-3, rel=0.02)
    assert abs(weight.mean().item()) < 1e-5
    assert not bias.any()


@every_form
def test_a_resumed_run_ends_at_the_same_bits(form: str) -> None:
    whole, states = make(form), []
    for index in range(len(TASKS)):
        learn(whole, TASKS[index : index + 1])
        states.append(copy.deepcopy(whole.state_dict()))
    for finished, saved in enumerate(states[:2], start=1):
        resumed = make(form)
        with torch.no_grad():
            for p in resumed.online.parameters():
                p += 1.0  # whatever a fresh start drew is replaced
        for task in TASKS[:finished]:
            resumed.grow(task)
        resumed.load_state_dict(saved, strict=True)
        learn(resumed, TASKS[finished:])
        assert same(values(resumed), values(whole))
        assert torch.equal(resumed.predict(images()), whole.predict(images()))


@few_forms
@pytest.mark.parametrize(("sizes", "batch"), [((3,), 4), ((1, 1, 1), 4), ((2, 1, 4), 1)])
def test_degenerate_streams_give_numbers(form: str, sizes: tuple[int, ...], batch: int) -> None:
    method = make(form)
    stop = 0
    for index, size in enumerate(sizes):
        task = Task(index, len(sizes), range(stop, stop + size))
        stop += size
        method.grow(task)
        stream = data(task, count=3)
        stream._batch_size = batch
        train_task(method, task, stream, replace(RECIPE, batch_size=batch))
        scores = method.predict(images())
        assert scores.shape == (6, stop)
        assert torch.isfinite(scores).all()
        assert torch.isfinite(torch.cat([v.flatten() for v in values(method)])).all()


@few_forms
def test_company_of_an_image_does_not_matter(form: str) -> None:
    method, x = learn(make(form)), images(9)
    whole = method.predict(x)
    single = torch.cat([method.predict(one) for one in x.split(1)])
    torch.testing.assert_close(single, whole, rtol=0, atol=1e-5)
    torch.testing.assert_close(method.predict(x.flip(0)).flip(0), whole, rtol=0, atol=1e-5)


@few_forms
def test_a_copied_method_is_independent(form: str) -> None:
    method = learn(make(form), TASKS[:2])
    twin = copy.deepcopy(method)
    expected = twin.predict(images())
    learn(method, TASKS[2:])
    assert torch.equal(twin.predict(images()), expected)
    learn(twin, TASKS[2:])
    assert torch.equal(twin.predict(images()), method.predict(images()))


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"pet": "lora"}, 153_620),
        ({"pet": "adapter"}, 84_540),
        ({"pet": "prefix"}, 153_620),
        ({"pet": "lora", "blocks": 0}, 2 * 12 * 15_362),
        ({"pet": "lora", "offline": False}, 76_810),
    ],
)
def test_expanded_parameters_on_vit_b16(settings: dict[str, Any], expected: int) -> None:
    with torch.device("meta"):
        backbone = timm.create_model("vit_base_patch16_224", num_classes=0)
        method = Lae(backbone, Lae.Config(**settings))
        for task in TASKS:
            method.grow(task)
    assert method.expanded_parameters() == expected
    assert Lae.expanded_formula(method.config, 768, 12, len(TASKS)) == expected


def test_one_task_needs_no_copy() -> None:
    assert Lae.expanded_formula(Lae.Config(), 768, 12, 1) == 76_810


def test_shallow_backbones_have_all_blocks_adapted() -> None:
    method = make("lora", blocks=5)
    assert len(method.online) == 3
    assert Lae.expanded_formula(method.config, 16, 3, 1) == method.expanded_parameters()


def test_unknown_module_is_refused() -> None:
    with pytest.raises(ValueError, match="pet must be one of 'lora', 'adapter', 'prefix'"):
        Lae.Config(pet="houlsby")
