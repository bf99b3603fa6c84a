"""Scores frozen features by classifiers that are fitted to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from benchmark.seeds import generator
from benchmark.workshop.pretrain.images import UpstreamError, UpstreamImages

NAMES = 100
CURVE_IMAGES = 10_000
LINEAR_PROBE, NEAREST_NEIGHBOUR = "upstream linear probe", "upstream nearest neighbour"
WEIGHT_DECAYS = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
PENALTIES = tuple(10.0**power for power in range(-4, 6))  # of ridge regression


@dataclass(frozen=True)
class ProbeScores:
    """Accuracies in percent on the test split, and what they were got with.

    Few effective dimensions are a warning: a linear probe scales every dimension and can still
    read them, but methods that train for a few steps, and distances, see the large ones alone.
    """

    linear_probe: float
    ridge: float
    nearest_class_mean: float
    nearest_neighbour: float
    task_by_task: float  # linear heads, each fitted to the classes of one task
    pixel_neighbour: float  # of the images themselves, whatever the backbone
    weight_decay: float  # of the linear probe
    penalty: float  # of ridge regression
    effective_dimensions: float  # of the features, at most their width


@dataclass(frozen=True)
class TaskSettings:
    """How heads are fitted task by task: the plainest way a method could."""

    tasks: int = 10
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 3e-3
    seed: int = 0  # of the order of the classes and of the images


# A figure's name and its field of `ProbeScores`, in the order in which they are shown.
FIGURES = {
    "linear probe": "linear_probe",
    "ridge regression": "ridge",
    "nearest class mean": "nearest_class_mean",
    "nearest neighbour": "nearest_neighbour",
    "linear heads, task by task": "task_by_task",
    "nearest neighbour of pixels": "pixel_neighbour",
}


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
    raw = Split(*(torch.tensor(part) for part in (*train, *test)))
    features = raw._replace(
        train=extract_features(model, raw.train), test=extract_features(model, raw.test)
    )
    pixels = Split(*(part.flatten(1).float() / 255.0 if part.ndim > 1 else part for part in raw))
    linear, decay = linear_probe(features)
    squares, penalty = ridge(features)
    return ProbeScores(
        linear_probe=linear,
        ridge=squares,
        nearest_class_mean=nearest_class_mean(features),
        nearest_neighbour=nearest_neighbour(features),
        task_by_task=task_by_task(features),
        pixel_neighbour=nearest_pixels(pixels),
        weight_decay=decay,
        penalty=penalty,
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


def ridge(split: Split, penalties: Sequence[float] = PENALTIES) -> tuple[float, float]:
    """Return the accuracy of least squares to one-hot labels, and its penalty.

    W = argmin |X W - Y|^2 + penalty |W|^2 with centred X and Y; the penalty is chosen on a fifth
    of the training split, never on the test split.
    """
    held_out = _every_fifth_of_each_class(split.train_labels)
    part = Split(
        split.train[~held_out],
        split.train_labels[~held_out],
        split.train[held_out],
        split.train_labels[held_out],
    )
    best = max(penalties, key=lambda penalty: _ridge_accuracy(part, penalty))
    return _ridge_accuracy(split, best), best


def _ridge_accuracy(split: Split, penalty: float) -> float:
    train, test = split.train.double(), split.test.double()
    targets = F.one_hot(split.train_labels).double()
    mean, centred = train.mean(dim=0), targets - targets.mean(dim=0)
    train = train - mean
    squares = train.T @ train + penalty * torch.eye(train.shape[1], dtype=torch.float64)
    weight = torch.linalg.solve(squares, train.T @ centred)
    return _accuracy((test - mean) @ weight + targets.mean(dim=0), split.test_labels)


def task_by_task(split: Split, settings: TaskSettings = TaskSettings()) -> float:
    """Return the accuracy over all classes of heads that were fitted one task after another.

    Each head is trained by Adam, its rate along a cosine to zero, with the cross-entropy over the
    classes of its own task: no head is ever weighed against another.
    """
    classes = int(split.train_labels.max()) + 1
    order = torch.randperm(classes, generator=generator(settings.seed, "probe classes"))
    scores = split.test.new_zeros(len(split.test), classes)
    for task, own in enumerate(order.tensor_split(min(settings.tasks, classes))):
        chosen = torch.isin(split.train_labels, own)
        position = torch.full((classes,), -1).index_put((own,), torch.arange(len(own)))
        draws = generator(settings.seed, "probe images", task)
        targets = position[split.train_labels[chosen]]
        weight, bias = _fit_by_steps(split.train[chosen], targets, settings, draws)
        scores[:, own] = split.test @ weight.T + bias
    return _accuracy(scores, split.test_labels)


def _fit_by_steps(
    features: Tensor, labels: Tensor, settings: TaskSettings, draws: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return weight [C, D] and bias [C] after some epochs of small batches."""
    classes = int(labels.max()) + 1
    head = [torch.zeros(classes, features.shape[1]), torch.zeros(classes)]
    weight, bias = (part.requires_grad_() for part in head)
    optimizer = torch.optim.Adam([weight, bias], settings.learning_rate)
    batches = -(-len(labels) // settings.batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, settings.epochs * batches)
    for _ in range(settings.epochs):
        for batch in torch.randperm(len(labels), generator=draws).split(settings.batch_size):
            loss = F.cross_entropy(features[batch] @ weight.T + bias, labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return weight.detach(), bias.detach()


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


def nearest_pixels(split: Split, batch_size: int = 512) -> float:
    """Return the accuracy of the label of the training row at the least Euclidean distance."""
    nearest = [
        torch.cdist(rows, split.train).argmin(dim=1) for rows in split.test.split(batch_size)
    ]
    found = split.train_labels[torch.cat(nearest)]
    return 100.0 * float((found == split.test_labels).double().mean())


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
