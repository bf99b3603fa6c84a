"""Low-rank branches beside the fused query-key-value projection of timm Vision Transformers."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from benchmark.peft import anatomy

TARGETS = "qkv"


class LowRank(nn.Module):
    """Weight change s_i U_i D_i of each target i, U_i [d_out, r] up and D_i [r, d_in] down.

    targets: which of "q", "k", "v", such as "kv", in this order.
    shared_down: one D for all targets. train_down: False for a D that is set by `design`.
    scaled: a learnable scalar s_i per target, starting at 1.

    Parameters: down [1 or targets, r, d_in], Kaiming-uniform if trained, otherwise zero until it is
    set; up [targets, d_out, r], zero, so that a new branch changes nothing; scale [targets] or
    None.
    """

    def __init__(
        self,
        in_width: int,
        out_width: int,
        rank: int,
        targets: str = "kv",
        *,
        shared_down: bool = False,
        train_down: bool = True,
        scaled: bool = False,
    ) -> None:
        super().__init__()
        places = [TARGETS.find(target) for target in targets]
        if not places or min(places) < 0 or places != sorted(set(places)):
            raise ValueError(f'LoRA targets must be a part of "qkv" in this order, not {targets!r}')
        if rank < 1:
            raise ValueError(f"the rank of a LoRA branch must be at least 1, not {rank}")
        self.places = places
        downs = 1 if shared_down else len(places)
        self.down = nn.Parameter(torch.zeros(downs, rank, in_width), requires_grad=train_down)
        self.up = nn.Parameter(torch.zeros(len(places), out_width, rank))
        self.scale = nn.Parameter(torch.ones(len(places))) if scaled else None
        if train_down:
            self.reset()

    @torch.no_grad()
    def reset(self) -> None:
        """Reinitialise: random down projection, zero up projection, scale 1."""
        bound = 1 / math.sqrt(self.down.shape[-1])  # Kaiming-uniform with a = sqrt(5)
        nn.init.uniform_(self.down, -bound, bound)
        self.up.zero_()
        if self.scale is not None:
            self.scale.fill_(1)

    @torch.no_grad()
    def design(self, rows: Tensor) -> None:
        """Reinitialise with the given down projection [r, d_in] for every target."""
        self.down.copy_(rows)
        self.up.zero_()

    def delta(self) -> Tensor:
        """Weight change of every target, float64 [targets, d_out, d_in]."""
        change = self.up.double() @ self.down.double()
        return change if self.scale is None else change * self.scale.double()[:, None, None]

    def paired_size(self) -> int:
        """Number of parameters, with a shared down projection counted once per target."""
        downs = self.down.numel() * len(self.places) // len(self.down)
        return downs + self.up.numel() + (0 if self.scale is None else self.scale.numel())

    def forward(self, x: Tensor, out: Tensor, start: int = 0) -> Tensor:
        """Add the branch's output for x [..., d_in] to out [..., start + 3 * d_out], in place."""
        up = self.up if self.scale is None else self.up * self.scale[:, None, None]
        width = self.up.shape[1]
        return _added(x, out, self.down, up, [start + place * width for place in self.places])

    def add_one(self, place: int, x: Tensor, out: Tensor) -> Tensor:
        """Add the output for the target at `place` of "qkv" alone to out [..., d_out], in place."""
        if place not in self.places:
            return out
        i = self.places.index(place)
        up = self.up[i : i + 1] if self.scale is None else self.up[i : i + 1] * self.scale[i]
        down = self.down if len(self.down) == 1 else self.down[i : i + 1]
        return _added(x, out, down, up, [0])


def _added(x: Tensor, out: Tensor, down: Tensor, up: Tensor, columns: list[int]) -> Tensor:
    """`out` with each target's U D x added from its column on, in place."""
    hidden = F.linear(x, down.flatten(0, 1))
    # Under autocast `out` is bfloat16 and the parameters are not.
    added: Tensor = _AddUp.apply(out, hidden.to(out.dtype), up.to(out.dtype), columns, len(down))
    return added


class QKV(nn.Module, ABC):
    """Frozen projections to queries, keys and values, which the branch in use is added to.

    The branch belongs to the method and is not registered here, so the backbone's parameters stay
    the same.

    Attributes:
        linear: A layer whose inputs are those of all three.
    """

    linear: nn.Linear

    def __init__(self) -> None:
        super().__init__()
        self._branch: tuple[LowRank, ...] = ()  # in a tuple, which nn.Module does not register
        self._merged = False

    @property
    def branch(self) -> LowRank | None:
        """The branch in use."""
        return self._branch[0] if self._branch else None

    @property
    def active(self) -> LowRank | None:
        """The branch in use, if it adds anything."""
        return None if self._merged and not torch.is_grad_enabled() else self.branch

    def use(self, branch: LowRank | None) -> None:
        """Set the branch to add, or None."""
        self._branch = () if branch is None else (branch,)
        self._merged = False

    def new_branch(self, rank: int, targets: str = "kv", **options: bool) -> LowRank:
        """A `LowRank` with this layer's shape, device and dtype, not in use; options as there."""
        out_width, in_width = self.weights()[0].shape
        branch = LowRank(in_width, out_width, rank, targets, **options)
        return branch.to(self.linear.weight.device, self.linear.weight.dtype)

    @torch.no_grad()
    def merge(self) -> None:
        """Fold the branch in use into the frozen weights and set its up projection to zero.

        Until the next `use` the branch is skipped where gradients are disabled, as it adds nothing.
        """
        branch = self.branch
        if branch is None:
            return
        weights = self.weights()
        for place, change in zip(branch.places, branch.delta(), strict=True):
            weights[place].copy_((weights[place].double() + change).to(weights[place].dtype))
        branch.up.zero_()
        self._merged = True

    @abstractmethod
    def weights(self) -> Sequence[Tensor]:
        """The weights of queries, keys and values, [d_out, d_in] each, in the layers' memory."""


class AdaptedQKV(QKV):
    """One projection to all three, from its output number `start` on."""

    def __init__(self, linear: nn.Linear, start: int = 0) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self.start = start

    def weights(self) -> Sequence[Tensor]:
        """The three parts of the weight."""
        return self.linear.weight[self.start :].view(3, -1, self.linear.in_features).unbind()

    def forward(self, x: Tensor) -> Tensor:
        """The projection of x [..., d_in], [..., start + 3 * d_out], plus the branch in use."""
        out: Tensor = self.linear(x)
        branch = self.active
        return out if branch is None else branch(x, out, self.start)


class SeparateQKV(QKV):
    """A projection for each of the three."""

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.parts = [_Part(self, place, linear) for place, linear in enumerate(linears)]
        self.linear = self.parts[0].linear

    def weights(self) -> Sequence[Tensor]:
        """The weights of the three."""
        return [part.linear.weight for part in self.parts]


class _Part(nn.Module):
    """One of separate projections, in the place of the original."""

    def __init__(self, whole: SeparateQKV, place: int, linear: nn.Linear) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        self._whole, self.place = (whole,), place  # in a tuple, as it is no part of this one

    def forward(self, x: Tensor) -> Tensor:
        """The projection of x [..., d_in], [..., d_out], plus its part of the branch in use."""
        out: Tensor = self.linear(x)
        branch = self._whole[0].active
        return out if branch is None else branch.add_one(self.place, x, out)


def adapt(backbone: VisionTransformer, blocks: int | None = None) -> list[QKV]:
    """Make the projections of the first `blocks` blocks (default: all) adaptable.

    A backbone with fewer blocks has all of them adapted. Raises `UnsuitedError` for a backbone
    whose projections are not linear or not known.
    """
    count = len(anatomy.blocks(backbone)[:blocks])
    # All are looked at before any is replaced.
    found = [anatomy.projections(backbone, block) for block in range(count)]
    layers: list[QKV] = []
    for owner, names, start in found:
        linears = [getattr(owner, name) for name in names]
        if len(names) == 1:
            layers.append(AdaptedQKV(linears[0], start))
            setattr(owner, names[0], layers[-1])
            continue
        separate = SeparateQKV(linears)
        layers.append(separate)
        for name, part in zip(names, separate.parts, strict=True):
            setattr(owner, name, part)
    return layers


class _AddUp(torch.autograd.Function):
    """out[:, column : column + d_out] += hidden @ up^T for each target, writing into `out`.

    Autograd's in-place addition to a slice copies the full gradient of `out` in the backward pass.
    In comparison, this form took 36 instead of 54 ms for forward and backward (plain qkv: 23 ms) at
    width 192 and 4160 tokens, and 146 instead of 160 ms (125 ms) at width 768 and 1576 tokens, rank
    10, one CPU thread; padding U with zero rows for q took 42 and 157 ms.
    """

    @staticmethod
    def forward(
        ctx: Any, out: Tensor, hidden: Tensor, up: Tensor, columns: list[int], downs: int
    ) -> Tensor:
        ctx.mark_dirty(out)
        ctx.save_for_backward(hidden, up)
        ctx.columns, ctx.downs = columns, downs
        flat, hidden = out.view(-1, out.shape[-1]), hidden.reshape(-1, downs, up.shape[2])
        width = up.shape[1]
        for i, column in enumerate(columns):
            part = flat[:, column : column + width]
            torch.addmm(part, hidden[:, min(i, downs - 1)], up[i].T, out=part)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        hidden, up = ctx.saved_tensors
        _, width, rank = up.shape
        split = hidden.reshape(-1, ctx.downs, rank)
        flat = grad.reshape(-1, grad.shape[-1])
        grad_up = torch.empty_like(up) if ctx.needs_input_grad[2] else None
        grad_hidden = torch.empty_like(split) if ctx.needs_input_grad[1] else None
        for i, column in enumerate(ctx.columns):
            part, down = flat[:, column : column + width], min(i, ctx.downs - 1)
            if grad_up is not None:
                torch.mm(part.T, split[:, down], out=grad_up[i])
            if grad_hidden is not None:
                target = grad_hidden[:, down]
                torch.addmm(target, part, up[i], beta=float(i > down), out=target)
        if grad_hidden is not None:
            grad_hidden = grad_hidden.view(hidden.shape)
        return grad, grad_hidden, grad_up, None, None
