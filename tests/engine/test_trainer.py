"""The training loop: what it calls, what it refuses, what it keeps equal."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from benchmark.data.loading import MemoryLoader
from benchmark.data.stream import TrainingImages, make_tasks
from benchmark.engine.trainer import (
    Observer,
    TrainingError,
    learning_rate,
    make_optimizer,
    train_task,
)
from benchmark.method import Batch, Method, MethodConfig, ParameterGroup, Task, TaskData, setting
from benchmark.spec import Recipe

RECIPE = Recipe(lr=1e-2, epochs=2, batch_size=4)


def vit() -> VisionTransformer:
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=8, patch_size=4, embed_dim=16, depth=1, num_heads=1, num_classes=0
    )


def stream(task: Task, count: int = 10) -> TrainingImages:
    draws = torch.Generator().manual_seed(task.index)
    images = torch.randint(256, (count, 3, 8, 8), generator=draws, dtype=torch.uint8)
    labels = torch.randint(task.classes.start, task.classes.stop, (count,), generator=draws)
    return TrainingImages(task, MemoryLoader(images), labels, batch_size=4, seed=0)


class Recording(Method):
    """Notes every call of a hook."""

    def __init__(self) -> None:
        super().__init__(vit(), self.Config())
        self.calls: list[str] = []

    def begin_task(self, task: Task, data: TaskData) -> None:
        self.calls.append(f"begin_task train={self.training}")

    def begin_epoch(self, task: Task, epoch: int) -> None:
        self.calls.append(f"begin_epoch {epoch} train={self.training}")

    def loss(self, batch: Batch, task: Task) -> Tensor:
        self.calls.append("loss")
        return super().loss(batch, task)

    def after_step(self, task: Task) -> None:
        self.calls.append("after_step")

    def end_task(self, task: Task, data: TaskData) -> None:
        self.calls.append(f"end_task train={self.training}")


def test_order_of_calls() -> None:
    method, task = Recording(), make_tasks([2])[0]
    method.grow(task)
    record = train_task(method, task, stream(task), RECIPE)
    steps = ["loss", "after_step"] * 3
    assert method.calls == [
        "begin_task train=False",
        "begin_epoch 0 train=True",
        *steps,
        "begin_epoch 1 train=True",
        *steps,
        "end_task train=False",
    ]
    assert record.images == 20
    assert len(record.losses) == 2
    assert record.trainable == sum(p.numel() for p in method.parameters())


def test_local_loss_leaves_old_heads_alone() -> None:
    method = Recording()
    first, second = make_tasks([2, 3])
    for task in (first, second):
        method.grow(task)
        before = method.heads[0].weight.detach().clone()
        train_task(method, task, stream(task), replace(RECIPE, weight_decay=0.1))
    assert torch.equal(method.heads[0].weight, before)
    assert method.predict(torch.zeros(1, 3, 8, 8)).shape == (1, 5)


def test_loss_that_is_not_finite_stops_the_run() -> None:
    class Exploding(Recording):
        def loss(self, batch: Batch, task: Task) -> Tensor:
            return super().loss(batch, task) * torch.inf

    method, task = Exploding(), make_tasks([2])[0]
    method.grow(task)
    with pytest.raises(TrainingError, match="epoch 1 of task 1"):
        train_task(method, task, stream(task), RECIPE)


def test_drop_last_without_a_full_batch_is_an_error() -> None:
    method, task = Recording(), make_tasks([2])[0]
    method.grow(task)
    data = stream(task, count=3)
    data._drop_last = True
    with pytest.raises(TrainingError, match="no full batch"):
        train_task(method, task, data, RECIPE)


def test_promise_about_the_backbone_is_kept_or_fails() -> None:
    class Breaking(Recording):
        trains_backbone = False

        def loss(self, batch: Batch, task: Task) -> Tensor:
            self.backbone.requires_grad_(True)
            return super().loss(batch, task)

    method, task = Breaking(), make_tasks([2])[0]
    method.grow(task)
    with pytest.raises(TrainingError, match="gradients reached"):
        train_task(method, task, stream(task), RECIPE)


def test_groups_get_their_own_rate() -> None:
    class Grouped(Recording):
        def parameter_groups(self) -> list[ParameterGroup]:
            groups = super().parameter_groups()
            groups[0]["lr_scale"] = 0.0
            return groups

    rates: list[list[float]] = []

    class Watch(Observer):
        def step(self, task: Task, epoch: int, loss: Tensor, lr: float) -> None:
            rates.append([lr])

    method, task = Grouped(), make_tasks([2])[0]
    method.grow(task)
    body = {name: p.detach().clone() for name, p in method.backbone.named_parameters()}
    head = method.heads[0].weight.detach().clone()
    train_task(method, task, stream(task), RECIPE, Watch())
    assert all(torch.equal(p, body[name]) for name, p in method.backbone.named_parameters())
    assert not torch.equal(method.heads[0].weight, head)
    assert len(rates) == 6


def test_recipe_overrides_the_multiplier_by_name() -> None:
    method = Recording()
    method.grow(make_tasks([2])[0])
    optimizer = make_optimizer(method, replace(RECIPE, lr_scales={"heads": 5.0}))
    assert optimizer is not None
    assert [group["lr_scale"] for group in optimizer.param_groups] == [1.0, 5.0]


def test_method_without_parameters_is_not_trained() -> None:
    class Still(Recording):
        def parameter_groups(self) -> list[ParameterGroup]:
            return []

    method, task = Still(), make_tasks([2])[0]
    method.grow(task)
    record = train_task(method, task, stream(task), RECIPE)
    assert method.calls == ["begin_task train=False", "end_task train=False"]
    assert record.losses == []
    assert record.trainable == 0


def test_clipping_bounds_the_step() -> None:
    method, task = Recording(), make_tasks([2])[0]
    method.grow(task)
    before = [p.detach().clone() for p in method.parameters()]
    recipe = Recipe("sgd", lr=1.0, epochs=1, batch_size=16, momentum=0.0, clip_norm=1e-3)
    train_task(method, task, stream(task, count=4), recipe)
    moved = sum(
        float((p.detach() - b).square().sum())
        for p, b in zip(method.parameters(), before, strict=True)
    )
    assert moved**0.5 == pytest.approx(1e-3, rel=1e-3)


def test_settings_report_every_fault() -> None:
    from dataclasses import dataclass

    @dataclass(frozen=True)
    class Config(MethodConfig):
        rank: int = setting(10, "rank", low=1)
        kind: str = setting("a", "kind", choices=("a", "b"))
        rate: float = setting(0.5, "rate", low=0.0, high=1.0)

    assert Config(rate=1).rate == 1
    with pytest.raises(ValueError, match=r"rank must be at least 1.*kind must be one of.*rate"):
        Config(rank=0, kind="c", rate=2.0)
    with pytest.raises(ValueError, match="rank must be int"):
        Config(rank=1.5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rank must be int"):
        Config(rank=True)


# -- learning rates ---------------------------------------------------------------------------


def test_late_cosine_starts_late_and_stays_above_zero() -> None:
    recipe = Recipe(lr=1.0, epochs=50)
    rates = [learning_rate(recipe, epoch) for epoch in range(50)]
    assert rates[0] == rates[1] == 1.0
    # one epoch later than lr cos(99 pi e / (200 (E - 1))), whose values at 10, 25 and 40 are known
    assert [round(rates[e + 1], 3) for e in (10, 25, 40)] == [0.95, 0.701, 0.297]
    assert rates[-1] == pytest.approx(math.cos(99 * math.pi * 48 / (200 * 49)))


def test_one_epoch_runs_at_the_base_rate() -> None:
    assert learning_rate(Recipe(lr=0.3, epochs=1), 0) == 0.3


def test_other_schedules() -> None:
    steps = Recipe(lr=1.0, epochs=4, schedule="multistep", milestones=(2, 3), gamma=0.1)
    assert [learning_rate(steps, e) for e in range(4)] == pytest.approx([1, 1, 0.1, 0.01])
    cosine = Recipe(lr=1.0, epochs=4, schedule="cosine")
    assert [learning_rate(cosine, e) for e in range(4)] == pytest.approx(
        [1, 0.8535534, 0.5, 0.1464466]
    )
    assert learning_rate(Recipe(lr=0.2, schedule="constant"), 7) == 0.2
