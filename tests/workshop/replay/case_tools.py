"""Changes recorded cases, and reads what a replay found."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.workshop.replay.run import Replay, replay

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
Arrays = dict[str, np.ndarray]


def read(path: Path) -> Arrays:
    """All arrays of a file."""
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def recorded_names(path: Path) -> list[str]:
    """Names of the arrays of a case, without its description."""
    with np.load(path) as file:
        return [name for name in file.files if name != "meta_json"]


def rewrite(path: Path, change: Callable[[Arrays], Any]) -> Path:
    """Change the arrays of a file in place."""
    arrays = read(path)
    change(arrays)
    np.savez(path, **arrays)
    return path


def meta_change(path: Path, **values: Any) -> Path:
    """Change fields of a file's description in place."""

    def change(arrays: Arrays) -> None:
        meta = json.loads(str(arrays["meta_json"])) | values
        arrays["meta_json"] = np.array(json.dumps(meta))

    return rewrite(path, change)


def with_changes(path: Path, names: Sequence[str], by: float = 1e-6) -> Path:
    """Write a copy beside a file in which one number of each of these arrays is another."""
    arrays = read(path)
    for name in names:
        value = arrays[name].copy()
        value.reshape(-1)[-1] += 1 if value.dtype.kind in "iu" else by
        arrays[name] = value
    copy = path.with_name("changed.npz")
    np.savez(copy, **arrays)
    return copy


def wrong(outcome: Replay) -> set[str]:
    """Names of the arrays that were not reproduced."""
    return {line.name for line in outcome.results if not line.ok}


def uncovered(outcome: Replay) -> set[str]:
    """Names of the arrays that no comparison covers."""
    return {line.name for line in outcome.results if not line.covered}


def check_each_is_named(
    path: Path, outputs: Sequence[str], by: float = 1e-6, inputs: Sequence[str] = ()
) -> None:
    """Change every second output, then the others: those changed are named, the rest is not.

    inputs: arrays that a replay judges by the outputs they lead to.
    """
    for half in (outputs[::2], outputs[1::2]):
        assert wrong(replay(with_changes(path, half, by))) - set(inputs) == set(half)
