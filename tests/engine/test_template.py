"""Copies of methods are what making them anew would give, or are not made at all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from toy_runs import FITTING

from benchmark.engine.state import Builder, Snapshot
from benchmark.engine.template import NotCopyableError, Template
from benchmark.method import Method, Task
from benchmark.registry import METHODS

TASKS = [Task(i, 4, range(2 * i, 2 * i + 2)) for i in range(4)]


def builder(kind: type[Method], name: str) -> Builder:
    torch.manual_seed(0)
    vit = VisionTransformer(
        img_size=16, patch_size=8, embed_dim=64, depth=2, num_heads=1, num_classes=0
    )
    settings = kind.Config(**FITTING.get(name, {}))
    return Builder(kind, settings, vit, TASKS, 0, torch.device("cpu"))


def described(method: Method) -> dict[str, Any]:
    """All that can be compared of a method."""
    tensors = {**dict(method.named_parameters()), **dict(method.named_buffers())}
    return {
        "modules": [(name, type(module)) for name, module in method.named_modules()],
        "plain": {n: v for n, v in vars(method).items() if isinstance(v, str | int | float | bool)},
        "kinds": {n: (type(t), t.dtype, t.shape, t.requires_grad) for n, t in tensors.items()},
        "bits": {n: t.detach().clone() for n, t in tensors.items()},
    }


@pytest.mark.parametrize("name", METHODS.names())
def test_a_copy_is_what_is_made_anew(name: str) -> None:
    kind = METHODS.get(name)
    copying, making = builder(kind, name), builder(kind, name)
    making._copyable = False
    copying.build()
    for finished in (0, 1, 1, 3, 4):
        copy, made = copying.build(finished=finished), making.build(finished=finished)
        assert copying._template is not None, "not copyable"
        assert copy.config is copying.settings
        first, second = described(copy), described(made)
        assert all(torch.equal(t, second["bits"][n]) for n, t in first.pop("bits").items())
        second.pop("bits")
        assert first == second
        assert Snapshot(copying.pretrained()).shows(making.pretrained())
        for tensor in (*copy.parameters(), *copy.buffers()):
            tensor.data.fill_(7)  # reaches no other copy
    assert not any((t == 7).all() for t in copying.build(finished=4).parameters() if t.numel() > 9)


class Own:
    pass


class Quiet(nn.Linear):
    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "kept": None}


def with_(**parts: Any) -> nn.Module:
    module = nn.Linear(2, 2)
    for name, part in parts.items():
        setattr(module, name, part)
    return module


def tied() -> nn.Module:
    module = nn.Linear(2, 2)
    module.register_buffer("part", module.weight.detach()[0])
    return module


def hooked() -> nn.Module:
    module = nn.Linear(2, 2)
    module.register_forward_hook(lambda *given: module.weight)
    return module


@pytest.mark.parametrize(
    "make",
    [
        hooked,
        tied,
        lambda: Quiet(2, 2),
        lambda: with_(mark=object()),
        lambda: with_(own=[Own()]),
        lambda: with_(lock=threading.Lock()),
        lambda: with_(result=nn.Linear(2, 2)(torch.ones(2))),
        lambda: with_(random=torch.Generator()),
    ],
    ids=["hook", "tied", "quiet", "mark", "own", "lock", "result", "generator"],
)
def test_what_a_copy_might_change_is_refused(make: Callable[[], nn.Module]) -> None:
    with pytest.raises(NotCopyableError):
        Template(make(), (), ())


def test_copies_share_what_is_shared_and_one_tensor_stays_one() -> None:
    shared = Own()
    module = with_(shared=shared)
    module.twice = [module.weight, module.weight]  # type: ignore[assignment]
    copy, marked = Template(module, (shared,), (module.weight, None, torch.ones(1))).copy()
    assert copy.shared is shared
    assert copy.twice[0] is copy.twice[1] is copy.weight is marked[0]  # type: ignore[index]
    assert marked[1:] == [None, None]


def test_a_method_that_cannot_be_copied_is_made_each_time() -> None:
    class Hooked(METHODS.get("linear_probe")):  # type: ignore[misc]
        def __init__(self, backbone: VisionTransformer, config: Any) -> None:
            super().__init__(backbone, config)
            self.calls = 0
            backbone.register_forward_hook(lambda *given: self.count())

        def count(self) -> None:
            self.calls += 1

    making = builder(Hooked, "linear_probe")
    first, second = making.build(finished=2), making.build(finished=2)
    images: Tensor = torch.zeros(1, 3, 16, 16)
    with torch.no_grad():
        first.backbone(images)
    assert (first.calls, second.calls) == (1, 0)
