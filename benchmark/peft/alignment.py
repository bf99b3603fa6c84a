"""Classifier alignment: heads retrained on samples from one feature Gaussian per class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.method import MethodConfig, TaskData, setting
from benchmark.peft import anatomy

RIDGE = 1e-4  # added to the diagonal of every covariance
OLDEST = 0.9  # lower limit of the factor on old class means
NORM_FLOOR = 1e-7  # added to the norm of a task's logits


@dataclass(frozen=True)
class AlignmentConfig(MethodConfig):
    """How heads are aligned; the defaults are those of both official codes."""

    align_epochs: int = setting(5, "epochs of the alignment after a task", low=0)
    align_samples: int = setting(256, "features drawn per class and epoch", low=1)
    align_batch: int = setting(256, "drawn features per step", low=1)
    align_lr: float = setting(0.01, "learning rate, falling to 0 along a cosine", low=0)
    align_momentum: float = setting(0.9, "momentum", low=0, high=1)
    align_decay: float = setting(5e-4, "weight decay", low=0)
    logit_norm: float = setting(
        0.1, "temperature of the normalised logits; 0: logits as they are", low=0
    )
    fresh_norm: bool = setting(
        False, "replace the final LayerNorm by a fresh one (weight 1, bias 0, eps 1e-5)"
    )


class Gaussians(nn.Module):
    """Mean and covariance of the features of every class seen.

    Buffers, of the module's precision: mean [C, d], and factor [C, d, d], the lower triangular L
    of the covariance L L^T. Storing L instead of the covariance takes no more space, needs one
    decomposition per class, and stays positive definite under rounding.

    Args:
        width: Size d of a feature.
        ridge: Added to the diagonal of every covariance.
        diagonal: Keep variances alone; `factor` is then their root, [C, d].
    """

    mean: Tensor
    factor: Tensor

    def __init__(self, width: int, *, ridge: float = RIDGE, diagonal: bool = False) -> None:
        super().__init__()
        self.ridge, self.diagonal = ridge, diagonal
        self.register_buffer("mean", torch.zeros(0, width))
        self.register_buffer("factor", torch.zeros((0, width) if diagonal else (0, width, width)))

    def grow(self, classes: int) -> None:
        """Make room for this many more classes."""
        self.mean = torch.cat([self.mean, self.mean.new_zeros(classes, *self.mean.shape[1:])])
        room = self.factor.new_zeros(classes, *self.factor.shape[1:])
        self.factor = torch.cat([self.factor, room])

    @torch.no_grad()
    def collect(self, classes: range, features: Callable[[Tensor], Tensor], data: TaskData) -> None:
        """Compute statistics of `classes` over unaugmented images; features: images -> [B, d].

        Raises ValueError as `fit` does.
        """
        found = [(features(b.images).to(self.mean), b.labels) for b in data.batches(augment=False)]
        rows, labels = (torch.cat(part) for part in zip(*found, strict=True))
        self.fit(classes, rows, labels)

    @torch.no_grad()
    def fit(self, classes: range, features: Tensor, labels: Tensor) -> None:
        """Compute statistics of `classes` from features [n, d] with labels [n]; keep all others.

        In float64, also under autocast: the unbiased covariance plus ridge * I, which is all that
        remains for a class with a single image. Raises ValueError for a class without images and
        for features that are not finite.
        """
        if not bool(torch.isfinite(features).all()):
            raise ValueError("features are not finite: no class statistics")
        ridge = self.ridge * torch.eye(
            features.shape[1], dtype=torch.float64, device=features.device
        )
        for c in classes:
            own = features[labels == c].double()
            if len(own) == 0:
                raise ValueError(f"class {c} has no training images: no class statistics")
            mean = own.mean(dim=0)
            centred, count = own - mean, max(len(own) - 1, 1)
            self.mean[c] = mean
            if self.diagonal:
                self.factor[c] = (centred.square().sum(dim=0) / count + self.ridge).sqrt()
            else:
                covariance = centred.T @ centred / count
                self.factor[c] = torch.linalg.cholesky(covariance + ridge)

    def sample(self, scale: Tensor, noise: Tensor) -> Tensor:
        """Features [C, S, d] of N(scale_c mean_c, covariance_c) from noise [C, S, d], scale [C]."""
        mean = self.scaled_mean(scale)[:, None]
        if self.diagonal:
            return mean + noise * self.factor[:, None]
        return torch.baddbmm(mean, noise, self.factor.mT)

    def scaled_mean(self, scale: Tensor) -> Tensor:
        """Class means [C, d], each times its class's factor [C]."""
        return self.mean * scale[:, None]


class Draws:
    """The random numbers of an alignment, from torch's global generator."""

    def noise(self, epoch: int, shape: torch.Size, like: Tensor) -> Tensor:
        """Standard normal numbers [C, S, d] with the device and dtype of `like`."""
        return torch.randn(shape, dtype=like.dtype, device=like.device)

    def order(self, epoch: int, count: int, like: Tensor) -> Tensor:
        """The order in which the `count` features of an epoch are visited."""
        return torch.randperm(count, device=like.device)


@dataclass(frozen=True)
class Aligned:
    """Aligned classifier, weight [C, d] and bias [C]; loss and learning rate of every step.

    Heads without a bias have zeros there.
    """

    weight: Tensor
    bias: Tensor
    losses: list[Tensor]
    rates: list[float]


def mean_scale(sizes: Sequence[int]) -> Tensor:
    """Factor 0.9 + 0.1 (task(c) + 1) / T on the mean of each class c, for T tasks of these sizes.

    Features of older tasks have drifted more, so their means are shrunk more. The official SLCA
    code takes c // (size of the current task) as the task of class c, which is wrong when sizes
    differ; here it is the true task.
    """
    task = torch.arange(len(sizes), dtype=torch.float64).repeat_interleave(torch.tensor(sizes))
    return OLDEST + (1 - OLDEST) * (task + 1) / len(sizes)


def normalise(logits: Tensor, tasks: Tensor, temperature: float) -> Tensor:
    """Logits [B, C] divided by temperature and by the mean of the norms of each task's part.

    tasks: [C, T], 1 where class c belongs to task t. Gradients flow through the norms.
    """
    # The floor keeps the derivative of the root finite where a task's logits are all zero.
    tiny = torch.finfo(logits.dtype).tiny
    norms = (logits.square() @ tasks).clamp(min=tiny).sqrt()
    return logits / ((norms + NORM_FLOOR).mean(dim=1, keepdim=True) * temperature)


def align(
    heads: Iterable[nn.Module],
    gaussians: Gaussians,
    config: AlignmentConfig,
    draws: Draws | None = None,
    *,
    scale: Tensor | None = None,
    logits: Callable[[Tensor, Tensor, Tensor | None], Tensor] = F.linear,
    period: int = 0,
) -> Aligned:
    """Train a copy of the heads of all tasks (one each, in order) on sampled features.

    Args:
        heads: Modules with a weight [classes, d] and, all or none of them, a bias.
        gaussians: Of all classes.
        config: How.
        draws: Where random numbers come from; default: torch's global generator.
        scale: Factor [C] on the class means; default: `mean_scale`.
        logits: Of features [B, d], weight [C, d] and bias [C] or None; default: linear ones.
        period: Epochs in which the rate falls to 0, to rise again after them; default: all.
    """
    draws = draws or Draws()
    heads, like = list(heads), gaussians.mean
    sizes = [len(head.get_parameter("weight")) for head in heads]
    weight, bias = (part.requires_grad_() for part in classifier(heads))
    trained = [weight, bias] if _biased(heads) else [weight]
    count, classes = config.align_samples, torch.arange(sum(sizes), device=like.device)
    labels = classes.repeat_interleave(count)
    task = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    tasks = F.one_hot(task, len(sizes)).to(like)
    scale = (mean_scale(sizes) if scale is None else scale).to(like)
    losses: list[Tensor] = []
    rates: list[float] = []
    optimizer = torch.optim.SGD(
        trained,
        config.align_lr,
        config.align_momentum,
        weight_decay=config.align_decay,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, period or max(config.align_epochs, 1)
    )
    with torch.enable_grad(), torch.autocast(like.device.type, enabled=False):
        for epoch in range(config.align_epochs):
            shape = torch.Size((len(classes), count, like.shape[1]))
            samples = gaussians.sample(scale, draws.noise(epoch, shape, like)).flatten(0, 1)
            order = draws.order(epoch, len(labels), like)
            for index in torch.split(order, config.align_batch):
                found = logits(samples[index], weight, bias if len(trained) == 2 else None)
                if config.logit_norm:
                    found = normalise(found, tasks, config.logit_norm)
                loss = F.cross_entropy(found, labels[index])
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
                rates.append(optimizer.param_groups[0]["lr"])
            schedule.step()
    return Aligned(weight.detach(), bias.detach(), losses, rates)


def _biased(heads: Iterable[nn.Module]) -> bool:
    """Whether heads have a bias."""
    return all(getattr(head, "bias", None) is not None for head in heads)


def classifier(heads: Iterable[nn.Module]) -> tuple[Tensor, Tensor]:
    """A copy of the heads side by side: weight [C, d] and bias [C], zeros where they have none."""
    heads = list(heads)
    weight = torch.cat([head.get_parameter("weight").detach() for head in heads])
    if not _biased(heads):
        return weight, weight.new_zeros(len(weight))
    return weight, torch.cat([head.get_parameter("bias").detach() for head in heads])


@torch.no_grad()
def load_classifier_(heads: Iterable[nn.Module], weight: Tensor, bias: Tensor) -> None:
    """Write a classifier, weight [C, d] and bias [C], into the heads of all tasks."""
    heads, start = list(heads), 0
    for head in heads:
        own = slice(start, start := start + len(head.get_parameter("weight")))
        head.get_parameter("weight").copy_(weight[own])
        if _biased(heads):
            head.get_parameter("bias").copy_(bias[own])


def renew_final_norm_(backbone: VisionTransformer) -> None:
    """Replace the LayerNorm that produces features: `fc_norm` where timm pools the tokens.

    Raises `UnsuitedError` where no LayerNorm does.
    """
    name = anatomy.final_norm(backbone)
    old = getattr(backbone, name)
    fresh = nn.LayerNorm(backbone.num_features, eps=1e-5).to(old.weight)
    setattr(backbone, name, fresh.requires_grad_(old.weight.requires_grad))
