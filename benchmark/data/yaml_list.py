"""Lists in YAML as CODA-Prompt publishes them: paths under `data`, labels under `targets`."""

from __future__ import annotations

import hashlib
from pathlib import Path

from benchmark.data.base import DataError
from benchmark.data.listing import Line, OnFault, fail, is_safe


def read_yaml_list(file: Path, sha256: str = "", on_fault: OnFault = fail) -> list[Line]:
    """The entries of a list; `number` counts them from 1.

    sha256: what the file must have, if given; faults name expected and found, or the entry that
    is not a path and a label. `DataError` if it is no such list at all.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    found = hashlib.sha256(content).hexdigest()
    if sha256 and found != sha256:
        on_fault(
            f"{file}: not the published list: its SHA-256 is {found}, expected {sha256}; "
            "remove it and fetch it with `clbench data prepare`"
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
        lines.append(Line(path, label, number))
    return lines


def _parse(file: Path, content: bytes) -> dict[object, object]:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, if it was built
    try:
        lists = yaml.load(content, Loader=loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(f"{file}: no YAML: {error}") from error
    if not isinstance(lists, dict):
        raise DataError(f"{file}: needs the two lists `data` and `targets`")
    return lists
