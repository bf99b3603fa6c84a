"""Files that several cases share: the backbone, and the data with its pretrained features."""

from __future__ import annotations

from pathlib import Path

from benchmark.workshop.replay.case import RecordedCase, ReplayError, read_case
from benchmark.workshop.replay.compare import ArrayResult, CaseComparison
from benchmark.workshop.replay.run import kind
from benchmark.workshop.replay.world import WEIGHT, build_vit, check_features


def _is_backbone(case: RecordedCase) -> bool:
    return any(name.startswith(WEIGHT) for name in case.arrays)


def _is_data(case: RecordedCase) -> bool:
    return "train_x" in case.arrays and "probe_x" in case.arrays


@kind("shared data", _is_data)
def data(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """The recorded features of the unadapted backbone that lies beside the file."""
    backbone = read_case(_beside(case.path, "data", "backbone"))
    return check_features(build_vit(case, backbone), case, tolerance)


@kind("shared backbone", _is_backbone)
def backbone(case: RecordedCase, tolerance: float) -> list[ArrayResult]:
    """The features that the data file beside it records of this backbone."""
    beside = read_case(_beside(case.path, "backbone", "data"))
    comparison = CaseComparison(case.arrays, tolerance)
    for name in case.arrays:
        comparison.leave(name, f"input: its values show in the features of {beside.path.name}")
    lines = check_features(build_vit(case, case), beside, tolerance)
    return comparison.results() + [line for line in lines if line.covered]


def _beside(path: Path, own: str, other: str) -> Path:
    if not path.name.startswith(own):
        raise ReplayError(f"{path}: its name must start with {own!r} to find the {other} beside it")
    return path.with_name(other + path.name.removeprefix(own))
