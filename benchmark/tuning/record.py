"""The record of a tuning: what was tried, with which budget, and what was chosen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from benchmark.config.convert import Problems, SuiteError, convert_mapping, field_types
from benchmark.config.reading import dump, read_mapping
from benchmark.config.tuning import TuningSettings
from benchmark.storage import write_atomically

VERSION = 1
CRITERION = (
    "final accuracy (ACC_T, percent) on the validation images, mean over the seeds of a trial; "
    "of equals the value nearest to the suite's"
)
_HEAD = "# Written by `clbench tune`: how learning rates and settings were chosen. No test image"
_HEAD += "\n# was used: validation images are training images held out from training.\n"
T = TypeVar("T")


class RecordError(ValueError):
    """A record that cannot be used; names the file, the place and what is wrong."""


@dataclass(frozen=True)
class TrialRecord:
    """One run of a trial. Trials of a setting ran at the chosen learning rate."""

    chooses: str  # training.lr, or the setting
    value: Any
    seed: int
    status: str  # done | failed
    final: float | None  # percent on the validation images; None: failed
    seconds: float
    key: str  # of the run


@dataclass(frozen=True)
class MethodRecord:
    """What a method chose; `before` and `chosen` have the same keys, such as `training.lr`."""

    before: Mapping[str, Any]
    chosen: Mapping[str, Any]
    edge: bool  # the chosen learning rate is the smallest or the largest of those tried
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

    def score(self, chooses: str, value: Any) -> float | None:
        """Mean final accuracy of a trial; None where it failed or was not made."""
        finals = [t.final for t in self.trials if (t.chooses, t.value) == (chooses, value)]
        known = [final for final in finals if final is not None]
        return sum(known) / len(known) if known and len(known) == len(finals) else None


@dataclass(frozen=True)
class TuningRecord:
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
    changed: tuple[str, ...]  # what the user set otherwise than the suite, as for --set
    criterion: str
    budget: TuningSettings
    seeds: Mapping[str, tuple[int, ...]]  # by what they choose
    methods: Mapping[str, MethodRecord]


def merged(earlier: TuningRecord, later: TuningRecord) -> TuningRecord:
    """The later record with the methods that the earlier one alone has.

    None of them is taken over where data or weights have changed since.
    """
    same = (earlier.data_hash, earlier.weight_hash) == (later.data_hash, later.weight_hash)
    if not same:
        return later
    return replace(
        later,
        dirty=earlier.dirty or later.dirty,
        seeds={**earlier.seeds, **later.seeds},
        methods={**earlier.methods, **later.methods},
    )


def write_record(path: Path, record: TuningRecord) -> None:
    """Write the record as YAML, a line a trial; `StorageError` when it cannot be written."""
    content = {"record": VERSION, **_plain(asdict(record))}
    write_atomically(path, (_HEAD + dump(content)).encode())


def read_record(path: Path) -> TuningRecord:
    """The record in a file; `RecordError` names every fault."""
    try:
        content = read_mapping(path)
    except SuiteError as error:
        raise RecordError(str(error)) from error
    version = content.pop("record", None)
    if version != VERSION:
        raise RecordError(
            f"{path}: record: version {version!r} cannot be read, only {VERSION}: "
            "is this a file that `clbench tune` wrote?"
        )
    problems = Problems(str(path))
    inner = {"budget": Mapping[str, Any], "methods": Mapping[str, Any]}
    values = _fields(content, TuningRecord, "", problems, **inner)
    if "budget" in values:
        values["budget"] = _build(values["budget"], TuningSettings, "budget", problems)
    values["methods"] = {
        name: _method(entry, f"methods.{name}", problems)
        for name, entry in values.get("methods", {}).items()
    }
    if problems.found:
        raise RecordError("\n".join(problems.found))
    return TuningRecord(**values)


def _method(entry: Any, place: str, problems: Problems) -> MethodRecord | None:
    values = _fields(entry, MethodRecord, place, problems, trials=tuple[Any, ...])
    values["trials"] = tuple(
        _build(trial, TrialRecord, f"{place}.trials[{index}]", problems)
        for index, trial in enumerate(values.get("trials", ()))
    )
    return None if problems.found else MethodRecord(**values)


def _build(entry: Any, cls: type[T], place: str, problems: Problems) -> T | None:
    values = _fields(entry, cls, place, problems)
    return None if problems.found else cls(**values)


def _fields(entry: Any, cls: type, place: str, problems: Problems, **other: Any) -> dict[str, Any]:
    """The checked values of a dataclass's fields; a missing one is a fault."""
    if not isinstance(entry, Mapping):
        problems.add(place, f"must hold keys and values, not {entry!r}")
        return {}
    for field in fields(cls):
        if field.name not in entry and field.default is MISSING:
            problems.add(f"{place}.{field.name}" if place else field.name, "is missing")
    return convert_mapping(entry, field_types(cls) | other, place, problems)


def _plain(value: Any) -> Any:
    """Tuples as lists, which YAML has a plain form for."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
