"""The record of a tuning: what was tried, with which budget, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from benchmark.config.reading import SuiteError, as_suite_error, dump, read_mapping
from benchmark.config.tuning import End, TuningSettings
from benchmark.storage import content_digest, write_atomically
from benchmark.validation import StrictModel, as_tuple

VERSION = 2
CRITERION = (
    "final accuracy (ACC_T, percent) on the validation images, mean over the seeds of a trial; "
    "of equals the value nearest to the suite's"
)
_HEAD = "# Written by `clbench tune`: how learning rates and settings were chosen. No test image"
_HEAD += "\n# was used: validation images are training images held out from training.\n"


class RecordError(ValueError):
    """A record that cannot be used; names file, key path and what is wrong."""


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML has a plain form for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


Value = Annotated[Any, BeforeValidator(_plain)]  # as YAML gives it


class TrialRecord(StrictModel):
    """One run of a trial. Trials of a setting ran at the chosen learning rate."""

    chooses: str  # training.lr, or the setting
    value: Value
    seed: int
    status: str  # done | failed
    final: float | None  # percent on the validation images; None: failed
    seconds: float
    key: str  # of the run


class MethodRecord(StrictModel):
    """What a method chose.

    `before`, `chosen` and `ends` have the same keys, such as `training.lr`.
    """

    before: Mapping[str, Value]
    chosen: Mapping[str, Value]
    ends: Mapping[str, End]  # where each choice lies among the values tried
    widened: Annotated[int, Field(ge=0)]  # trials added because a choice lay at an end
    note: str  # what a reader should know, such as a budget that was not spent
    trials: tuple[TrialRecord, ...]

    @property
    def seconds(self) -> float:
        """Of all trials."""
        return sum(trial.seconds for trial in self.trials)

    @property
    def tried(self) -> int:
        """Trials; the runs of several seeds count as one."""
        found: list[tuple[str, Any]] = []
        for trial in self.trials:
            if (trial.chooses, trial.value) not in found:
                found.append((trial.chooses, trial.value))
        return len(found)

    @property
    def planned(self) -> int:
        """Trials before any search was widened: what methods are compared by."""
        return self.tried - self.widened

    def score(self, chooses: str, value: Any) -> float | None:
        """Mean final accuracy of a trial; None where it failed or was not made."""
        finals = [t.final for t in self.trials if (t.chooses, t.value) == (chooses, value)]
        known = [final for final in finals if final is not None]
        return sum(known) / len(known) if known and len(known) == len(finals) else None


class TuningRecord(StrictModel):
    """A whole tuning: one data set, one backbone, one split into tasks."""

    suite: str
    dataset: str
    backbone: str
    tasks: tuple[int, ...]  # classes per task
    validation: float  # share of the training images held out
    data_hash: str
    weight_hash: str
    revision: str | None  # of the code of the last trial; None: not a checkout
    dirty: bool  # a trial ran on sources that differed from a revision
    version: str  # of clbench
    date: str  # start of the last trial, ISO 8601, UTC
    changed: tuple[str, ...]  # what the user changed in the suite, as for --set
    criterion: str
    budget: TuningSettings
    # By what they choose.
    seeds: Mapping[str, Annotated[tuple[int, ...], BeforeValidator(as_tuple)]]
    methods: Mapping[str, MethodRecord]


def merged(earlier: TuningRecord, later: TuningRecord) -> TuningRecord:
    """The later record with the methods that the earlier one alone has.

    None of them is taken over where data or weights have changed since.
    """
    same = (earlier.data_hash, earlier.weight_hash) == (later.data_hash, later.weight_hash)
    if not same:
        return later
    return later.model_copy(
        update={
            "dirty": earlier.dirty or later.dirty,
            "seeds": {**earlier.seeds, **later.seeds},
            "methods": {**earlier.methods, **later.methods},
        }
    )


def write_record(path: Path, record: TuningRecord) -> None:
    """Write the record as YAML, a line a trial; `StorageError` when it cannot be written."""
    content = {"record": VERSION, **_plain(record.model_dump())}
    content = {"record": VERSION, "digest": content_digest(content), **content}
    write_atomically(path, (_HEAD + dump(content)).encode())


def read_record(path: Path) -> TuningRecord:
    """The record in a file; `RecordError` names every error."""
    try:
        content = read_mapping(path)
        whole = dict(content)
        digest, version = content.pop("digest", None), content.pop("record", None)
        if version != VERSION:
            raise RecordError(
                f"{path}: record: version {version!r} cannot be read, only {VERSION}: "
                "is this a file that `clbench tune` wrote?"
            )
        if digest is not None and not _is_of(digest, whole):
            raise RecordError(f"{path}: digest: is that of other content: the file was changed")
        with as_suite_error(path):
            return TuningRecord.model_validate(content)
    except SuiteError as error:
        raise RecordError(str(error)) from error


def _is_of(digest: Any, content: dict[str, Any]) -> bool:
    """Whether a digest is that of a record's content; records of earlier versions have none."""
    try:
        return bool(digest == content_digest(content))
    except (TypeError, ValueError):  # content that no record has
        return False
