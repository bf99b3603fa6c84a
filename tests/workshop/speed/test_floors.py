"""Every hand-written floor is its method: same loss, same gradients, same steps, no more work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.engine.trainer import make_optimizer
from benchmark.method import Batch, Method, Task, TaskData
from benchmark.registry import METHODS
from benchmark.spec import Recipe
from benchmark.workshop.speed.floors import NoFloorError, floor_of
from benchmark.workshop.speed.floors.families import _Overlap
from benchmark.workshop.speed.floors.step import Floor, Network

SMALL = {"rank": 3, "align_samples": 4, "pool": 6, "top_k": 2, "length": 4, "general_length": 2}
KINDS = ("conv", "linear", "none")
MIXES = [(a, b) for a in KINDS for b in KINDS if (a, b) != ("none", "none")]
# Every method with its own settings, then the settings that change a step.
CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in sorted(set(METHODS.sources()) - {"ncm"})),
    *((name, {"pet": pet}) for name in ("lae", "lae_ties") for pet in ("adapter", "prefix")),
    *((name, {"msa": a, "mlp": b}) for name in ("lae_conv", "lae_conv_ties") for a, b in MIXES),
    ("lae_conv", {"kernel": 1, "dropout": 0.0, "blocks": 0}),
    ("lae", {"blocks": 0}),
    ("lae", {"offline": False}),
    ("lae", {"pet": "adapter", "blocks": 1}),
    ("c_lora", {"targets": "kv"}),
    ("c_lora", {"targets": "q"}),
    ("c_lora", {"penalty": 0.0}),
    ("inflora", {"blocks": 2, "projection": "two_sided"}),
    ("inflora_ca", {"fresh_norm": True}),
    ("slca", {"fresh_norm": False}),
    ("l2p", {"batch_vote": True}),
    ("l2p", {"pull": 0.0}),
    ("l2p_pp", {"key_loss": "gather", "key_weight": 0.5, "layers": (0, 2)}),
    ("dualprompt", {"key_loss": "cross", "key_weight": 0.1}),
    ("dualprompt", {"layers": (1, 2), "general_layers": (1, 0)}),
    ("coda_p", {"ortho_weight": 0.1}),
]
STEPS = 28  # the first of them differ in what follows the gradients
IDS = [" ".join([name, *(f"{k}={v}" for k, v in given.items())]) for name, given in CASES]


class Batches(TaskData):
    """Two fixed batches."""

    def __init__(self, task: Task, dtype: torch.dtype) -> None:
        labels = torch.arange(5) % len(task.classes) + task.classes.start
        self.images = torch.rand(2, 5, 3, 16, 16, dtype=dtype)
        self.all = [Batch(images, labels) for images in self.images]

    def batches(self, augment: bool) -> Iterator[Batch]:
        yield from self.all


def small_vit(**options: Any) -> VisionTransformer:
    torch.manual_seed(0)
    shape = {"img_size": 16, "patch_size": 4, "embed_dim": 16, "depth": 3, "num_heads": 2}
    vit = VisionTransformer(**{**shape, "num_classes": 0, **options}).eval()
    with torch.no_grad():  # biases and norms that are zero or one would hide what is left out
        for p in vit.parameters():
            p += 0.1 * torch.randn_like(p)
    return vit


def small_config(name: str, given: dict[str, Any]) -> Any:
    kind = METHODS.get(name).Config
    names = kind.__dataclass_fields__
    small = {key: value for key, value in SMALL.items() if key in names}
    if name in ("dualprompt", "coda_p"):
        small.pop("pool", None)
        small |= {"layers": (1, 2)}
    return kind(**{**small, **given})


def in_second_task(
    name: str, given: dict[str, Any], dtype: torch.dtype = torch.float64
) -> tuple[Method, Task, Batch]:
    """A method in the middle of its second task, every trained number away from its start."""
    vit = small_vit().to(dtype)
    kind = METHODS.get(name)
    method = kind(vit, small_config(name, given))
    tasks = [Task(0, 3, range(3)), Task(1, 3, range(3, 5))]
    tasks = tasks[:1] if kind.stream == "joint" else tasks
    for task in tasks:
        method.grow(task)
        method.to(dtype)
        data = Batches(task, dtype)
        method.eval()
        method.begin_task(task, data)
        stir(method)
        if task is not tasks[-1]:
            method.end_task(task, data)
    method.train()
    method.begin_epoch(tasks[-1], 10**6)
    return method, tasks[-1], data.all[0]


@torch.no_grad()
def stir(method: Method) -> None:
    for p in method.parameters():
        if p.requires_grad:
            p += 0.3 * torch.randn_like(p)


def gradients(method: Method, task: Task, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    method.zero_grad(set_to_none=True)
    torch.manual_seed(1)  # for dropout
    loss = method.loss(batch, task)
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in method.named_parameters() if p.grad is not None}


def floor_gradients(floor: Floor, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
    torch.manual_seed(1)
    loss = floor.loss(batch.images, batch.labels)
    loss.backward()
    return loss.detach(), {n: p.grad for n, p in floor.trained.items() if p.grad is not None}


@pytest.mark.parametrize(("name", "given"), CASES, ids=IDS)
def test_loss_and_gradients_are_the_methods(name: str, given: dict[str, Any]) -> None:
    method, task, batch = in_second_task(name, given)
    floor = floor_of(method, task)
    loss, wanted = gradients(method, task, batch)
    found_loss, found = floor_gradients(floor, batch)
    torch.testing.assert_close(found_loss, loss, rtol=1e-12, atol=0)
    trained = {n for n, p in method.named_parameters() if p.requires_grad}
    assert set(floor.trained) == trained
    assert set(found) == set(wanted)
    largest = max(float(g.abs().max()) for g in wanted.values())
    assert largest > 0
    for key, gradient in wanted.items():
        torch.testing.assert_close(found[key], gradient, rtol=1e-9, atol=1e-12 * largest, msg=key)
        if not (name == "l2p" and given.get("pull") == 0.0):
            assert float(gradient.abs().max()) > 0, key  # otherwise nothing is shown about it


@pytest.mark.parametrize(("name", "given"), CASES[:STEPS], ids=IDS[:STEPS])
def test_steps_are_the_methods(name: str, given: dict[str, Any]) -> None:
    method, task, batch = in_second_task(name, given)
    floor = floor_of(method, task)
    optimizer = make_optimizer(method, Recipe(lr=1e-4))
    assert optimizer is not None
    for seed in range(3):
        torch.manual_seed(seed)
        loss = method.loss(batch, task)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        method.after_step(task)
        torch.manual_seed(seed)
        torch.testing.assert_close(floor.step(batch.images, batch.labels), loss.detach())
    state = dict(method.named_parameters())
    for key, p in (floor.trained | floor.averaged).items():
        torch.testing.assert_close(p, state[key], rtol=0, atol=2e-8, msg=key)
    followed = {n for n in state if n.startswith("offline.")}
    moving = hasattr(method.config, "ema")
    assert set(floor.averaged) == (followed if moving else set())


@pytest.mark.parametrize(("name", "given"), CASES, ids=IDS)
def test_floor_has_no_operation_too_many(name: str, given: dict[str, Any]) -> None:
    """Matrix products and attention, counted: what the method spends is the upper limit."""
    method, task, batch = in_second_task(name, given)
    floor = floor_of(method, task)
    query = 0
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as spent:
            method.loss(batch, task).backward()
        with FlopCounterMode(display=False) as least:
            floor.loss(batch.images, batch.labels).backward()
        if method.frozen_features and name != "linear_probe":
            with FlopCounterMode(display=False) as asking:
                Network(method.backbone).query(batch.images)
            # Without `Batch.frozen` the method has made the query itself.
            query = asking.get_total_flops()
    assert 2 * query < least.get_total_flops() <= 1.001 * spent.get_total_flops()


def test_floor_leaves_the_method_alone() -> None:
    for name in ("sequential", "lae", "c_lora"):
        method, task, batch = in_second_task(name, {})
        before = {key: value.clone() for key, value in method.state_dict().items()}
        floor_of(method, task).step(batch.images, batch.labels)
        for key, value in method.state_dict().items():
            assert torch.equal(value, before[key]), key
        assert all(p.grad is None for p in method.parameters())


def test_network_is_the_backbone() -> None:
    for options in ({}, {"qkv_bias": False}, {"proj_bias": False}):
        vit = small_vit(**options)
        images = torch.rand(3, 3, 16, 16)
        torch.testing.assert_close(Network(vit).query(images), vit(images))


@pytest.mark.parametrize(
    "options",
    [
        {"reg_tokens": 2}, {"init_values": 0.1}, {"qk_norm": True}, {"global_pool": "avg"},
        {"pre_norm": True}, {"no_embed_class": True}, {"act_layer": nn.ReLU},
        {"act_layer": "quick_gelu"}, {"drop_path_rate": 0.5}, {"proj_drop_rate": 0.5},
        {"pos_embed": "none"}, {"dynamic_img_size": True},
        {"class_token": False, "global_pool": "avg"},
    ],
    ids=str,
)  # fmt: skip
def test_other_networks_have_no_floor(options: dict[str, Any]) -> None:
    kind = METHODS.get("sequential")
    method = kind(small_vit(**options), kind.Config())
    with pytest.raises(NoFloorError, match="plain ViT"):
        floor_of(method, Task(0, 1, range(3)))


def test_penalty_is_the_sum_of_squares_over_dense_products() -> None:
    past = torch.randn(2, 7, 7, dtype=torch.float64)
    up = torch.randn(2, 7, 3, dtype=torch.float64, requires_grad=True)
    down = torch.randn(2, 3, 7, dtype=torch.float64, requires_grad=True)
    dense = (past * (up @ down)).square().sum()
    least = _Overlap.apply(past.square(), up, down)
    torch.testing.assert_close(least, dense, rtol=1e-13, atol=0)
    wanted = torch.autograd.grad(3 * dense, (up, down))
    for found, gradient in zip(torch.autograd.grad(3 * least, (up, down)), wanted, strict=True):
        torch.testing.assert_close(found, gradient, rtol=1e-12, atol=1e-12)
