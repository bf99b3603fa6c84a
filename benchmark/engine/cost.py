"""What a run costs: floating-point operations per image and peak memory; this machine's speed."""

from __future__ import annotations

import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.engine import hooks
from benchmark.method import Batch, Method, Task
from benchmark.results.schema import Stored

SAMPLE = 4  # images whose operations are counted


def train_flops(method: Method, batch: Batch, task: Task, query: float, batch_size: int) -> float:
    """Operations of a training step per image (a multiply-add counts two).

    query: operations of the frozen forward pass, a part where the method reads frozen features, as
    a user pays for it. What a step does whatever its number of images, such as a penalty on
    weights, is shared out among the `batch_size` images of a step. Buffers and random streams are
    left as they were.

    Not counted, since no step has it: passes of `begin_task` and `end_task`, alignment of heads,
    optimizer and averages. Kernels that torch has no formula for (norms, activations, softmax)
    count nothing, matrix products and convolutions all.
    """
    if not hooks.parameter_groups(method):
        return 0.0
    whole, half = _first(batch, len(batch.labels)), _first(batch, len(batch.labels) // 2)
    count = len(whole.labels)
    with sdpa_kernel(SDPBackend.MATH), _left_alone(method):
        step = _step_flops(method, whole, task)
        each = step / count
        if len(half.labels):
            each = (step - _step_flops(method, half, task)) / (count - len(half.labels))
    fixed = step - count * each
    return each + fixed / batch_size + (query if method.frozen_features else 0.0)


def predict_flops(method: Method, batch: Batch, query: float) -> float:
    """Operations of a prediction per image; see `train_flops`.

    That the runner keeps the frozen features of test images is its own affair.
    """
    images = () if batch.frozen is None else (batch.frozen,)
    # The plain attention formula: fused kernels are not counted on every device.
    with (
        sdpa_kernel(SDPBackend.MATH),
        _left_alone(method),
        FlopCounterMode(display=False) as predicting,
        torch.no_grad(),
    ):
        hooks.predict(method, batch.images, *images)
    extra = query if method.frozen_features else 0.0
    return float(predicting.get_total_flops()) / len(batch.labels) + extra


@contextmanager
def _left_alone(method: Method) -> Iterator[None]:
    """Put buffers and random streams back, and drop gradients: what is counted moves no number."""
    buffers = [(buffer, buffer.clone()) for buffer in method.buffers()]
    drawn, drawn_by_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(drawn)
        np.random.set_state(drawn_by_numpy)
        method.zero_grad(set_to_none=True)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


def _first(batch: Batch, count: int) -> Batch:
    frozen = None if batch.frozen is None else batch.frozen[:count]
    return Batch(batch.images[:count], batch.labels[:count], frozen)


def _step_flops(method: Method, batch: Batch, task: Task) -> float:
    """Operations of a forward and backward pass of all images of a batch."""
    with FlopCounterMode(display=False) as training:
        hooks.loss(method, batch, task).backward()
    return float(training.get_total_flops())


def stored(method: Method) -> Stored:
    """What a method holds, under the names of `Method.kept`.

    Parameters beside backbone and heads are as many as there are in memory; `expanded_parameters`
    may count as a paper does. Statistics are what `Method.statistics` counts.
    """
    parameters = Counter({"backbone": 0, "heads": 0})
    for path, parameter in method.named_parameters():
        root = path.partition(".")[0]
        kind = root if root in ("backbone", "heads") else _kind(method, path)
        parameters[kind] += parameter.numel()
    statistics: Counter[str] = Counter()
    for path, count in method.named_statistics():
        if count:
            statistics[_kind(method, path)] += count
    return {"parameters": dict(parameters), "statistics": dict(statistics)}


def _kind(method: Method, path: str) -> str:
    """The name a method declares for an attribute, else "other"."""
    for prefix, kind in type(method).kept.items():
        if f"{path}.".startswith(f"{prefix}."):
            return kind
    return "other"


def forward_flops(model: torch.nn.Module, images: torch.Tensor) -> float:
    """Operations per image of one plain forward pass."""
    with (
        sdpa_kernel(SDPBackend.MATH),
        FlopCounterMode(display=False) as counter,
        torch.no_grad(),
    ):
        model(images)
    return float(counter.get_total_flops()) / len(images)


def reset_peak_memory(device: torch.device) -> None:
    """Reset the measured peak memory (on Linux also that of the process itself)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return  # elsewhere the peak is that of the whole process


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in MB since the last reset: of the GPU, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 1024
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def matrix_peak(device: torch.device, precision: str, size: int = 1024) -> float:
    """Operations per second of a large matrix product: what this machine can do at best.

    The best of three to ten repetitions, within a second where three take no longer.
    """
    kind = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.randn(size, size, device=device, dtype=kind) for _ in range(2))
    times: list[float] = []
    while len(times) < 3 or (len(times) < 10 and sum(times) < 1):
        _finish(device)
        started = time.perf_counter()
        torch.mm(a, b)
        _finish(device)
        times.append(time.perf_counter() - started)
    return 2 * size**3 / min(times)


def _finish(device: torch.device) -> None:
    """Wait for the work that was started on a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
