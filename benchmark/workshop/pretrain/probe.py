"""Scores frozen features by a linear probe, the nearest class mean and the nearest neighbour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmark.workshop.pretrain.images import UpstreamError, UpstreamImages

NAMES = 100
CURVE_IMAGES = 10_000
LINEAR_PROBE, NEAREST_NEIGHBOUR = "upstream linear probe", "upstream nearest neighbour"
WEIGHT_DECAYS = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)


@dataclass(frozen=True)
class ProbeScores:
    """Accuracies in percent on the test split, and what they were got with.

    Few effective dimensions are a warning: a linear probe scales every dimension and can still
    read them, but methods that train for a few steps, and distances, see the large ones alone.
    """

    linear_probe: float
    nearest_class_mean: float
    nearest_neighbour: float
    weight_decay: float  # of the linear probe
    effective_dimensions: float  # of the features, at most their width


class Split(NamedTuple):
    """Images uint8 [N, H, W, 3] or their features [N, D], and labels int64 [N] from 0 on."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor


def probe_backbone(
    model: nn.Module,
    train: tuple[NDArray[np.uint8], NDArray[np.int64]],
    test: tuple[NDArray[np.uint8], NDArray[np.int64]],
) -> ProbeScores:
    """Return the scores of a backbone on images uint8 [N, H, W, 3] and labels int64 [N]."""
    # Copies, because data sets may hand out arrays that are not to be written to.
    images, test_images = (extract_features(model, torch.tensor(part[0])) for part in (train, test))
    features = Split(images, torch.tensor(train[1]), test_images, torch.tensor(test[1]))
    linear, decay = linear_probe(features)
    return ProbeScores(
        linear_probe=linear,
        nearest_class_mean=nearest_class_mean(features),
        nearest_neighbour=nearest_neighbour(features),
        weight_decay=decay,
        effective_dimensions=effective_dimensions(features.train),
    )


def curve_split(upstream: UpstreamImages, names: int = NAMES) -> Split:
    """Return images of the words with most training images, among those to validate on.

    Images of one of these words alone, `CURVE_IMAGES` of them at most for training. No image of a
    downstream data set is among them.
    """
    labels = upstream.train_labels
    counts = np.bincount(labels[labels >= 0], minlength=len(upstream.classes))
    counts[np.setdiff1d(np.arange(len(counts)), upstream.val_labels)] = 0
    if not counts.any():
        raise UpstreamError("no word has both training and validation images to score")
    # Stable, so that names of equal count are taken in their order.
    chosen = np.argsort(-counts, kind="stable")[: min(names, int((counts > 0).sum()))]
    position = np.full(len(counts), -1)
    position[chosen] = np.arange(len(chosen))
    parts = []
    for images, labels in (
        (upstream.train_images, upstream.train_labels),
        (upstream.val_images, upstream.val_labels),
    ):
        known = (labels >= 0) & (position[labels] >= 0)
        kept = np.flatnonzero(known.sum(axis=1) == 1)
        kept = kept[:: max(1, len(kept) // CURVE_IMAGES)]
        word = position[labels[kept]][known[kept]]
        parts += [torch.from_numpy(images[kept]), torch.from_numpy(word)]
    return Split(*parts)


@torch.no_grad()
def measure_features(
    features: Callable[[Tensor], Tensor], images: Split, batch_size: int = 256
) -> dict[str, float]:
    """Return two accuracies in percent on the validation images; `features` maps uint8 images."""
    train, val = (
        torch.cat([features(chunk) for chunk in torch.split(part, batch_size)])
        for part in (images.train, images.test)
    )
    split = images._replace(train=train, test=val)
    with torch.enable_grad():
        linear, _ = linear_probe(split, weight_decays=(1e-3, 1e-2))
    return {LINEAR_PROBE: linear, NEAREST_NEIGHBOUR: nearest_neighbour(split)}


@torch.no_grad()
def extract_features(model: nn.Module, images: Tensor, batch_size: int = 512) -> Tensor:
    """Return a model's outputs, float32 [N, D], for uint8 images [N, H, W, 3], in eval mode."""
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    chunks = [
        model(chunk.to(device).permute(0, 3, 1, 2).float() / 255.0).float().cpu()
        for chunk in torch.split(images, batch_size)
    ]
    model.train(training)
    return torch.cat(chunks)


def effective_dimensions(features: Tensor) -> float:
    """Return exp(-sum_i p_i log p_i) of features [N, D].

    p are the eigenvalues of their covariance, divided by their sum. The result lies between 1 (all
    on a line) and D (the same variance in all directions).
    """
    variances = torch.linalg.eigvalsh(torch.cov(features.double().T)).clamp(min=0.0)
    shares = variances / variances.sum()
    return float(torch.special.entr(shares).sum().exp())


def linear_probe(
    split: Split, weight_decays: Sequence[float] = WEIGHT_DECAYS
) -> tuple[float, float]:
    """Return the accuracy of a linear classifier on features [N, D], and its weight decay.

    The weight decay is chosen on a fifth of the training split, never on the test split.
    """
    mean, std = split.train.mean(dim=0), split.train.std(dim=0).clamp(min=1e-6)
    train, test = (split.train - mean) / std, (split.test - mean) / std
    labels, held_out = split.train_labels, _every_fifth_of_each_class(split.train_labels)
    classes = int(labels.max()) + 1

    def held_out_accuracy(decay: float) -> float:
        weight, bias = _fit(train[~held_out], labels[~held_out], classes, decay)
        return _accuracy(train[held_out] @ weight.T + bias, labels[held_out])

    best = max(weight_decays, key=held_out_accuracy)
    weight, bias = _fit(train, labels, classes, best)
    return _accuracy(test @ weight.T + bias, split.test_labels), best


def nearest_class_mean(split: Split) -> float:
    """Return the accuracy of the class whose mean unit feature has the largest cosine."""
    unit = F.normalize(split.train, dim=1)
    classes = int(split.train_labels.max()) + 1
    sums = torch.zeros(classes, unit.shape[1]).index_add_(0, split.train_labels, unit)
    return _accuracy(split.test @ F.normalize(sums, dim=1).T, split.test_labels)


def nearest_neighbour(split: Split) -> float:
    """Return the accuracy of the label of the training feature with the largest cosine."""
    similarity = split.test @ F.normalize(split.train, dim=1).T
    nearest = split.train_labels[similarity.argmax(dim=1)]
    return 100.0 * float((nearest == split.test_labels).double().mean())


def _fit(features: Tensor, labels: Tensor, classes: int, decay: float) -> tuple[Tensor, Tensor]:
    """Return weight [C, D] and bias [C] of least cross-entropy plus decay / 2 * |weight|^2."""
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=200, history_size=20, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        solver.zero_grad()
        loss = F.cross_entropy(features @ weight.T + bias, labels)
        loss = loss + 0.5 * decay * weight.square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return weight.detach(), bias.detach()


def _accuracy(scores: Tensor, labels: Tensor) -> float:
    """Return the share, in percent, of rows of scores [N, C] whose largest entry is the label."""
    return 100.0 * float((scores.argmax(dim=1) == labels).double().mean())


def _every_fifth_of_each_class(labels: Tensor) -> Tensor:
    """Return a bool mask [N] of every fifth example of each class, so that no class is left out."""
    mask = torch.zeros(len(labels), dtype=torch.bool)
    for label in torch.unique(labels):
        mask[(labels == label).nonzero().flatten()[2::5]] = True
    return mask
