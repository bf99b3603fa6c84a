"""Cases of the convolutional adapter alone: a branch around a linear layer, and its gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.peft.adapters import ConvAdapter
from benchmark.workshop.replay.case import Case
from benchmark.workshop.replay.compare import Comparison, Line
from benchmark.workshop.replay.pretrained import as_tensor
from benchmark.workshop.replay.run import kind

OURS = "conv2d_adapter"
INPUTS = ("input", "wrapped_linear.weight", "wrapped_linear.bias")


@kind("conv_adapter", lambda case: OURS in case.meta.values)
def conv_adapter(case: Case, tolerance: float) -> list[Line]:
    """Apply our adapter in evaluation mode to the recorded tokens; lines for all arrays."""
    comparison = Comparison(case.arrays, tolerance)
    for name in case.arrays:
        if not name.startswith((OURS, *INPUTS)):
            comparison.leave(name, f"{name.partition('/')[0]} is no part of this suite")
    adapter = _adapter(case)
    _check_start(comparison, adapter)
    _fill(case, adapter)
    _check_outputs(case, comparison, adapter)
    _check_inputs(comparison, adapter)
    return comparison.lines()


def _adapter(case: Case) -> ConvAdapter:
    bottleneck, width = case.array(f"{OURS}/param/down.weight", None, None).shape
    taps = case.array(f"{OURS}/param/conv.weight", bottleneck, bottleneck, None, None)
    return ConvAdapter(width, bottleneck, taps.shape[-1]).double().eval()


def _recorded_name(name: str) -> str:
    return "scale.scale" if name == "scale" else name


def _check_start(comparison: Comparison, fresh: ConvAdapter) -> None:
    """The deterministic starting values; the down-projection's weight is random."""
    for name, p in fresh.named_parameters():
        recorded = f"{OURS}/official_init/{_recorded_name(name)}"
        if recorded in comparison.arrays and name != "down.weight":
            comparison.check(recorded, p)


@torch.no_grad()
def _fill(case: Case, adapter: ConvAdapter) -> None:
    for name, p in adapter.named_parameters():
        p.copy_(as_tensor(case.array(f"{OURS}/param/{_recorded_name(name)}", *p.shape)))


def _check_outputs(case: Case, comparison: Comparison, adapter: ConvAdapter) -> None:
    width = adapter.down.in_features
    x = as_tensor(case.array("input", None, None, width)).requires_grad_()
    weight = as_tensor(case.array("wrapped_linear.weight", None, width))
    bias = as_tensor(case.array("wrapped_linear.bias", len(weight)))

    def wrapped(tokens: Tensor) -> Tensor:
        return F.linear(tokens, weight, bias)

    comparison.check(f"{OURS}/layer_output", adapter(x))
    # "parallel" is how the suite uses it; the other two places put the same branch elsewhere.
    outputs = {
        "parallel": wrapped(x) + adapter(x),
        "before": wrapped(x + adapter(x)),
        "after": x + adapter(wrapped(x)),
    }
    for place, output in outputs.items():
        comparison.check(f"{OURS}/output_{place}", output)
        (gradient,) = torch.autograd.grad(output.square().sum(), x)
        comparison.check(f"{OURS}/grad_input_of_sum_sq_{place}", gradient)


def _check_inputs(comparison: Comparison, adapter: nn.Module) -> None:
    """An input is wrong if no output comes out right; a single wrong one is its own fault."""
    of_whole, of_branch = [np.inf], [np.inf]
    for line in comparison.lines():
        if line.error is not None and line.name.startswith((f"{OURS}/output", f"{OURS}/grad")):
            of_whole.append(line.error)
        elif line.error is not None and line.name == f"{OURS}/layer_output":
            of_branch.append(line.error)
    note = "input: as the outputs show it"
    for name, _ in adapter.named_parameters():
        recorded = f"{OURS}/param/{_recorded_name(name)}"
        comparison.report(recorded, min(of_branch + of_whole), note)
    for name in INPUTS:
        comparison.report(name, min(of_whole), note)
