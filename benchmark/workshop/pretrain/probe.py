"""Scores frozen features by a linear probe, the nearest class mean and the nearest neighbour."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmark.workshop.pretrain.images import UpstreamError, UpstreamImages

NAMES = 100
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


def probe_backbone(
    model: nn.Module,
    train: tuple[NDArray[np.uint8], NDArray[np.int64]],
    test: tuple[NDArray[np.uint8], NDArray[np.int64]],
) -> ProbeScores:
    """Return the scores of a backbone on images uint8 [N, H, W, 3] and labels int64 [N]."""
    # Copies, because data sets may hand out arrays that are not to be written to.
    train_features = extract_features(model, torch.tensor(train[0]))
    test_features = extract_features(model, torch.tensor(test[0]))
    train_labels, test_labels = torch.tensor(train[1]), torch.tensor(test[1])
    pairs = (train_features, train_labels, test_features, test_labels)
    linear, decay = linear_probe(*pairs)
    return ProbeScores(
        linear_probe=linear,
        nearest_class_mean=nearest_class_mean(*pairs),
        nearest_neighbour=nearest_neighbour(*pairs),
        weight_decay=decay,
        effective_dimensions=effective_dimensions(train_features),
    )


@dataclass(frozen=True)
class CurveSplit:
    """Training and validation images uint8 [N, H, W, 3] and labels int64 [N] from 0 on."""

    train_images: Tensor
    train_labels: Tensor
    val_images: Tensor
    val_labels: Tensor


def curve_split(upstream: UpstreamImages, names: int = NAMES) -> CurveSplit:
    """Return the images of the names with most training images, among those to validate on.

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
    """Return two accuracies in percent on the validation images; `features` maps uint8 images."""
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
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    weight_decays: Sequence[float] = WEIGHT_DECAYS,
) -> tuple[float, float]:
    """Return the accuracy of a linear classifier on features [N, D], and its weight decay.

    The weight decay is chosen on a fifth of the training split, never on the test split.
    """
    mean, std = train_features.mean(dim=0), train_features.std(dim=0).clamp(min=1e-6)
    train_scaled, test_scaled = (train_features - mean) / std, (test_features - mean) / std
    held_out = _every_fifth_of_each_class(train_labels)
    fit_features, fit_labels = train_scaled[~held_out], train_labels[~held_out]
    classes = int(train_labels.max()) + 1

    def held_out_accuracy(decay: float) -> float:
        weight, bias = _fit(fit_features, fit_labels, classes, decay)
        return _accuracy(train_scaled[held_out] @ weight.T + bias, train_labels[held_out])

    best = max(weight_decays, key=held_out_accuracy)
    weight, bias = _fit(train_scaled, train_labels, classes, best)
    return _accuracy(test_scaled @ weight.T + bias, test_labels), best


def nearest_class_mean(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor
) -> float:
    """Return the accuracy of the class whose mean unit feature has the largest cosine."""
    unit = F.normalize(train_features, dim=1)
    classes = int(train_labels.max()) + 1
    sums = torch.zeros(classes, unit.shape[1]).index_add_(0, train_labels, unit)
    return _accuracy(test_features @ F.normalize(sums, dim=1).T, test_labels)


def nearest_neighbour(
    train_features: Tensor, train_labels: Tensor, test_features: Tensor, test_labels: Tensor
) -> float:
    """Return the accuracy of the label of the training feature with the largest cosine."""
    similarity = test_features @ F.normalize(train_features, dim=1).T
    nearest = train_labels[similarity.argmax(dim=1)]
    return 100.0 * float((nearest == test_labels).double().mean())


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
