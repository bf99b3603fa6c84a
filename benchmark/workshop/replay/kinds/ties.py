"""Cases of TIES-merging alone: vectors, what is trimmed, elected and merged."""

from __future__ import annotations

import re
from typing import cast

import numpy as np
import torch

from benchmark.peft.merging import Aggregate, agreeing, elect, ties, trim_mask
from benchmark.workshop.replay.case import RecordedCase
from benchmark.workshop.replay.compare import ArrayResult, CaseComparison
from benchmark.workshop.replay.run import kind
from benchmark.workshop.replay.world import as_tensor

KEEP = re.compile(r"K(?P<keep>[0-9.]+)(?:_(?P<aggregate>mean|sum|max))?/")


@kind("ties", lambda case: "merging_types" in case.meta)
def merging(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """Merge the recorded vectors [V, ...] at every recorded K."""
    comparison = CaseComparison(case.arrays, tolerance)
    shape = case.field("shape", kind=list)
    recorded = case.array("vectors", case.field("n_vectors", kind=int), *shape)
    vectors = as_tensor(recorded.reshape(len(recorded), -1))
    matches = {KEEP.match(name) for name in case.arrays}
    settings = {(m["keep"], m["aggregate"]) for m in matches if m is not None}
    for keep, aggregate in settings:
        if aggregate is None:
            trimmed = vectors * trim_mask(vectors, float(keep))
            signs = elect(trimmed)
            comparison.check(f"K{keep}/mask", trim_mask(vectors, float(keep)))
            comparison.check(f"K{keep}/trimmed", trimmed)
            comparison.check(f"K{keep}/elected_sign", signs)
            comparison.check(f"K{keep}/rows_to_keep", agreeing(trimmed, signs))
        else:
            merged = ties(vectors, float(keep), cast(Aggregate, aggregate)).view(shape)
            comparison.check(f"K{keep}_{aggregate}/merged", merged)
    error = _error_of_vectors(case, vectors, [keep for keep, how in settings if how is None])
    comparison.report("vectors", error, "input: as the trimmed vectors show it")
    return comparison.results()


def _error_of_vectors(case: RecordedCase, vectors: torch.Tensor, keeps: list[str]) -> float:
    """Largest gap between an entry and the nearest of what all trimmed vectors kept of it."""
    gaps = np.full(tuple(vectors.shape), np.inf)
    for keep in keeps:
        trimmed = case.arrays.get(f"K{keep}/trimmed")
        if trimmed is not None and trimmed.shape == gaps.shape:
            kept = np.where(trimmed != 0, np.abs(trimmed - vectors.numpy()), np.inf)
            gaps = np.minimum(gaps, kept)
    return float(np.max(gaps, where=np.isfinite(gaps), initial=0.0))
