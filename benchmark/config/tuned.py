"""Using what a tuning chose: the record that a suite or `--tuned` names, on any suite and data."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.config.reading import SuiteError
from benchmark.config.record import MethodRecord, RecordError, read_record
from benchmark.config.tuning import RECIPE
from benchmark.registry import UnknownNameError
from benchmark.spec import RunSpec
from benchmark.storage import is_file
from benchmark.validation import Errors, check_field, unknown_key

if TYPE_CHECKING:
    from benchmark.results.schema import TunedBlock

RECORDS_FOLDER = Path(__file__).resolve().parent.parent / "suites" / "tuning"


@dataclass(frozen=True)
class Choices:
    """What a tuning chose for each method; `name` is that of its record."""

    name: str
    dataset: str  # on whose training images
    methods: Mapping[str, MethodRecord] = field(default_factory=dict)
    weight_hash: str = ""  # of the backbone it was tuned with; empty: not known

    def values_for(self, method: str, block: str, kind: type, errors: Errors) -> dict[str, Any]:
        """The checked values for one block of a method; none where it was not tuned.

        Args:
            method: Its name.
            block: `training` or `settings`.
            kind: The dataclass with the keys: `Recipe`, or the method's Config.
            errors: Takes what does not suit.
        """
        known = [each.name for each in fields(kind)]
        values = {}
        for name, value in self._chosen(method).items():
            if name.startswith(RECIPE) != (block == "training"):
                continue
            key = name.removeprefix(RECIPE)
            with errors.at(f"tuning record {self.name}: methods.{method}.chosen.{name}"):
                if key not in known:
                    raise ValueError(unknown_key(key, known))
                values[key] = check_field(kind, key, value)
        return values

    def behind(self, spec: RunSpec) -> TunedBlock | None:
        """What is stored with a run that has all values chosen for its method; else None."""
        method = self.methods.get(spec.method)
        if method is None:
            return None
        from benchmark.results.store import canonical, spec_dict

        stored = spec_dict(spec)
        for name, value in method.chosen.items():
            block: Mapping[str, Any] = stored["recipe" if name.startswith(RECIPE) else "settings"]
            if canonical(block.get(name.removeprefix(RECIPE))) != canonical(value):
                return None
        return {
            "record": self.name,
            "dataset": self.dataset,
            "trials": method.tried,
            "widened": method.widened,
            "weight_hash": self.weight_hash,
        }

    def untuned(self, methods: Iterable[str]) -> list[str]:
        """Those of the methods that the record has nothing about."""
        return [name for name in dict.fromkeys(methods) if name not in self.methods]

    def _chosen(self, method: str) -> Mapping[str, Any]:
        return self.methods[method].chosen if method in self.methods else {}


def record_files() -> dict[str, Path]:
    """The records that come with the suites, by name."""
    return {path.stem: path for path in sorted(RECORDS_FOLDER.glob("*.yaml"))}


def find_record(name_or_path: str, folder: Path = Path()) -> Path:
    """The file of a record given by name or by path, a relative one from `folder`.

    Raises:
        SuiteError: There is no such file.
        UnknownNameError: There is no record of that name.
    """
    path = Path(name_or_path).expanduser()
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        found = folder / path
        if not is_file(found):
            raise SuiteError([f"tuning record {name_or_path}: no such file"])
        return found
    files = record_files()
    if name_or_path not in files:
        raise UnknownNameError("tuning record", name_or_path, files)
    return files[name_or_path]


def read_choices(name_or_path: str, folder: Path = Path()) -> Choices:
    """What the record given by name or by path chose; raises as `find_record`.

    A record that cannot be read is a `SuiteError` too.
    """
    path = find_record(name_or_path, folder)
    try:
        record = read_record(path)
    except RecordError as error:
        raise SuiteError(str(error).splitlines()) from error
    return Choices(path.stem, record.dataset, record.methods, record.weight_hash)
