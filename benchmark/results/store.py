"""Results on disk: keys, an atomic store, and the numbers of a run.

The form of the files is in `benchmark.results.schema`.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_jsonable_python

from benchmark import metrics
from benchmark.results.costs import COSTS
from benchmark.results.schema import (
    SCHEMA_VERSION,
    Environment,
    Outcome,
    Result,
    ResultError,
    SchemaError,
    SpecBlock,
    check,
)
from benchmark.storage import StorageError, discard, failure, publish, stage

if TYPE_CHECKING:
    from benchmark.spec import RunSpec

__all__ = [
    "SCHEMA_VERSION",
    "Environment",
    "Outcome",
    "Result",
    "ResultError",
    "ResultStore",
    "SchemaError",
    "SpecBlock",
    "StorageError",
    "run_key",
    "run_numbers",
    "spec_dict",
]

# What numpy raises for a damaged archive; before Python 3.11 an array that is none is an
# AttributeError, because it lacks __enter__.
_DAMAGED = (OSError, ValueError, TypeError, AttributeError, KeyError, EOFError, BadZipFile)

# -- keys ---------------------------------------------------------------------------------------


def spec_dict(spec: RunSpec) -> SpecBlock:
    """The specification as plain JSON types, for the `spec` block and the key."""
    return cast("SpecBlock", to_jsonable_python(spec, fallback=dict))


def run_key(
    spec: RunSpec, method_source_hash: str, data_manifest_hash: str, weight_hash: str
) -> str:
    """16 hexadecimal digits that stand for the run: the same run always has the same key."""
    # A path on one machine counts for nothing; what lies there is in the weights' hash.
    asked = {name: part for name, part in spec_dict(spec).items() if name != "backbone_file"}
    parts = {
        "spec": canonical(asked),
        "method": method_source_hash,
        "data": data_manifest_hash,
        "weights": weight_hash,
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def canonical(value: Any) -> Any:
    """Plain JSON types with 1.0 as 1: how a whole number is written makes no other run."""
    if isinstance(value, dict):
        return {name: canonical(item) for name, item in value.items()}
    if isinstance(value, list):
        return [canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


# -- store --------------------------------------------------------------------------------------


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


class ResultStore:
    """The results under one root folder; nothing is created before something is written."""

    def __init__(self, root: str | Path = "results") -> None:
        self.root = Path(root)
        self.runs = self.root / "runs"
        self.problems: list[ResultError] = []  # files left out by the last `results()`

    def folder(self, key: str) -> Path:
        """Where the run's files are."""
        return self.runs / key

    def status(self, key: str) -> str:
        """One of done, failed, interrupted, unfinished (no usable result yet) and missing.

        A damaged result counts as unfinished; one of another schema raises `SchemaError`, since
        running again would replace it.
        """
        if not self.folder(key).is_dir():
            return "missing"
        try:
            return self.read(key)["outcome"]["status"]
        except SchemaError:
            raise
        except (FileNotFoundError, ResultError):
            return "unfinished"

    def check_writable(self) -> None:
        """Raises `StorageError` when results cannot be written here."""
        stage(self.runs / "probe", b"").unlink()

    def write(self, result: Mapping[str, Any], predictions: Mapping[str, NDArray[Any]]) -> None:
        """Store a finished run: both files complete or, on `StorageError`, neither.

        Raises ResultError when the result does not follow the schema.
        """
        folder = self.folder(result["key"])
        file, arrays = folder / "result.json", folder / "predictions.npz"
        # JSON has no nan and no infinity: null stands for them.
        plain = check(to_jsonable_python(result, fallback=dict, inf_nan_mode="null"), file)
        text = json.dumps(plain, indent=1, allow_nan=False, ensure_ascii=False)
        staged = {}
        try:
            if predictions:
                content = io.BytesIO()
                np.savez_compressed(content, **cast("dict[str, Any]", dict(predictions)))
                staged[arrays] = stage(arrays, content.getvalue())
            staged[file] = stage(file, (text + "\n").encode())
            # An older result must never stand beside newer predictions.
            for old in (file, arrays):
                old.unlink(missing_ok=True)
            for path, temporary in staged.items():
                publish(temporary, path)
        except BaseException as error:
            for temporary in staged.values():
                discard(temporary)
            if isinstance(error, OSError) and not isinstance(error, StorageError):
                raise failure(file, error) from error
            raise

    def read(self, key: str) -> Result:
        """The stored result; FileNotFoundError when there is none, ResultError when unusable."""
        file = self.folder(key) / "result.json"
        try:
            content = check(json.loads(file.read_text("utf-8"), parse_constant=_refuse), file)
        except (FileNotFoundError, ResultError):
            raise
        except OSError as error:
            raise ResultError(file, str(error.strerror or error)) from error
        except (ValueError, RecursionError) as error:
            raise ResultError(file, f"damaged JSON: {error}") from error
        if content["key"] != key:
            raise ResultError(file, f"belongs to run {content['key']!r}, not to its folder {key!r}")
        return content

    def predictions(self, key: str) -> dict[str, NDArray[Any]]:
        """The stored predictions; ResultError when they are missing or damaged."""
        file = self.folder(key) / "predictions.npz"
        try:
            with np.load(file) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except FileNotFoundError as error:
            raise ResultError(file, "is missing") from error
        except _DAMAGED as error:
            raise ResultError(file, f"damaged: {error}") from error

    def keys(self) -> list[str]:
        """Keys of all run folders, finished or not."""
        if not self.runs.is_dir():
            return []
        return sorted(entry.name for entry in self.runs.iterdir() if entry.is_dir())

    def results(self) -> list[Result]:
        """All usable results, by key; what cannot be used is in `problems` afterwards."""
        self.problems = []
        found = []
        for key in self.keys():
            try:
                found.append(self.read(key))
            except FileNotFoundError:
                continue
            except ResultError as problem:
                self.problems.append(problem)
        return found

    def unfinished(self) -> list[str]:
        """Keys of the runs that were begun and have no result."""
        return [key for key in self.keys() if not (self.folder(key) / "result.json").exists()]


# -- numbers ------------------------------------------------------------------------------------


def run_numbers(result: Result) -> dict[str, float]:
    """Metrics (percent, points) and costs of a finished run by name."""
    outcome = result["outcome"]
    return {
        **metrics.matrix_metrics(outcome["accuracy"], outcome["test_counts"]),
        **{name: cost.function(outcome) for name, cost in COSTS.items()},
    }
