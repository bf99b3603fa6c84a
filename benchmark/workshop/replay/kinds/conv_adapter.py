"""Cases of the convolutional adapter alone: a branch around a linear layer, and its gradients."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.peft.adapters import ConvAdapter
from benchmark.workshop.replay.case import RecordedCase
from benchmark.workshop.replay.compare import ArrayResult, CaseComparison
from benchmark.workshop.replay.run import kind
from benchmark.workshop.replay.world import as_tensor

OURS = "conv2d_adapter"
OUTPUTS = (f"{OURS}/output", f"{OURS}/grad")
INPUTS = ("input", "wrapped_linear.weight", "wrapped_linear.bias")


@kind("conv_adapter", lambda case: OURS in case.meta)
def conv_adapter(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """Apply our adapter in evaluation mode to the recorded tokens."""
    comparison = CaseComparison(case.arrays, tolerance)
    for name in case.arrays:
        if not name.startswith((OURS, *INPUTS)):
            comparison.leave(name, f"{name.partition('/')[0]} is not part of this suite")
    bottleneck, width = case.array(f"{OURS}/param/down.weight", None, None).shape
    taps = case.array(f"{OURS}/param/conv.weight", bottleneck, bottleneck, None, None)
    adapter = ConvAdapter(width, bottleneck, taps.shape[-1]).double().eval()
    with torch.no_grad():
        for name, p in adapter.named_parameters():
            start = f"{OURS}/official_init/{_recorded_name(name)}"
            if start in case.arrays and name != "down.weight":  # whose start is random
                comparison.check(start, p)
            p.copy_(as_tensor(case.array(f"{OURS}/param/{_recorded_name(name)}", *p.shape)))
    _check_outputs(case, comparison, adapter)
    _check_inputs(comparison, adapter)
    return comparison.results()


def _recorded_name(name: str) -> str:
    return "scale.scale" if name == "scale" else name


def _check_outputs(case: RecordedCase, comparison: CaseComparison, adapter: ConvAdapter) -> None:
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


def _check_inputs(comparison: CaseComparison, adapter: nn.Module) -> None:
    """Report the inputs: wrong if no output comes out right; a wrong output is its own fault."""
    outputs = [name for name in comparison.arrays if name.startswith(OUTPUTS)]
    whole = [np.inf, *comparison.errors(outputs)]
    branch = [*whole, *comparison.errors([f"{OURS}/layer_output"])]
    note = "input: as the outputs show it"
    for name, _ in adapter.named_parameters():
        comparison.report(f"{OURS}/param/{_recorded_name(name)}", min(branch), note)
    for name in INPUTS:
        comparison.report(name, min(whole), note)
