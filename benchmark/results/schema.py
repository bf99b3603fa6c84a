"""The form of a stored result: `result.json` and `predictions.npz`, and the check of a read file.

    <root>/runs/<key>/result.json       written last: a folder without it is unfinished
    <root>/runs/<key>/predictions.npz   what is needed to compute new metrics without training

result.json is a `Result` with two more entries, which the store writes and checks at every read:

    predictions      SHA-256 of predictions.npz; null where there is none
    digest           `benchmark.storage.content_digest` of all other entries

predictions.npz, with n test images grouped by task in order, C classes, labels in the order of
learning, and one set of the last three arrays per evaluated stage i (0-based), which hold the n_i
images of the tasks up to i, the first n_i rows of `labels`:

    labels           int16 [n]
    task_of_class    int16 [C]          all 0 where every task has all classes
    task_of_image    int16 [n]
    top_classes/i    int16 [n_i, k]     the k = min(5, classes seen) best classes, best first
    top_scores/i     float16 [n_i, k]   their logits
    known/i          int16 [n_i]        best class within the image's own task

Where only the last stage was to be kept, the others are not there and k is 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import NotRequired, TypedDict

from benchmark.results.earlier import completed
from benchmark.spec import Interpolation, NoAugmentation, Precision, Scenario
from benchmark.validation import messages

SCHEMA_VERSION = 3
BATCH_MARK = "prediction depends on the other images of the batch"
Status = Literal["done", "failed", "interrupted"]
Keep = Literal["all", "last"]  # predictions: every stage, or the last stage's best class alone
Role = Literal["bound", "reference", "method"]
Stream = Literal["tasks", "joint"]
Percent = Annotated[float, Field(ge=0, le=100 + 1e-6)]  # the rest is rounding
Count = Annotated[int, Field(ge=0)]
PositiveCount = Annotated[int, Field(ge=1)]


class RecipeBlock(TypedDict):
    """Every field of `benchmark.spec.Recipe`."""

    optimizer: str
    lr: float
    epochs: int
    batch_size: int
    weight_decay: float
    momentum: float
    betas: list[float]
    schedule: str
    milestones: list[int]
    gamma: float
    clip_norm: float
    drop_last: bool
    lr_scales: dict[str, float]


class AugmentationBlock(TypedDict):
    """Every field of `benchmark.spec.Augmentation`."""

    scale: list[float]
    ratio: list[float]
    flip: float
    colour: float
    interpolation: Interpolation


class EvaluationBlock(TypedDict):
    """Every field of `benchmark.spec.Evaluation`."""

    resize: Literal["shorter", "both"]
    crop: float
    interpolation: Interpolation


class NormalisationBlock(TypedDict):
    """Every field of `benchmark.spec.Normalisation`."""

    mean: list[float]
    std: list[float]


class SpecBlock(TypedDict):
    """Everything that was asked for, resolved (`benchmark.spec.RunSpec`)."""

    dataset: str
    tasks: list[PositiveCount]  # classes per task, in order
    order: str  # natural | shuffled:SEED | coda:SEED | path of a file
    method: str
    settings: dict[str, Any]  # every field of the method's Config
    recipe: RecipeBlock
    backbone: str
    seed: int
    input_range: Literal["unit", "native"] | NormalisationBlock
    precision: Precision
    validation: float  # share of the training images that replaced the test images; 0: none
    split: str  # which of the data set's published splits
    backbone_file: str  # path of the backbone's weights where one was given
    backbone_image_size: NotRequired[int]  # side of the images where one was given
    scenario: Scenario
    augmentation: AugmentationBlock | NoAugmentation  # of the training images
    evaluation: EvaluationBlock  # how test images were resized
    protocol: int  # version of the runner's rules


class Flops(TypedDict):
    """Operations per image; null where they could not be counted, which a mark then says."""

    train: float | None  # of a step: forward and backward, what is done once a step shared out
    predict: float | None
    query: float  # of both: the pass that reads the frozen backbone's features


class Stored(TypedDict):
    """Numbers in every part of the method at the end, by the names the method declares (`kept`)."""

    parameters: dict[str, int]  # backbone, heads and what the method adds
    statistics: dict[str, int]  # the parts of `stored_statistics`


class _Ending(TypedDict):
    """How a run ended: all that one that is not done may say."""

    status: Status
    error: str | None  # what happened, one paragraph; null when done
    traceback: NotRequired[str]  # of a run that failed by an error


class Outcome(_Ending):
    """What happened. A run that is not done may have `status` and `error` only."""

    # a[i][j]: accuracy in percent on the test images of task j after training task i. Row i has
    # i + 1 entries, or is null when that stage was not evaluated (joint: all but the last).
    accuracy: list[list[Percent] | None]
    test_counts: list[PositiveCount]  # test images per task
    losses: list[list[float | None]]  # mean loss per epoch, per task trained; null: not finite
    train_seconds: list[float]  # per task trained, as the next four
    eval_seconds: list[float]
    train_images_per_second: list[float]
    trainable_parameters: list[Count]
    expanded_parameters: Count  # beside backbone and classifier, after the last task
    stored_statistics: Count  # numbers kept between tasks that are not parameters
    stored: Stored
    classifier_parameters: Count
    backbone_parameters: Count
    flops_per_image: Flops
    peak_memory_mb: float
    # What a reader of the number has to know, shown in every table: `BATCH_MARK`, and what the
    # method said (`Method.note`).
    marks: list[str]


class _Method(TypedDict):
    """What the method is."""

    role: Role  # in a comparison
    stream: Stream  # how it meets the classes: task by task, or all at once


class TunedBlock(TypedDict):
    """The tuning that chose a run's values (`clbench tune`)."""

    record: str  # its name
    dataset: str  # on whose training images
    trials: Count  # of the method
    widened: Count  # those of them that were added because a choice lay at an end
    weight_hash: str  # of the backbone it was tuned with; empty: not known


class Environment(_Method):
    """Where and with what. A run that is not done may lack all but `role` and `stream`."""

    suite: str  # name it was run under
    # null: the suite names no record, or the run has other values than its record chose; missing
    # from results that do not know.
    tuned: NotRequired[TunedBlock | None]
    revision: str | None  # git; null: not a checkout
    dirty: bool  # sources differed from that revision
    version: str  # of clbench
    method_source_hash: str
    data_manifest_hash: str
    weight_hash: str
    # The first 12 digits of the SHA-256 of every file that decides the run's numbers: the method's
    # own and the runner's.
    sources: dict[str, str]
    packages: dict[str, str]  # versions of torch, timm, numpy, pillow, python and so on
    device: str
    hardware: str
    threads: int
    # Image size and pixel range in words.
    inputs: dict[str, str]
    # Of the backbone that was loaded, in words: heads, image size, pooling, input range and more;
    # missing from results that do not know.
    network: NotRequired[dict[str, str]]
    started: str  # ISO 8601, UTC
    seconds: float  # the whole run


class Result(TypedDict):
    """What happened to one run, and how it came about."""

    schema: int
    key: str
    spec: SpecBlock
    outcome: Outcome
    environment: Environment


class _Incomplete(TypedDict):
    """A result of a run that is not done."""

    key: str
    spec: SpecBlock
    outcome: _Ending
    environment: _Method


class ResultError(ValueError):
    """A result file that cannot be used; names the file and what is wrong with it."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(file, reason)
        self.file, self.reason = file, reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class SchemaError(ResultError):
    """A result file of another version of the schema."""


# Name of an array of predictions, without the stage: kind of its numbers, and dimensions.
_ARRAYS = {
    "labels": ("i", 1),
    "task_of_class": ("i", 1),
    "task_of_image": ("i", 1),
    "top_classes": ("i", 2),
    "top_scores": ("f", 2),
    "known": ("i", 1),
}
_adapter = cache(TypeAdapter)  # made when the first result is read


def check_version(content: Any, file: Path) -> None:
    """Raises SchemaError for `content` of another version, ResultError for no result at all."""
    if not isinstance(content, dict) or "schema" not in content:
        raise ResultError(file, "not a result of clbench: no schema number")
    if (found := content["schema"]) != SCHEMA_VERSION:
        reason = (
            f"schema {found!r}, this clbench reads {SCHEMA_VERSION}: use another results folder"
        )
        raise SchemaError(file, reason)


def check(content: Any, file: Path) -> Result:
    """`content` of `file` as a result; raises ResultError with everything that is wrong with it.

    What a result of an earlier version lacks is filled in.
    """
    check_version(content, file)
    content = completed(content)
    outcome = content.get("outcome")
    done = isinstance(outcome, dict) and outcome.get("status") == "done"
    try:
        _adapter(Result if done else _Incomplete).validate_python(content, strict=True)
    except ValidationError as error:
        reason = "; ".join(f"{location} {text}" for location, text in messages(error))
        raise ResultError(file, reason) from error
    result = cast("Result", content)
    if done and (wrong := list(_matrix_errors(result))):
        raise ResultError(file, "; ".join(wrong))
    return result


def check_arrays(arrays: Mapping[str, NDArray[Any]], file: Path) -> None:
    """Raises ResultError where an array of predictions is not of its type and shape."""
    for name, array in arrays.items():
        kind, dimensions = _ARRAYS.get(name.partition("/")[0], (array.dtype.kind, array.ndim))
        if (array.dtype.kind, array.ndim) != (kind, dimensions):
            raise ResultError(file, f"{name} is {array.dtype} in {array.ndim} dimensions")
        if kind == "i" and array.size and array.min() < 0:
            raise ResultError(file, f"{name} has a negative entry")


def _matrix_errors(result: Result) -> Iterator[str]:
    rows, counts = result["outcome"]["accuracy"], result["outcome"]["test_counts"]
    tasks = len(result["spec"]["tasks"])
    if len(rows) != tasks or len(counts) != tasks:
        yield f"{len(rows)} rows of accuracy and {len(counts)} test counts for {tasks} tasks"
    elif not tasks or rows[-1] is None:
        yield "accuracy has no last row"
    for i, row in enumerate(rows):
        if row is not None and len(row) != i + 1:
            yield f"accuracy row {i} has {len(row)} entries, not {i + 1}"
