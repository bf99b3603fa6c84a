"""InfLoRA: what its subspaces promise, task after task."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor
from toy_world import DEPTH, RECIPE, WIDTH, data, grown, images, learn, make, predict, vit

from benchmark.data.stream import make_tasks
from benchmark.engine.trainer import Observer, train_task
from benchmark.method import Batch, Method, Task
from benchmark.peft.lora import AdaptedQKV, LowRank
from methods.inflora import InfLoRA

TASKS = make_tasks([3, 2, 3])


def weights(method: InfLoRA) -> Tensor:
    """qkv weights of all adapted blocks, [L, 3d, d]."""
    return torch.stack([layer.linear.weight.detach().clone() for layer in method.layers])


def protected(method: InfLoRA) -> list[Tensor]:
    """Projector of the protected space of every adapted block, zero before the first task."""
    eye = torch.eye(WIDTH, dtype=torch.float64)
    return [eye - memory.project(eye) for memory in method.memories]


class Watch(Observer):
    """Notes the state around every task's training."""

    def __init__(self) -> None:
        self.before: list[Tensor] = []  # predictions after begin_task
        self.rows: list[Tensor] = []
        self.protected: list[list[Tensor]] = []
        self.weights: list[Tensor] = []
        self.down_after: list[Tensor] = []
        self.changes: list[list[Tensor]] = []  # per task and block: [2, d, d]
        self.unmerged: list[Tensor] = []
        self.on_protected: list[float] = []

    def prepared(self, method: Method, task: Task) -> None:
        assert isinstance(method, InfLoRA)
        with torch.no_grad():
            self.before.append(method.features(images(9)))
        self.rows.append(torch.stack([branch.down[0].clone() for branch in method.branches]))
        self.protected.append(protected(method))
        self.weights.append(weights(method))

    def trained(self, method: Method, task: Task) -> None:
        assert isinstance(method, InfLoRA)
        self.down_after.append(torch.stack([b.down[0].clone() for b in method.branches]))
        self.changes.append([branch.delta() for branch in method.branches])
        self.unmerged.append(predict(method))
        # What the new branch adds to any input that the old tasks span.
        for branch, projector in zip(method.branches, self.protected[-1], strict=True):
            added = branch(projector, torch.zeros(WIDTH, 3 * WIDTH).double())
            self.on_protected.append(float(added.detach().abs().max()))


class Run:
    """Trains task by task and keeps what `Watch` saw."""

    def __init__(self, name: str = "inflora", **settings: Any) -> None:
        method = make(name, **({"rank": 3, "lamb": 0.9} | settings))
        assert isinstance(method, InfLoRA)
        self.method, self.watch = method, Watch()
        self.initial = weights(method)
        self.features: list[Tensor] = []  # before every task, then after the last
        self.merged: list[Tensor] = []
        self.after: list[Tensor] = []
        with torch.no_grad():
            for task in TASKS:
                self.features.append(method.features(images(9)))
                with torch.enable_grad():
                    learn(method, [task], observer=self.watch)
                self.merged.append(predict(method))
                self.after.append(weights(method))


@pytest.fixture(scope="module", params=["dualgpm", "gpm"])
def run(request: pytest.FixtureRequest) -> Run:
    return Run(memory=request.param)


def test_a_new_branch_leaves_the_network_as_it_was(run: Run) -> None:
    for before, prepared in zip(run.features, run.watch.before, strict=True):
        assert torch.equal(before, prepared)


def test_merging_changes_no_prediction(run: Run) -> None:
    for merged, unmerged in zip(run.merged, run.watch.unmerged, strict=True):
        assert float((merged - unmerged).abs().max()) < 1e-10


@torch.no_grad()
def test_the_merged_weight_is_the_sum_of_all_branches(run: Run) -> None:
    total = run.initial.clone()
    for changes in run.watch.changes:
        for weight, change in zip(total, changes, strict=True):
            weight[WIDTH:] += change.flatten(0, 1)
    assert float((run.after[-1] - total).abs().max()) < 1e-10
    # The same sum in an untouched network: all branches side by side.
    model = vit()
    for block, weight in zip(model.blocks, total, strict=True):
        block.attn.qkv.weight.data.copy_(weight)
    features = model.forward_head(model.forward_features(images(9)), pre_logits=True)
    assert float((run.method.logits(features) - run.merged[-1]).abs().max()) < 1e-10


def test_designed_rows_have_equal_lengths_and_are_orthogonal(run: Run) -> None:
    for rows in run.watch.rows:
        gram = rows @ rows.transpose(1, 2)
        assert float((gram - torch.eye(3, dtype=torch.float64) / 3).abs().max()) < 1e-5


def test_designed_rows_avoid_the_old_tasks(run: Run) -> None:
    for rows, projectors in zip(run.watch.rows, run.watch.protected, strict=True):
        for down, projector in zip(rows, projectors, strict=True):
            assert float((down @ projector).abs().max()) < 1e-5
    assert all(float(p.trace()) >= 1 for p in run.watch.protected[1])  # there is something to avoid


def test_a_branch_is_silent_on_the_inputs_of_old_tasks(run: Run) -> None:
    assert max(run.watch.on_protected) < 1e-10


def test_training_moves_keys_and_values_off_the_old_tasks_and_nothing_else(run: Run) -> None:
    for before, after, projectors in zip(
        run.watch.weights, run.after, run.watch.protected, strict=True
    ):
        for old, new, projector in zip(before, after, projectors, strict=True):
            assert torch.equal(old[:WIDTH], new[:WIDTH])
            for third in (slice(WIDTH, 2 * WIDTH), slice(2 * WIDTH, None)):
                moved = (new - old)[third]
                assert float(moved.abs().max()) > 1e-4
                assert float((moved @ projector).abs().max()) < 1e-10
    untouched = {
        name: value
        for name, value in run.method.backbone.state_dict().items()
        if "attn.qkv" not in name
    }
    expected = vit().state_dict()
    assert untouched
    assert all(torch.equal(value, expected[name]) for name, value in untouched.items())


def test_the_down_projection_is_not_trained(run: Run) -> None:
    for designed, after in zip(run.watch.rows, run.watch.down_after, strict=True):
        assert torch.equal(designed, after)
    trained = sum(p.numel() for group in run.method.parameter_groups() for p in group["params"])
    up_projections = DEPTH * 2 * 3 * WIDTH  # of keys and values, at rank 3
    assert trained == up_projections + len(TASKS[-1].classes) * (WIDTH + 1)


def test_protection_only_grows(run: Run) -> None:
    spaces = [*run.watch.protected, protected(run.method)]
    for smaller, larger in pairwise(spaces):
        for old, new in zip(smaller, larger, strict=True):
            assert float((new @ old - old).abs().max()) < 1e-9


def test_the_projection_is_a_choice() -> None:
    one, two = (Run(projection=form).watch for form in ("one_sided", "two_sided"))
    assert torch.equal(one.rows[0], two.rows[0])
    assert not torch.allclose(one.rows[1], two.rows[1], atol=1e-3)
    for rows, projectors in zip(two.rows, two.protected, strict=True):
        for down, projector in zip(rows, projectors, strict=True):
            assert float((down @ projector).abs().max()) < 1e-10


def test_too_little_free_space_is_said_and_harms_nothing() -> None:
    run = Run(rank=20, lamb=0.9999, lame=1.0)
    assert run.method.notes
    assert all(note.startswith("free space below the rank in blocks") for note in run.method.notes)
    assert torch.isfinite(run.merged[-1]).all()
    for rows, projectors in zip(run.watch.rows, run.watch.protected, strict=True):
        for down, projector in zip(rows, projectors, strict=True):
            assert float((down @ projector).abs().max()) < 1e-5


def test_the_short_form_adapts_five_blocks_with_a_plain_memory() -> None:
    run = Run("inflora_b5")
    kinds = [isinstance(block.attn.qkv, AdaptedQKV) for block in run.method.backbone.blocks]
    assert kinds == [True] * 5 + [False] * (DEPTH - 5)
    assert not any(memory.dual for memory in run.method.memories)


def test_mixed_precision_trains_and_keeps_the_promise() -> None:
    """Weights, designs and memories stay in full precision under autocast."""
    method = make("inflora", rank=3, lamb=0.9).float()
    assert isinstance(method, InfLoRA)
    for task in TASKS:
        method.grow(task)
        given = data(task)
        given._images, given._frozen = given._images.float(), None
        projectors, old = protected(method), weights(method).double()
        train_task(method, task, given, RECIPE, precision="bf16")
        moved = weights(method).double() - old
        for change, projector in zip(moved, projectors, strict=True):
            assert float(change.abs().max()) > 1e-4
            assert float((change @ projector).abs().max()) < 1e-6
    for branch in method.branches:
        assert isinstance(branch, LowRank)
        assert branch.down.dtype == torch.float32


def test_statistics_come_from_two_augmented_passes() -> None:
    task = TASKS[0]
    method, given, passes = grown("inflora", [task], rank=3), data(task), []
    plain = given.batches

    def counted(augment: bool) -> Iterator[Batch]:
        passes.append(augment)
        return plain(augment)

    given.batches = counted  # type: ignore[method-assign]
    method.begin_task(task, given)
    assert passes == [True]
    method.end_task(task, given)
    assert passes == [True, True]
