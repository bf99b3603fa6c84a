"""Cases of the DualGPM update alone: streams of matrices and the memory after each of them."""

from __future__ import annotations

import numpy as np
import torch

from benchmark.peft.subspace import GradientMemory, MemoryFormError, threshold
from benchmark.workshop.replay.case import RecordedCase, ReplayError
from benchmark.workshop.replay.compare import ArrayResult, CaseComparison
from benchmark.workshop.replay.run import kind


@kind("dualgpm", lambda case: case.text("method") == "DualGPM")
def dualgpm(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """Feed every stream to a fresh memory.

    Arrays are `<stream>/<name>`: mat [n, d, d], threshold, P, dim, is_retain, skipped, raised.
    """
    comparison = CaseComparison(case.arrays, tolerance)
    streams = case.field("streams", kind=dict)
    if not streams:
        raise ReplayError(f"{case.path}: no streams are described")
    for stream in streams:
        _stream(case, comparison, stream)
    return comparison.results()


def _stream(case: RecordedCase, comparison: CaseComparison, stream: str) -> None:
    matrices = case.array(f"{stream}/mat", None, None, None)
    lamb, lame = (case.field("streams", stream, key, kind=float) for key in ("lamb", "lame"))
    sessions = case.field("streams", stream, "total_sessions", kind=int)
    # The official code's own rule for a first update of d/2 and more directions.
    memory = GradientMemory(first_basis="leading")
    sequences: dict[str, list[float | np.ndarray]] = {
        name: [] for name in ("threshold", "P", "dim", "is_retain", "skipped")
    }
    raised = False
    for update, matrix in enumerate(matrices):
        share = threshold(lamb, lame, update, sessions)
        taken = -1
        try:
            taken = memory.update(torch.from_numpy(matrix.astype(np.float64)), share)
        except MemoryFormError:
            raised = True
        basis = np.zeros((len(matrix), 0)) if memory.basis is None else memory.basis.numpy()
        sequences["threshold"].append(share)
        sequences["P"].append(basis @ basis.T)
        sequences["dim"].append(basis.shape[1])
        sequences["is_retain"].append(memory.retain)
        sequences["skipped"].append(taken == 0)
        if raised:
            break
    for name, values in sequences.items():
        comparison.check(f"{stream}/{name}", np.asarray(values, dtype=np.float64))
    comparison.check(f"{stream}/raised", float(raised))
    # An input: an update without effect leaves no other trace of it than its symmetry.
    gaps = np.abs(matrices - matrices.swapaxes(1, 2)).max(axis=(1, 2), initial=0.0)
    symmetric = bool((gaps <= comparison.tolerance).any())
    note = "input: that it is symmetric; its values show in the other arrays"
    comparison.report(f"{stream}/mat", float(gaps.max(initial=0.0)) if symmetric else 0.0, note)
