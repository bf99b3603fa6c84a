"""The form of a stored result: `result.json` and `predictions.npz`, and the check of a read file.

    <root>/runs/<key>/result.json       written last: a folder without it is unfinished
    <root>/runs/<key>/predictions.npz   what is needed to compute new metrics without training

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

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypedDict, cast, get_args, get_origin, get_type_hints, is_typeddict

SCHEMA_VERSION = 1
_ALL = 100 + 1e-6  # percent, and rounding
STATUSES = ("done", "failed", "cancelled")
Keep = Literal["all", "last"]  # predictions: every stage, or the last stage's best class alone


class SpecBlock(TypedDict):
    """Everything that was asked for, resolved (`benchmark.config.RunSpec`)."""

    dataset: str
    tasks: list[int]  # classes per task, in order
    order: str  # natural | shuffled:SEED | path of a file
    method: str
    settings: dict[str, Any]  # every field of the method's Config
    recipe: dict[str, Any]  # every field of benchmark.config.Recipe
    backbone: str
    seed: int
    input_range: str  # unit | native
    precision: str  # fp32 | bf16
    validation: float  # share of the training images that replaced the test images; 0: none
    split: str  # which of the data set's published splits
    backbone_file: str  # path of the backbone's weights where one was given
    scenario: str  # class | domain
    protocol: int  # version of the runner's rules


class _LaterFlops(TypedDict, total=False):
    """What older results do not hold."""

    query: float  # of `train` and of `predict`: the pass that reads the frozen backbone's features


class Flops(_LaterFlops):
    """Operations per image; null where they could not be counted."""

    train: float | None  # of a step: forward and backward, what is done once a step shared out
    predict: float | None


class Stored(TypedDict):
    """Numbers in every part of the method at the end, by the part's name in its module."""

    parameters: dict[str, int]  # backbone, heads and, by name, what the method adds
    statistics: dict[str, int]  # the parts of `stored_statistics`


class _LaterOutcome(TypedDict, total=False):
    """What older results do not hold."""

    stored: Stored


class Outcome(_LaterOutcome):
    """What happened. A run that is not done may have `status` and `error` only."""

    status: str  # done | failed | cancelled
    error: str | None  # what happened, one paragraph; null when done
    # a[i][j]: accuracy in percent on the test images of task j after training task i. Row i has
    # i + 1 entries, or is null when that stage was not evaluated (joint: all but the last).
    accuracy: list[list[float] | None]
    test_counts: list[int]  # test images per task
    losses: list[list[float | None]]  # mean loss per epoch, per task trained; null: not finite
    train_seconds: list[float]  # per task trained, as the next four
    eval_seconds: list[float]
    train_images_per_second: list[float]
    trainable_parameters: list[int]
    expanded_parameters: int  # beside backbone and classifier, after the last task
    stored_statistics: int  # numbers kept between tasks that are not parameters
    classifier_parameters: int
    backbone_parameters: int
    flops_per_image: Flops
    peak_memory_mb: float
    marks: list[str]  # what a reader of the number has to know; shown in every table


class _LaterEnvironment(TypedDict, total=False):
    """What older results do not hold."""

    # The first 12 digits of the SHA-256 of every file that decides the run's numbers: the method's
    # own and the runner's.
    sources: dict[str, str]
    inputs: dict[str, str]  # image size, augmentation, resizing and pixel range in words


class Environment(_LaterEnvironment):
    """Where and with what. A run that is not done may lack any of these."""

    suite: str  # name it was run under
    revision: str | None  # git; null: not a checkout
    dirty: bool  # sources differed from that revision
    version: str  # of clbench
    method_source_hash: str
    data_manifest_hash: str
    weight_hash: str
    packages: dict[str, str]  # versions of torch, timm, numpy, python
    device: str
    hardware: str
    threads: int
    started: str  # ISO 8601, UTC
    seconds: float  # the whole run


class Result(TypedDict):
    """One file result.json."""

    schema: int
    key: str
    spec: SpecBlock
    outcome: Outcome
    environment: Environment


class ResultError(ValueError):
    """A result file that cannot be used; names the file and what is wrong with it."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(file, reason)
        self.file, self.reason = file, reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class SchemaError(ResultError):
    """A result file of another version of the schema."""


def check(content: Any, file: Path) -> Result:
    """`content` of `file` as a result; raises ResultError with everything that is wrong with it."""
    if not isinstance(content, dict) or "schema" not in content:
        raise ResultError(file, "not a result of clbench: no schema number")
    if (found := content["schema"]) != SCHEMA_VERSION:
        reason = (
            f"schema {found!r}, this clbench reads {SCHEMA_VERSION}: use another results folder"
        )
        raise SchemaError(file, reason)
    if isinstance(content.get("spec"), dict):  # results of the first protocol knew one of each
        content["spec"] = {"split": "default", "scenario": "class", **content["spec"]}
    if faults := list(_result_faults(content)):
        raise ResultError(file, "; ".join(faults))
    return cast("Result", content)


def _result_faults(content: dict[str, Any]) -> Iterator[str]:
    outcome = content.get("outcome")
    status = outcome.get("status") if isinstance(outcome, dict) else None
    if status == "done":
        faults = list(_faults(content, Result, "result"))
        yield from faults or _matrix_faults(content["outcome"], len(content["spec"]["tasks"]))
        return
    # What a run that broke off leaves is incomplete by nature.
    yield from _faults(content, _Broken, "result")
    if isinstance(outcome, dict) and status not in STATUSES:
        yield f"result.outcome.status is {status!r}, not one of {', '.join(STATUSES)}"


class _BrokenOutcome(TypedDict):
    status: str
    error: str | None


class _Broken(TypedDict):
    key: str
    spec: SpecBlock
    outcome: _BrokenOutcome
    environment: dict[str, Any]


_hints = cache(get_type_hints)


def _faults(value: Any, kind: Any, path: str) -> Iterator[str]:
    """Where `value` is not of the type `kind`: TypedDict, list, dict, union or plain type."""
    if type(value) is kind:  # nearly always, and there are thousands of numbers in a folder
        return
    inner = get_args(kind)
    if is_typeddict(kind):
        if not isinstance(value, dict):
            yield f"{path} is not an object"
            return
        for name, hint in _hints(kind).items():
            if name in value:
                yield from _faults(value[name], hint, f"{path}.{name}")
            elif name in kind.__required_keys__:
                yield f"{path}.{name} is missing"
    elif get_origin(kind) is UnionType:
        if all(any(True for _ in _faults(value, option, path)) for option in inner):
            yield f"{path} is {value!r}, not {kind}"
    elif get_origin(kind) is list:
        if not isinstance(value, list):
            yield f"{path} is {value!r}, not a list"
            return
        for i, item in enumerate(value):
            if type(item) is not inner[0]:
                yield from _faults(item, inner[0], f"{path}[{i}]")
    elif get_origin(kind) is dict and isinstance(value, dict):
        for name, item in value.items():
            yield from _faults(item, inner[1], f"{path}.{name}")
    elif kind is not Any and not _is(value, get_origin(kind) or kind):
        yield f"{path} is {value!r}, not {kind}"


def _is(value: Any, kind: Any) -> bool:
    """A whole number is a float too, as JSON has it; true and false are no numbers."""
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, (int, float) if kind is float else kind)


def _matrix_faults(outcome: Outcome, tasks: int) -> Iterator[str]:
    rows, counts = outcome["accuracy"], outcome["test_counts"]
    if len(rows) != tasks or len(counts) != tasks:
        yield f"{len(rows)} rows of accuracy and {len(counts)} test counts for {tasks} tasks"
    elif not tasks or rows[-1] is None:
        yield "accuracy has no last row"
    if any(count < 1 for count in counts):
        yield f"test counts must be at least 1: {counts}"
    for i, row in enumerate(rows):
        if row is None:
            continue
        if len(row) != i + 1:
            yield f"accuracy row {i} has {len(row)} entries, not {i + 1}"
        if not all(0 <= value <= _ALL for value in row):
            yield f"accuracy row {i} is not in percent: {row}"
