"""A training step that a floor consists of: loss, backward, Adam, moving average."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.method import Method, Task
from benchmark.workshop.speed.floors.vit import Network

# Images [B, 3, H, W] -> features [B, d] for the head, and what is added to the cross-entropy.
Features = Callable[[Tensor], tuple[Tensor, Tensor | None]]


class Start:
    """Where a floor starts from: a method's tensors by name, its settings, the task in training.

    `start[name]` is a tensor of the method: a copy, if it is trained, otherwise the tensor itself,
    which no floor writes to. `start.net` is the backbone, made of such tensors.
    """

    def __init__(self, method: Method, task: Task) -> None:
        self.config: Any = method.config
        self.task = task
        self.trained: dict[str, Tensor] = {}
        self._tensors: dict[str, Tensor] = dict(method.named_buffers())
        for name, p in method.named_parameters():
            self._tensors[name] = p.detach()
            if p.requires_grad:
                self._tensors[name] = self.trained[name] = p.detach().clone().requires_grad_()
        start = "backbone."
        own = {n.removeprefix(start): t for n, t in self._tensors.items() if n.startswith(start)}
        self.net = Network(method.backbone, own)
        self.head = f"heads.{len(method.heads) - 1}"
        self.offline = any(name.startswith("offline.") for name in self._tensors)

    def __getitem__(self, name: str) -> Tensor:
        return self._tensors[name]

    def get(self, name: str) -> Tensor | None:
        """The tensor of this name, or None where the method has none."""
        return self._tensors.get(name)

    def count(self, name: str) -> int:
        """How many entries a list of the method has: `name.0`, `name.1`, ..."""
        numbers = (key.split(".") for key in self._tensors)
        return len({n[1] for n in numbers if n[0] == name and len(n) > 1})


class Floor:
    """One training step on a batch.

    trained: the tensors it trains, under the names of the method's. averaged: those that follow
    them, as copies, if there is a moving average.
    """

    def __init__(self, start: Start, features: Features, average: float | None = None) -> None:
        self.trained, self._features, self._decay = start.trained, features, average
        self._first = start.task.classes.start
        self._head = start[f"{start.head}.weight"], start[f"{start.head}.bias"]
        self._optimiser = torch.optim.Adam(self.trained.values(), lr=1e-4, fused=True)
        self.averaged: dict[str, Tensor] = {}
        self._followed: list[Tensor] = []
        if average is not None and start.offline:
            for name, p in self.trained.items():
                if name.startswith("online."):
                    offline = name.replace("online.", "offline.", 1)
                    self.averaged[offline] = start[offline].clone()
                    self._followed.append(p.detach())

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy over the task's classes, plus what the method adds."""
        features, extra = self._features(images)
        loss = F.cross_entropy(F.linear(features, *self._head), labels - self._first)
        return loss if extra is None else loss + extra

    def step(self, images: Tensor, labels: Tensor, autocast: Any = None) -> Tensor:
        """One step; gives the loss before it, detached, still on the device.

        autocast: context of the forward pass, for mixed precision.
        """
        with autocast or nullcontext():
            loss = self.loss(images, labels)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        if self._decay is not None and self.averaged:
            with torch.no_grad():
                torch._foreach_lerp_(list(self.averaged.values()), self._followed, 1 - self._decay)
        return loss.detach()


def plain_floor(start: Start) -> Floor:
    """Every weight of the backbone is trained."""
    return Floor(start, lambda images: (start.net.tokens(images)[:, 0], None))


def head_floor(start: Start) -> Floor:
    """Only a linear head, on frozen features."""
    return Floor(start, lambda images: (start.net.query(images), None))
