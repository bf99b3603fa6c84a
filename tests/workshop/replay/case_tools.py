"""Changes recorded cases, and reads what a replay found."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.workshop.replay.run import Replay

Arrays = dict[str, np.ndarray]


def rewrite(path: Path, change: Callable[[Arrays], Any]) -> Path:
    """Change the arrays of a file in place."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(path, **arrays)
    return path


def meta_change(path: Path, **values: Any) -> Path:
    """Change fields of a file's description in place."""

    def change(arrays: Arrays) -> None:
        meta = json.loads(str(arrays["meta_json"])) | values
        arrays["meta_json"] = np.array(json.dumps(meta))

    return rewrite(path, change)


def wrong(outcome: Replay) -> set[str]:
    """Names of the arrays that were not reproduced."""
    return {line.name for line in outcome.results if not line.ok}
