"""What a run costs: floating-point operations per image and peak memory."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmark.method import Batch, Method, Task


def flops_per_image(method: Method, batch: Batch, task: Task, query: float) -> dict[str, float]:
    """Operations of a training step and of a prediction, per image (a multiply-add counts two).

    query: operations of the frozen forward pass, added where the method reads frozen features.
    """
    extra = query if method.frozen_features else 0.0
    arguments = (batch.images,) if batch.frozen is None else (batch.images, batch.frozen)
    # The plain attention formula: fused kernels are not counted on every device.
    with sdpa_kernel(SDPBackend.MATH):
        with FlopCounterMode(display=False) as predicting, torch.no_grad():
            method.predict(*arguments)
        count = len(batch.labels)
        flops = {"train": 0.0, "predict": predicting.get_total_flops() / count + extra}
        if method.parameter_groups():
            with FlopCounterMode(display=False) as training:
                method.loss(batch, task).backward()
            method.zero_grad(set_to_none=True)
            flops["train"] = training.get_total_flops() / count + extra
    return flops


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
    """Start measuring peak memory anew (on Linux also for the process itself)."""
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
