"""Results on disk: keys, an atomic store, and the numbers of a run.

The form of the files is in `benchmark.results.schema`.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_jsonable_python

from benchmark import metrics
from benchmark.results.agreement import NEEDED, check_accuracies
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
    check_arrays,
    check_version,
)
from benchmark.spec import Augmentation, Evaluation
from benchmark.storage import (
    StorageError,
    content_digest,
    discard,
    failure,
    publish,
    refuse_link,
    stage,
)

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

RESULT, PREDICTIONS = "result.json", "predictions.npz"
_SEALS = ("predictions", "digest")  # what a result file has beside the result

# What numpy raises for a damaged archive; before Python 3.11 an array that is none is an
# AttributeError, because it lacks __enter__.
_DAMAGED = (OSError, ValueError, TypeError, AttributeError, KeyError, EOFError, BadZipFile)

# -- keys ---------------------------------------------------------------------------------------


def spec_dict(spec: RunSpec) -> SpecBlock:
    """The specification as plain JSON types, for the `spec` block and the key."""
    asked = to_jsonable_python(spec, fallback=dict)
    if asked["backbone_image_size"] is None:  # so that keys are as they were before it was there
        del asked["backbone_image_size"]
    return cast("SpecBlock", asked)


def run_key(
    spec: RunSpec,
    method_source_hash: str,
    data_manifest_hash: str,
    weight_hash: str,
    usual: Evaluation = Evaluation(),  # noqa: B008 - frozen
) -> str:
    """16 hexadecimal digits that stand for the run: the same run always has the same key.

    usual: how the data set's test images are resized where nobody says otherwise.
    """
    asked: dict[str, Any] = dict(spec_dict(spec))
    # A path on one machine counts for nothing; what lies there is in the weights' hash.
    del asked["backbone_file"]
    # What all runs had before it could be chosen is in no key, so that theirs are as they were.
    if spec.evaluation == usual:
        del asked["evaluation"]
    if (
        isinstance(spec.augmentation, Augmentation)
        and spec.augmentation.interpolation == "bilinear"
    ):
        asked["augmentation"] = {**asked["augmentation"]}
        del asked["augmentation"]["interpolation"]
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


def _packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    content = io.BytesIO()
    np.savez_compressed(content, **cast("dict[str, Any]", dict(arrays)))
    return content.getvalue()


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
        refuse_link(self.runs)
        stage(self.runs / "probe", b"").unlink()

    def write(self, result: Mapping[str, Any], predictions: Mapping[str, NDArray[Any]]) -> None:
        """Store a finished run: both files complete or, on `StorageError`, as they were.

        An older result stands until the new one takes its place. Raises ResultError when the
        result does not follow the schema.
        """
        folder = self.folder(result["key"])
        refuse_link(folder)
        file, arrays = folder / RESULT, folder / PREDICTIONS
        # JSON has no nan and no infinity: null stands for them.
        plain = check(to_jsonable_python(result, fallback=dict, inf_nan_mode="null"), file)
        packed = _packed(predictions) if predictions else None
        whole = {**plain, "predictions": packed and hashlib.sha256(packed).hexdigest()}
        whole["digest"] = content_digest(whole)
        text = json.dumps(whole, indent=1, allow_nan=False, ensure_ascii=False)
        staged = {}
        try:
            if packed is not None:
                staged[arrays] = stage(arrays, packed)
            staged[file] = stage(file, (text + "\n").encode())
            # The result comes last: older predictions under a newer result, or the reverse, are
            # told by their digest.
            for path, temporary in staged.items():
                publish(temporary, path)
            if packed is None:
                arrays.unlink(missing_ok=True)
        except BaseException as error:
            for temporary in staged.values():
                discard(temporary)
            if isinstance(error, OSError) and not isinstance(error, StorageError):
                raise failure(file, error) from error
            raise

    def read(self, key: str) -> Result:
        """The stored result; FileNotFoundError when there is none, ResultError when unusable."""
        file = self.folder(key) / RESULT
        own = {name: part for name, part in self._whole(key).items() if name not in _SEALS}
        content = check(own, file)
        if content["key"] != key:
            raise ResultError(file, f"belongs to run {content['key']!r}, not to its folder {key!r}")
        return content

    def predictions(self, key: str, parts: Collection[str] = ()) -> dict[str, NDArray[Any]]:
        """The stored predictions; ResultError when they are missing or damaged.

        parts: what is read of them, by the names before the stage; default: everything.
        """
        file = self.folder(key) / PREDICTIONS
        try:
            packed = file.read_bytes()
            if hashlib.sha256(packed).hexdigest() != self._whole(key)["predictions"]:
                raise ResultError(file, "damaged, or of another result: its digest is not there")
            with np.load(io.BytesIO(packed)) as arrays:
                wanted = [n for n in arrays.files if not parts or n.partition("/")[0] in parts]
                found = {name: arrays[name] for name in wanted}
        except FileNotFoundError as error:
            raise ResultError(file, "is missing") from error
        except _DAMAGED as error:
            raise ResultError(file, f"damaged: {error}") from error
        check_arrays(found, file)
        return found

    def _whole(self, key: str) -> dict[str, Any]:
        """The content of result.json, which is what was written."""
        file = self.folder(key) / RESULT
        try:
            content = json.loads(file.read_text("utf-8"), parse_constant=_refuse)
            check_version(content, file)
            if content.get("digest") != content_digest(content):
                raise ResultError(file, "damaged: its digest is that of other content")
        except (FileNotFoundError, ResultError):
            raise
        except OSError as error:
            raise ResultError(file, str(error.strerror or error)) from error
        except (ValueError, RecursionError) as error:
            raise ResultError(file, f"damaged JSON: {error}") from error
        return dict(content)

    def keys(self) -> list[str]:
        """Keys of all run folders, finished or not."""
        if not self.runs.is_dir():
            return []
        return sorted(entry.name for entry in self.runs.iterdir() if entry.is_dir())

    def results(self, *, verified: bool = False) -> list[Result]:
        """All usable results, by key; what cannot be used is in `problems` afterwards.

        verified: without those whose accuracies are not what their predictions give.
        """
        self.problems = []
        found = []
        for key in self.keys():
            try:
                result = self.read(key)
                if verified:
                    self.verify(result)
                found.append(result)
            except FileNotFoundError:
                continue
            except ResultError as problem:
                self.problems.append(problem)
        return found

    def verify(self, result: Result) -> None:
        """Raises ResultError where accuracies of a run are not what its predictions give.

        Predictions that are missing or damaged say nothing about the accuracies.
        """
        if result["outcome"]["status"] != "done":
            return
        try:
            predictions = self.predictions(result["key"], NEEDED)
        except ResultError:
            return
        check_accuracies(result["outcome"], predictions, self.folder(result["key"]) / RESULT)

    def unfinished(self) -> list[str]:
        """Keys of the runs that were begun and have no result."""
        return [key for key in self.keys() if not (self.folder(key) / RESULT).exists()]


# -- numbers ------------------------------------------------------------------------------------


def run_numbers(result: Result) -> dict[str, float]:
    """Metrics (percent, points) and costs of a finished run by name."""
    outcome = result["outcome"]
    return {
        **metrics.matrix_metrics(outcome["accuracy"], outcome["test_counts"]),
        **{name: cost.function(outcome) for name, cost in COSTS.items()},
    }
