"""Drift of stored class means, estimated from the images of the current task."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from benchmark.method import TaskData

FLOOR = 1e-5  # added to every weight


def features_of(data: TaskData, features: Callable[[Tensor], Tensor]) -> Tensor:
    """Features [n, d], float64, of the task's plain images in their fixed order."""
    with torch.no_grad():
        found = [features(batch.images).double() for batch in data.batches(augment=False)]
    return torch.cat(found)


def mean_shift(means: Tensor, before: Tensor, after: Tensor, sigma: float) -> Tensor:
    """How far each stored mean has moved: [C, d], float64.

    The drift of the task's images, weighted by a Gaussian of their distance to the mean. Yu et al.,
    "Semantic Drift Compensation for Class-Incremental Learning", CVPR 2020, eq. 8 and 9; the floor
    is that of SSIAT, which makes it the mean drift where all images are far.

    Args:
        means: Stored class means [C, d].
        before: Features [n, d] of the task's images under the network before its training.
        after: Of the same images, in the same order, after it.
        sigma: Width of the Gaussian, in units of the features.
    """
    before, after = before.double(), after.double()
    distance = torch.cdist(means.double(), before, compute_mode="donot_use_mm_for_euclid_dist")
    weight = torch.exp(-distance.square() / (2 * sigma**2)) + FLOOR  # [C, n]
    return weight / weight.sum(dim=1, keepdim=True) @ (after - before)
