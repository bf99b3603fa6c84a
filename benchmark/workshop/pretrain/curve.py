"""Scores frozen features during a pre-training, on upstream names alone: the probe curve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from benchmark.workshop.pretrain.probe import linear_probe, nearest_neighbour
from benchmark.workshop.pretrain.upstream import UpstreamError, UpstreamImages

NAMES = 100
LINEAR_PROBE, NEAREST_NEIGHBOUR = "upstream linear probe", "upstream nearest neighbour"


@dataclass(frozen=True)
class CurveSplit:
    """Training and validation images uint8 [N, H, W, 3] and labels int64 [N] from 0 on."""

    train_images: Tensor
    train_labels: Tensor
    val_images: Tensor
    val_labels: Tensor


def curve_split(upstream: UpstreamImages, names: int = NAMES) -> CurveSplit:
    """Gives the images of the names with most training images, among those to validate on.

    No image and no label of a downstream data set is among them.
    """
    counts = np.bincount(upstream.train_labels, minlength=len(upstream.classes))
    counts[np.setdiff1d(np.arange(len(counts)), upstream.val_labels)] = 0
    if not counts.any():
        raise UpstreamError("no name has both training and validation images to score")
    # Stable, so that names of equal count are taken in their order.
    chosen = np.argsort(-counts, kind="stable")[: min(names, int((counts > 0).sum()))]
    position = np.full(len(counts), -1)
    position[chosen] = np.arange(len(chosen))
    parts = []
    for images, labels in (
        (upstream.train_images, upstream.train_labels),
        (upstream.val_images, upstream.val_labels),
    ):
        kept = position[labels] >= 0
        parts += [torch.from_numpy(images[kept]), torch.from_numpy(position[labels[kept]])]
    return CurveSplit(*parts)


def measure_features(
    features: Callable[[Tensor], Tensor], split: CurveSplit, batch_size: int = 256
) -> dict[str, float]:
    """Gives two accuracies in per cent on the validation images; `features` maps uint8 images."""
    with torch.no_grad():
        train, val = (
            torch.cat([features(part) for part in torch.split(images, batch_size)])
            for images in (split.train_images, split.val_images)
        )
    pairs = (train, split.train_labels, val, split.val_labels)
    return {
        LINEAR_PROBE: linear_probe(*pairs, weight_decays=(1e-3, 1e-2))[0],
        NEAREST_NEIGHBOUR: nearest_neighbour(*pairs),
    }
