"""Common parts of prompt methods: query, prompted features, and choice of prompts."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.method import ConfigT, Method
from benchmark.peft.prefix import Prefix, prompted_tokens, split_prefix

SMALL = 1e-8  # squared length below which a direction counts as zero


class PromptMethod(Method[ConfigT]):
    """A method that adapts a frozen backbone with prompts chosen by a query.

    The query of an image is its frozen feature, the class token after the final norm of the
    unprompted backbone; the runner provides it, once per test image and run.
    """

    frozen_features = True
    trains_backbone = False

    def query(self, images: Tensor, frozen: Tensor | None) -> Tensor:
        """Queries [B, d] without gradient: the runner's, or those of a plain forward pass."""
        if frozen is not None:
            return frozen
        with torch.no_grad():
            return self.features(images)

    def prefixed(self, images: Tensor, prefixes: Mapping[int, Prefix]) -> Tensor:
        """Class-token features [B, d] with prefixes in the given blocks."""
        tokens = prompted_tokens(self.backbone, images, prefixes)
        features: Tensor = self.backbone.forward_head(tokens, pre_logits=True)
        return features

    def uniform(self, *shape: int, high: float = 1.0) -> nn.Parameter:
        """A new parameter drawn uniformly from [0, high), in the backbone's precision."""
        return nn.Parameter(torch.empty(shape, dtype=self.dtype).uniform_(0.0, high))

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the backbone's weights."""
        return next(self.backbone.parameters()).dtype


def cosines(query: Tensor, keys: Tensor) -> Tensor:
    """Cosine similarities [layers, B, M] of queries [B, d] and keys [layers, M, d].

    In full precision also under autocast: bfloat16 would reorder nearly equal similarities.
    """
    with torch.autocast(query.device.type, enabled=False):
        return F.normalize(query, dim=-1) @ F.normalize(keys, dim=-1).mT


def gather_prompts(prompts: Tensor, chosen: Tensor) -> Tensor:
    """Each image's own prompts: prompts [M, L, d], choices [B, k] -> [B, k, L, d]."""
    rows = F.embedding(chosen, prompts.flatten(1))
    return rows.reshape(*chosen.shape, *prompts.shape[1:])


def chosen_prefix(prompts: Tensor, chosen: Tensor) -> Prefix:
    """Each image's own prompts [M, L, d] as one prefix of k * L / 2 keys and as many values."""
    keys, values = split_prefix(gather_prompts(prompts, chosen))
    return keys.flatten(1, 2), values.flatten(1, 2)


def chosen_mask(chosen: Tensor, like: Tensor) -> Tensor:
    """1 where image b chose key m, otherwise 0: [layers, B, k] -> [layers, B, M]."""
    return torch.zeros_like(like).scatter_(-1, chosen, 1.0)


def vote(chosen: Tensor, pool: int) -> Tensor:
    """The k most often chosen of `pool` prompts, the same for every image: [B, k] -> [B, k].

    Ties go to the smaller index. If fewer than k different prompts were chosen, the smallest chosen
    index fills the rest, as in the official code.
    """
    numbers = torch.arange(pool, device=chosen.device)
    counts = (chosen.flatten()[:, None] == numbers).sum(0)
    smallest = torch.where(counts > 0, numbers, pool).min()
    order = counts.argsort(descending=True, stable=True)[: chosen.shape[1]]
    return torch.where(counts[order] > 0, order, smallest).expand(len(chosen), -1)


def component_weights(query: Tensor, keys: Tensor, attention: Tensor) -> Tensor:
    """CODA-Prompt's weights cos(q * A_m, K_m), [layers, B, M], of queries [B, d].

    keys, attention: [layers, M, d]. Two matrix products instead of a tensor [layers, B, M, d]:
    q * A . K / |K| = q . (A * K / |K|), and |q * A|^2 = q^2 . A^2.
    """
    with torch.autocast(query.device.type, enabled=False):
        dots = query @ (attention * F.normalize(keys, dim=-1)).mT
        squares = query.square() @ attention.square().mT
        return dots / squares.clamp_min(1e-24).sqrt()


def weighted_prompts(weights: Tensor, prompts: Tensor) -> Tensor:
    """Sums [layers, B, L, d] of components [layers, M, L, d] with weights [layers, B, M]."""
    with torch.autocast(weights.device.type, enabled=False):
        return (weights @ prompts.flatten(2)).reshape(*weights.shape[:2], *prompts.shape[2:])


def orthogonality(rows: Tensor) -> Tensor:
    """Sum over layers of the mean squared entry of R R^T - I, for R [layers, M, d]."""
    with torch.autocast(rows.device.type, enabled=False):
        gram = rows @ rows.mT
        identity = torch.eye(rows.shape[1], dtype=gram.dtype, device=gram.device)
        return (gram - identity).square().mean(dim=(1, 2)).sum()


def orthogonal_rows(old: Tensor, draws: Tensor) -> Tensor:
    """CODA-Prompt's Gram-Schmidt: unit rows [n, d] from normal draws [n, d], past rows [s, d].

    From every draw its projections onto all earlier rows, old and new, are subtracted, computed
    from the draw itself (classical Gram-Schmidt); then the new rows are scaled to unit length. Old
    rows are used as they are: after training they are no longer mutually orthogonal, so the new
    rows are only approximately orthogonal to their span, as in the official code.

    When no free direction is left, the official code never terminates. Here a new set begins: this
    row and the following ones are orthogonal only to the rows of that set.
    """
    rows = torch.cat([old, torch.zeros_like(draws)])
    squares = rows.square().sum(dim=1)
    inverse = torch.where(squares < SMALL, 0.0, 1 / squares)  # zero rows are skipped
    first = 0
    for k, draw in enumerate(draws, start=len(old)):
        earlier = rows[first:k]
        row = draw - (earlier @ draw * inverse[first:k]) @ earlier
        square = float(row @ row)
        if square < SMALL:
            first, row, square = k, draw, float(draw @ draw)
        rows[k] = row
        inverse[k] = 1 / square
    return F.normalize(rows[len(old) :], dim=-1)
