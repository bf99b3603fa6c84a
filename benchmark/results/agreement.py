"""Whether the stored accuracies of a run are those of its stored predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmark import metrics
from benchmark.metrics import Predictions
from benchmark.results.schema import Outcome, ResultError

NEEDED = ("labels", "task_of_image", "top_classes")  # parts of the predictions
_ROUNDING = 1e-6  # percent


def check_accuracies(outcome: Outcome, predictions: Predictions, file: Path) -> None:
    """Raises ResultError where accuracies of `file` are not what the predictions give.

    Where the predictions of the last stage alone were kept, its accuracies alone are compared.
    """
    try:
        counts = np.bincount(predictions["task_of_image"]).tolist()
        stages = {
            stage: metrics.task_accuracies(predictions, stage)
            for stage in metrics.stages(predictions)
        }
    except (ValueError, LookupError) as error:
        raise ResultError(file, f"predictions that cannot be used: {error}") from error
    for stage, found in stages.items():
        stored = outcome["accuracy"][stage] if stage < len(outcome["accuracy"]) else None
        if stored is None or not np.allclose(found, stored, rtol=0, atol=_ROUNDING):
            raise ResultError(
                file,
                f"accuracies after task {stage + 1} are not those of the stored predictions",
            )
    if counts != outcome["test_counts"]:
        raise ResultError(file, "test_counts are not those of the stored predictions")
