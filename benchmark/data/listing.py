"""What the data sets of image files share: reading lists of paths and labels, and their entry."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from benchmark.data.base import (
    DataError,
    Dataset,
    DatasetInfo,
    DataSource,
    Listing,
    MissingDataError,
    OnFault,
    data_command,
)
from benchmark.data.digests import manifest_hash
from benchmark.data.location import check_split

# A part that is empty or leads up, a zero byte, or the separator of another system.
_UNSAFE = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)|[\0\\]")


def fail(fault: str) -> None:
    """What loading does at a fault of a list; `clbench data verify` notes it and reads on."""
    raise DataError(fault)


class Line(NamedTuple):
    """One entry of a list as it was read."""

    path: str
    label: int
    file: Path
    number: int  # from 1

    @property
    def where(self) -> str:
        """How errors name it; a YAML file is counted by entries, not by lines."""
        return f"{self.file}, {'entry' if self.file.suffix == '.yaml' else 'line'} {self.number}"


class ClassNames:
    """The class name of every label, gathered from lists that must agree with each other."""

    def __init__(self, most: int, on_fault: OnFault = fail) -> None:
        self._most, self._on_fault = most, on_fault
        self._names: dict[int, tuple[str, str]] = {}  # label: name, where it was first read
        self._labels: dict[str, tuple[int, str]] = {}

    def add(self, line: Line, name: str) -> int:
        """Note the class of a line; gives its label, or -1 where the fault names two lines."""
        known = self._names.get(line.label)
        if known is not None and known[0] == name:
            return line.label
        if known is not None:
            fault = f"label {line.label} is class {name!r}, but it is {known[0]!r} in {known[1]}"
        elif line.label >= self._most:
            fault = f"label {line.label}; labels go from 0 to {self._most - 1}"
        elif name in self._labels:
            label, there = self._labels[name]
            fault = f"class {name!r} has label {line.label}, but {label} in {there}"
        else:
            self._names[line.label] = (name, line.where)
            self._labels[name] = (line.label, line.where)
            return line.label
        self._on_fault(f"{line.where}: {fault}")
        return -1

    def in_order(self, folder: Path) -> tuple[str, ...]:
        """The names by label; a fault naming their `folder` if a label is left out."""
        count = max(self._names, default=-1) + 1
        absent = sorted(set(range(count)) - set(self._names))
        if absent or not self._names:
            first = f"label {absent[0]} has no image" if absent else "no image"
            self._on_fault(f"{folder}: {first} in any of the lists")
        unknown = "a class without images"
        return tuple(self._names.get(label, (unknown,))[0] for label in range(count))


def read_list(file: Path, on_fault: OnFault = fail) -> list[Line]:
    """Lines `<path> <label>` of a list; the fault of a bad one names the file and the line."""
    try:
        content = read_text(file)
    except DataError as error:
        on_fault(str(error))
        return []
    lines = []
    for number, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        path, label = ("", *text.rsplit(None, 1))[-2:]  # a path may hold spaces
        if not (label.isascii() and label.isdigit() and len(label) < 10 and is_safe(path)):
            on_fault(
                f"{file}, line {number}: {text[:80]!r} is not `<path> <label>` with a path "
                "below the data set's folder and a label in digits"
            )
            continue
        lines.append(Line(path, int(label), file, number))
    return lines


def read_yaml_list(
    file: Path, sha256: str = "", on_fault: OnFault = fail, *, fetch: str = ""
) -> list[Line]:
    """The entries of a list; `number` counts them from 1.

    sha256: what the file must have, if given; faults name expected and found, or the entry that
    is not a path and a label. fetch: the command that fetches it again. `DataError` if it is no
    such list at all.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 and found != sha256:
        on_fault(
            f"{file}: not the published list: its SHA-256 is {found}, expected {sha256}; "
            f"remove it and fetch it with `{fetch}`"
        )
    lists = _parse(file, content)
    paths, labels = (lists.get(key) for key in ("data", "targets"))
    if not isinstance(paths, list) or not isinstance(labels, list):
        raise DataError(f"{file}: needs the two lists `data` and `targets`")
    if len(paths) != len(labels):
        raise DataError(f"{file}: {len(paths)} entries in `data`, {len(labels)} in `targets`")
    lines = []
    for number, (path, label) in enumerate(zip(paths, labels, strict=True), start=1):
        if not isinstance(path, str) or not is_safe(path) or type(label) is not int or label < 0:
            on_fault(
                f"{file}, entry {number}: {str(path)[:80]!r} with target {str(label)[:20]!r} is "
                "not a relative path and a label"
            )
            continue
        lines.append(Line(path, label, file, number))
    return lines


def _parse(file: Path, content: bytes) -> dict[object, object]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, if it was built
    try:
        lists = yaml.load(content, Loader=loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{file}: not YAML: {error}") from error
    if not isinstance(lists, dict):
        raise DataError(f"{file}: needs the two lists `data` and `targets`")
    return lists


def read_text(file: Path) -> str:
    """The text of a list; `DataError` if it cannot be read or is no UTF-8."""
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text: {error}") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error


def is_safe(path: str) -> bool:
    """Whether a path of a list is relative, ends in a name and stays below its folder."""
    return _UNSAFE.search(path) is None


def listed(
    name: str,
    listing: Callable[[DataSource, OnFault], tuple[Path, Listing]],
    *,
    splits: tuple[str, ...] = ("default",),
    **known: Any,
) -> DatasetInfo:
    """The entry of a data set of image files; all it says of a source is in what `listing` reads.

    listing: gives the folder of the images and their lists, and reports faults as it reads; it is
    asked for one of `splits` only. known: the other fields of `DatasetInfo`.
    """

    def survey(source: DataSource, on_fault: OnFault) -> tuple[Path, Listing]:
        check_split(name, source, splits)
        try:
            return listing(source, on_fault)
        except MissingDataError as error:
            raise error.asked_of(source) from None

    def advice(source: DataSource) -> str:
        command = data_command("verify", name, source.root, source.split)
        again = "unpack the archives again for what is missing, or " if known.get("files") else ""
        return f"{again}see `{command}`"

    def load(source: DataSource) -> Dataset:
        folder, found = survey(source, fail)
        return found.to_dataset(name, folder, advice(source))

    def manifest(source: DataSource) -> str:
        return manifest_hash(*survey(source, fail), source.on_progress, advice(source))

    return DatasetInfo(
        name=name,
        class_names=lambda source: list(survey(source, fail)[1].class_names),
        manifest_hash=manifest,
        load=load,
        survey=survey,
        splits=splits,
        **known,
    )
