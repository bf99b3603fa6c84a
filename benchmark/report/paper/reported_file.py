"""One file of published numbers: from YAML to entries, every fault named with its place."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from benchmark.config.convert import Problems, convert_mapping, field_types
from benchmark.config.reading import read_mapping
from benchmark.registry import UnknownNameError
from benchmark.report.paper.published import METRICS, Confidence, Entry, Setting, Spread


def read_file(path: Path) -> list[Entry]:
    """The entries of a file; `SuiteError` with everything that is wrong with it."""
    problems = Problems(str(path))
    entries = list(_entries(read_mapping(path), problems))
    seen = set()
    for entry in entries:
        if entry.identity in seen:
            problems.add(entry.name, "is given twice")
        seen.add(entry.identity)
    problems.check()
    return entries


@dataclass(frozen=True)
class _Source:
    kind: str
    title: str
    note: str = ""


@dataclass(frozen=True)
class _Block:
    """A table of a paper, or its part on one data set and backbone."""

    paper: str
    table: str
    dataset: str
    backbone: str
    rows: tuple[Any, ...]
    scenario: Literal["class", "domain"] = "class"
    spread: Spread = "unstated"
    setting: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Row:
    method: str | None
    label: str
    tasks: int | None
    source: str | tuple[str, ...]
    confidence: Confidence
    verified: bool
    recalled: bool
    n: int | None = None
    note: str = ""


def _entries(content: Mapping[str, Any], problems: Problems) -> Iterator[Entry]:
    types = {"papers": Mapping[str, str], "sources": Mapping[str, Any], "tables": tuple[Any, ...]}
    top = _record(content, types, "", problems, required=types)
    if top is None:
        return
    sources = {
        name: _Source(**values)
        for name, raw in top["sources"].items()
        if (values := _read(raw, _Source, f"sources.{name}", problems)) is not None
    }
    for i, raw in enumerate(top["tables"]):
        values = _read(raw, _Block, f"tables[{i}]", problems)
        if values is None:
            continue
        block = _Block(**values)
        if block.paper not in top["papers"]:
            problems.add(f"tables[{i}].paper", _not_among(block.paper, top["papers"]))
            continue
        title = top["papers"][block.paper]
        yield from _block_entries(block, title, sources, f"tables[{i}]", problems)


def _block_entries(
    block: _Block, title: str, sources: Mapping[str, _Source], place: str, problems: Problems
) -> Iterator[Entry]:
    settings = {
        method: _setting(block.setting, raw, f"{place}.methods.{method}", problems)
        for method, raw in {"": {}, **block.methods}.items()
    }
    for i, raw in enumerate(block.rows):
        where = f"{place}.rows[{i}]"
        values = _read(raw, _Row, where, problems, dict.fromkeys(METRICS, Any))
        if values is None:
            continue
        numbers = {name: values.pop(name) for name in METRICS if name in values}
        row = _Row(**values)
        read_in = (row.source,) if isinstance(row.source, str) else row.source
        unknown = [name for name in read_in if name not in sources]
        for name in unknown:
            problems.add(f"{where}.source", _not_among(name, sources))
        if unknown or not _row_is_sound(row, numbers, read_in, where, problems):
            continue
        for metric, number in numbers.items():
            mean, std = _mean_and_std(number)
            yield Entry(
                block.paper, title, block.table, block.dataset, block.scenario, row.tasks,
                block.backbone, row.method, row.label, metric, mean, std, block.spread, row.n,
                sources[read_in[0]].title, tuple(sources[name].title for name in read_in[1:]),
                row.confidence, row.verified, row.recalled, row.note,
                settings.get(row.method or "", settings[""]),
            )  # fmt: skip
    there = {raw.get("method") for raw in block.rows if isinstance(raw, Mapping)}
    for method in block.methods:
        if method not in there:
            problems.add(f"{place}.methods.{method}", "has no row in this table")


def _row_is_sound(
    row: _Row, numbers: Mapping[str, Any], read_in: Sequence[str], where: str, problems: Problems
) -> bool:
    """Whether the numbers are numbers and their marks agree; what is wrong goes to `problems`."""
    faults = []
    for metric, number in numbers.items():
        mean, std = _mean_and_std(number)
        if number is not None and mean is None:
            faults.append(f"{metric} must be a number, [mean, deviation] or null, not {number!r}")
        elif mean is not None and not (0 <= mean <= 100 and (std is None or 0 <= std <= 100)):
            faults.append(f"{metric} must be percent from 0 to 100, not {number!r}")
    known = [number is not None for number in numbers.values()]
    if not numbers:
        faults.append(f"has none of {', '.join(METRICS)}")
    if not read_in:
        faults.append("source must name where the number was read")
    if any(known) != (row.confidence != "none") or any(known) != all(known):
        faults.append("confidence is `none` where the numbers are null, and nowhere else")
    if row.verified and (row.recalled or not any(known)):
        faults.append("what is recalled or not there cannot be verified")
    if row.recalled and not any(known):
        faults.append("recalled, but there is no number")
    for name, value in (("tasks", row.tasks), ("n", row.n)):
        if value is not None and value < 1:
            faults.append(f"{name} must be at least 1, not {value}")
    for fault in faults:
        problems.add(where, fault)
    return not faults


def _mean_and_std(number: Any) -> tuple[float | None, float | None]:
    """`75.3`, `[75.3, 0.2]` or None as mean and deviation; None, None for anything else."""
    parts = number if isinstance(number, list) and len(number) == 2 else [number]
    plain = all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts)
    if not plain or not all(math.isfinite(part) for part in parts):
        return None, None
    return float(parts[0]), float(parts[1]) if len(parts) == 2 else None


def _setting(shared: Mapping[str, Any], own: Any, place: str, problems: Problems) -> Setting:
    """The table's setting with what is known of one method over it."""
    base = _read(shared, Setting, place.partition(".methods.")[0] + ".setting", problems) or {}
    over = _read(own, Setting, place, problems) or {}
    merged = base | over
    for name in ("recipe", "settings"):
        merged[name] = {**base.get(name, {}), **over.get(name, {})}
    merged["unknown"] = (*base.get("unknown", ()), *over.get("unknown", ()))
    return Setting(**merged)


def _read(
    raw: Any, cls: type, place: str, problems: Problems, more: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """The fields of a dataclass, and `more`, from a mapping; None where something is wrong."""
    required = [f.name for f in fields(cls) if f.default is f.default_factory is MISSING]
    return _record(raw, {**field_types(cls), **(more or {})}, place, problems, required)


def _record(
    raw: Any, types: Mapping[str, Any], place: str, problems: Problems, required: Iterable[str]
) -> dict[str, Any] | None:
    if not isinstance(raw, Mapping):
        problems.add(place, f"must hold keys and values, not {raw!r}")
        return None
    before = len(problems.found)
    values = convert_mapping({str(key): raw[key] for key in raw}, types, place, problems)
    missing = [name for name in required if name not in raw]
    if missing:
        problems.add(place, f"lacks {', '.join(missing)}")
    return values if len(problems.found) == before else None


def _not_among(name: str, known: Iterable[str]) -> str:
    return str(UnknownNameError("name", name, known))
