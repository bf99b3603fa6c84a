"""Gradients of a batch from its chunks, by several threads, to the same bits for any number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch
from torch import Tensor

Loss = Callable[[], Tensor]


@contextmanager
def workers(count: int) -> Iterator[ThreadPoolExecutor]:
    """Gives a pool of threads that compute on one core each.

    Threads that share every operation wait for the slowest core at each of them; on a machine
    that others use too, whole chunks handed to whichever thread is free are several times faster.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield pool
    finally:
        torch.set_num_threads(before)


def accumulate(
    pool: ThreadPoolExecutor, losses: Sequence[Loss], parameters: Sequence[Tensor]
) -> float:
    """Sets each parameter's gradient of the sum of the losses, and gives that sum.

    The losses are computed in several threads: they may not touch the global random state. Their
    gradients are added in the order given, whichever was done first.
    """

    def gradients(loss_of: Loss) -> tuple[float, tuple[Tensor, ...]]:
        loss = loss_of()
        return loss.item(), torch.autograd.grad(loss, parameters)

    total = 0.0
    for loss, parts in pool.map(gradients, losses):
        total += loss
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part if parameter.grad is None else parameter.grad.add_(part)
    return total
