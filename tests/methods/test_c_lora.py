"""C-LoRA: entries that past tasks have changed are dear, all others are free."""

from __future__ import annotations

from typing import Any

import torch
from toy_world import DEPTH, TASKS, WIDTH, Hooks, first_batch, grown, images, learn, make, vit

from benchmark.method import Method
from benchmark.spec import Recipe


def stirred(**settings: Any) -> Any:
    """A method with random past sums and random pairs."""
    method = grown("c_lora", TASKS[:2], rank=3, **settings)
    torch.manual_seed(0)
    with torch.no_grad():
        method.past.normal_()
        for branch in method.branches:
            branch.up.normal_()
    return method


def changes(method: Any) -> torch.Tensor:
    """A B of every matrix, differentiable: [blocks, targets, d, d]."""
    return torch.stack([branch.up @ branch.down for branch in method.branches])


def test_penalty_and_gradient_are_those_of_the_formula() -> None:
    method = stirred()
    trained = [p for branch in method.branches for p in (branch.up, branch.down)]
    value = method.reuse()
    ours = torch.autograd.grad(value, trained)
    formula = sum((past * change).square().sum() for past, change in zip(
        method.past.flatten(0, 1), changes(method).flatten(0, 1), strict=True))  # fmt: skip
    theirs = torch.autograd.grad(formula, trained)
    assert torch.allclose(value, formula, rtol=1e-12)
    assert all(torch.allclose(a, b, rtol=1e-10) for a, b in zip(ours, theirs, strict=True))


def test_penalty_is_weighted_and_added_to_the_local_loss() -> None:
    method = stirred(penalty=7.0)
    batch = first_batch(TASKS[1])
    plain = Method.loss(method, batch, TASKS[1])
    assert torch.allclose(method.loss(batch, TASKS[1]), plain + 7.0 * method.reuse())


def test_penalty_is_zero_in_the_first_task() -> None:
    costs: list[float] = []
    method = learn(
        make("c_lora", rank=3),
        TASKS[:1],
        observer=Hooks(trained=lambda m, t: costs.append(float(m.reuse().detach()))),
    )
    assert costs == [0.0]
    batch = first_batch(TASKS[0])
    assert torch.equal(method.loss(batch, TASKS[0]), Method.loss(method, batch, TASKS[0]))
    assert float(method.past.abs().max()) > 1e-3


def test_penalty_is_zero_on_disjoint_supports() -> None:
    method = stirred()
    half = WIDTH // 2
    with torch.no_grad():
        method.past[:, :, :half] = 0  # past tasks changed the lower rows
        for branch in method.branches:
            branch.up[:, half:] = 0  # this one changes the upper rows
    assert float(changes(method).detach().abs().max()) > 0.1
    assert float(method.reuse().detach()) == 0.0
    with torch.no_grad():
        method.branches[1].up[2, half] = 1.0
    assert float(method.reuse().detach()) > 0.1


def test_past_sum_gets_no_gradient() -> None:
    method = stirred()
    assert not method.past.requires_grad
    past = method.past.clone().requires_grad_()
    method.past = past
    method.reuse().backward()
    assert past.grad is None
    assert method.branches[0].up.grad is not None
    assert "past" not in dict(method.named_parameters())


def test_folding_changes_nothing() -> None:
    """W_0 + sum of the pairs, kept side by side, is what the folded weights are."""
    method = make("c_lora", rank=3)
    initial = [layer.linear.weight.detach().clone() for layer in method.layers]
    pairs: list[torch.Tensor] = []
    outputs: list[torch.Tensor] = []

    def trained(m: Any, task: Any) -> None:
        pairs.append(changes(m).detach())
        outputs.append(m.features(images()).detach())

    for task in TASKS:
        learn(method, [task], observer=Hooks(trained=trained))
        assert torch.allclose(method.features(images()), outputs[-1], atol=1e-12)
    total = torch.stack(pairs).sum(0)
    assert torch.allclose(method.past, total, atol=1e-14)
    assert all(float(pair.abs().max()) > 1e-3 for pair in pairs)
    for layer, start, change in zip(method.layers, initial, total, strict=True):
        wanted = start + change.flatten(0, 1)
        assert torch.allclose(layer.linear.weight, wanted, atol=1e-14)


def test_every_task_trains_a_fresh_pair() -> None:
    down: list[torch.Tensor] = []
    up: list[torch.Tensor] = []

    def note(method: Any, task: Any) -> None:
        down.append(torch.stack([branch.down.detach().clone() for branch in method.branches]))
        up.append(torch.stack([branch.up.detach().clone() for branch in method.branches]))

    learn(make("c_lora", rank=3), TASKS[:2], observer=Hooks(note, note))
    start0, end0, start1, end1 = down
    assert not torch.equal(start0, end0)
    assert not torch.equal(start1, end1)
    assert float((start1 - end0).abs().amax(dim=(1, 2, 3)).min()) > 0.1
    assert [bool(u.any()) for u in up] == [False, True, False, True]


def test_a_high_price_keeps_new_changes_off_old_ones() -> None:
    """What is measured is where the second task changes weights, not how much."""

    def reuse(penalty: float) -> float:
        shares: list[float] = []

        def trained(m: Any, task: Any) -> None:
            change = changes(m).detach()
            shares.append(float((m.past * change).norm() / change.norm()))

        recipe = Recipe(lr=1e-2, epochs=16, batch_size=4)
        learn(make("c_lora", rank=8, penalty=penalty), TASKS[:2], recipe=recipe,
              observer=Hooks(trained=trained))  # fmt: skip
        return shares[1]

    assert reuse(1e6) < 0.7 * reuse(0.0)


def test_targets_choose_the_projections() -> None:
    method = learn(make("c_lora", rank=3, targets="kv"), TASKS[:2])
    start = [block.attn.qkv.weight for block in vit().blocks]
    for layer, weight in zip(method.layers, start, strict=True):
        assert torch.equal(layer.linear.weight[:WIDTH], weight[:WIDTH])
        assert not torch.equal(layer.linear.weight[WIDTH:], weight[WIDTH:])
    assert method.past.shape == (DEPTH, 2, WIDTH, WIDTH)
    assert method.statistics() == DEPTH * 2 * WIDTH**2
