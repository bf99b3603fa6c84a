"""Gradient memories (GPM, DualGPM) and the design of low-rank branches in their free space.

Everything here works on the uncentred second moment C = H H^T / n, [d, d], of a layer's inputs
h [d], and is computed in float64 whatever the model's precision. Energies are squared singular
values of C itself, sigma_i(C)^2 (the fourth power of feature scale): that is what the official
InfLoRA code thresholds, and it keeps far fewer directions than the squared singular values of H
would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

FIRST_BASES = ("complement", "leading")

DRIFT = 1e-4  # largest entry of M^T M - I that is tolerated
# Below these shares of the largest singular value of X, and of the energy of C, a direction is
# rounding noise, and its left singular vector may lie inside the protected space.
NOISE_IN_DESIGN = 1e-6
NOISE_IN_MOMENT = 1e-10


class MemoryFormError(RuntimeError):
    """The official code's assertion: a "retain" basis of more than d/2 columns."""


def threshold(lamb: float, lame: float, task: int, tasks: int) -> float:
    """Share of energy to protect after 0-based `task`: lamb at first, rising towards lame."""
    return (lame - lamb) * task / tasks + lamb


class GradientMemory(nn.Module):
    """Orthonormal basis of the span of old tasks' inputs, or of its complement.

    Form "remove": `basis` M [d, k] spans the protected space, the free projector is I - M M^T.
    Form "retain" (DualGPM only): `basis` spans the free space itself. A DualGPM switches to it for
    good once the protected space has more than d/2 dimensions; both forms describe the same
    projector, but the second needs less memory.

    dual: False for GPM, which always stores M.
    first_basis: what to store when the first update protects k >= d/2 dimensions. "complement"
        stores the d - k free directions. "leading" repeats the official code, which stores the k
        leading directions under the form "retain", so that the protected space is left free and
        the rest locked; for k > d/2 it stops with an assertion, here `MemoryFormError`.

    The shape of the basis depends on the data, so it is stored as extra state.
    """

    def __init__(self, dual: bool = True, first_basis: str = "complement") -> None:
        super().__init__()
        self.dual = dual
        self.first_basis = first_basis
        self.basis: Tensor | None = None
        self.retain = False

    def get_extra_state(self) -> dict[str, Tensor | bool | None]:
        """Basis (float64 [d, k], or None before the first update) and form."""
        return {"basis": self.basis, "retain": self.retain}

    def set_extra_state(self, state: dict[str, Tensor | bool | None]) -> None:
        """Restore what `get_extra_state` returned."""
        basis = state["basis"]
        self.basis = basis.double() if isinstance(basis, Tensor) else None
        self.retain = bool(state["retain"])

    @property
    def columns(self) -> int:
        """Number of stored directions."""
        return 0 if self.basis is None else self.basis.shape[1]

    def project(self, matrix: Tensor) -> Tensor:
        """Columns of `matrix` [d, n] projected onto the free space, float64 [d, n]."""
        matrix = matrix.double()
        if self.basis is None:
            return matrix
        basis = self._basis(matrix)
        within = basis @ (basis.T @ matrix)
        return within if self.retain else matrix - within

    def update(self, moment: Tensor, threshold: float) -> int:
        """Protect the directions `moment` [d, d] needs to reach `threshold`; return how many.

        A zero moment changes nothing. Only directions with energy are protected, even for
        thresholds of 1 and more. Raises ValueError for a moment that is not finite.
        """
        moment = _finite(moment)
        total = float(moment.square().sum())
        if total == 0:
            return 0
        noise = moment.shape[0] * torch.finfo(torch.float64).eps * math.sqrt(total)
        if self.basis is None:
            return self._first(moment, total, threshold, noise)
        if self.retain:
            return self._shrink(moment, total, threshold, noise)
        return self._extend(moment, total, threshold, noise)

    def _first(self, moment: Tensor, total: float, threshold: float, noise: float) -> int:
        vectors, values = left_singular(moment)
        ratios = (values.square() / total).cumsum(0)
        # Strictly below: the direction that crosses the threshold is not taken, at least one is.
        taken = max(int((ratios < threshold).sum()), 1)
        taken = min(taken, int((values > noise).sum()))
        dim = moment.shape[0]
        self.retain = self.dual and 2 * taken >= dim
        if self.retain and self.first_basis == "complement":
            self.basis = vectors[:, taken:].contiguous()
        else:
            self.basis = vectors[:, :taken].contiguous()
            self._check_form()
        return taken

    def _extend(self, moment: Tensor, total: float, threshold: float, noise: float) -> int:
        vectors, values = left_singular(self.project(moment))
        energies = values.square() / total
        # Already protected: (||C||^2 - ||(I - M M^T) C||^2) / ||C||^2.
        protected = 1 - float(energies.sum())
        room = min(moment.shape[0] - self.columns, int((values > noise).sum()))
        taken = 0
        while taken < room and protected < threshold:
            protected += float(energies[taken])
            taken += 1
        if taken == 0:
            return 0
        basis = torch.cat([self._basis(moment), vectors[:, :taken]], dim=1)
        dim, count = basis.shape
        if self.dual and 2 * count > dim:
            basis = torch.linalg.qr(basis, mode="complete")[0][:, count:]
            self.retain = True
        self.basis = _orthonormal(basis).contiguous()
        return taken

    def _shrink(self, moment: Tensor, total: float, threshold: float, noise: float) -> int:
        vectors, values = left_singular(self.project(moment))
        energies = values.square() / total
        free = float(energies.sum())
        room = min(self.columns, int((values > noise).sum()))
        taken = 0
        while taken < room and free >= 1 - threshold:
            free -= float(energies[taken])
            taken += 1
        if taken == 0:
            return 0
        lost = vectors[:, :taken]
        basis = self._basis(moment)
        rest = basis - lost @ (lost.T @ basis)
        left = torch.linalg.svd(rest, full_matrices=False)[0][:, : self.columns - taken]
        self.basis = _orthonormal(left).contiguous()
        self._check_form()
        return taken

    def _basis(self, like: Tensor) -> Tensor:
        """The basis on the device of `like`: restored states start on the CPU."""
        assert self.basis is not None
        return self.basis.to(like.device)

    def _check_form(self) -> None:
        if self.retain and self.basis is not None and 2 * self.columns > self.basis.shape[0]:
            raise MemoryFormError(
                f'{self.columns} columns of {self.basis.shape[0]} stored as "retain": the official '
                'code stops here; first_basis="complement" does not'
            )


@dataclass(frozen=True)
class Design:
    """A designed down projection.

    rows: float64 [r, d], orthonormal rows divided by sqrt(3), rows without energy zero;
    rank: number of rows that are not zero; singular_values: float64 [d] of the matrix behind them.
    """

    rows: Tensor
    rank: int
    singular_values: Tensor


def design(
    moment: Tensor, memory: GradientMemory | None, rank: int, two_sided: bool = False
) -> Design:
    """Down projection D [r, d] from the second moment C [d, d] of the new task's inputs.

    Rows are the leading left singular vectors of X = (I - P) C, P the projector of the protected
    space (X = C before the first update), which is the official code's form; two_sided takes
    X = (I - P) C (I - P), whose leading vectors are those of the paper's (I - P) H (Eq. 8).
    Dividing by sqrt(3), as the code does, matches the row norm of a Kaiming-uniform down
    projection, while Eq. 8 has unit rows. If the free space has fewer than r dimensions with
    energy, the remaining rows are zero: arbitrary vectors would leak into the protected space.
    Raises ValueError for a moment that is not finite.
    """
    moment = _finite(moment)
    if memory is None or memory.basis is None:
        free = moment
    else:
        free = memory.project(moment)
        if two_sided:
            free = memory.project(free.T)
            free = (free + free.T) / 2
    vectors, values = left_singular(free)
    floor = max(
        NOISE_IN_DESIGN * float(values[0]),
        NOISE_IN_MOMENT * float(torch.linalg.matrix_norm(moment)),
    )
    kept = min(rank, int((values > floor).sum()))
    rows = vectors.new_zeros(rank, len(moment))
    rows[:kept] = vectors[:, :kept].T / math.sqrt(3)
    return Design(rows, kept, values)


def left_singular(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Left singular vectors (columns, [d, d]) and values [d] of a square matrix, descending."""
    if torch.equal(matrix, matrix.T):  # cheaper, and second moments are symmetric
        eigenvalues, eigenvectors = torch.linalg.eigh(matrix)
        values, order = eigenvalues.abs().sort(descending=True, stable=True)
        return eigenvectors[:, order], values
    vectors, values, _ = torch.linalg.svd(matrix)
    return vectors, values


def _finite(moment: Tensor) -> Tensor:
    if not bool(torch.isfinite(moment).all()):
        raise ValueError("the second moment of a layer's inputs is not finite")
    return moment.double()


def _orthonormal(basis: Tensor) -> Tensor:
    """The basis, orthonormalised again if rounding errors have accumulated."""
    gram = basis.T @ basis
    gram.diagonal().sub_(1)
    if gram.numel() and float(gram.abs().max()) > DRIFT:
        basis, _ = torch.linalg.qr(basis)
    return basis
