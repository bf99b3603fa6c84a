"""One file of published numbers: from YAML to entries, every error named with its key path."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticKnownError

from benchmark.config.reading import as_suite_error, read_mapping
from benchmark.registry import UnknownNameError
from benchmark.report.paper.published import METRICS, Confidence, Entry, Setting, Spread
from benchmark.validation import Errors, OneOrMore, StrictModel, check_fields


def read_file(path: Path) -> list[Entry]:
    """The entries of a file; `SuiteError` with everything that is wrong with it."""
    content = read_mapping(path)
    with as_suite_error(path):
        entries = list(_entries(_File.model_validate(content)))
        errors = Errors()
        seen = set()
        for entry in entries:
            if entry.identity in seen:
                errors.add("is given twice", entry.name)
            seen.add(entry.identity)
        errors.check()
    return entries


def _known(kind: str) -> AfterValidator:
    """Refuses a name that the file does not list under `kind`."""

    def check(name: str, info: ValidationInfo) -> str:
        known = (info.context or {}).get(kind)
        if known is not None and name not in known:
            raise UnknownNameError("name", name, known)
        return name

    return AfterValidator(check)


def _mean_and_std(number: Any) -> tuple[float | None, float | None]:
    """`75.3`, `[75.3, 0.2]` or None as mean and deviation."""
    if number is None:
        return None, None
    parts = number if isinstance(number, tuple) and len(number) == 2 else [number]
    plain = all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts)
    if not plain or not all(math.isfinite(part) for part in parts):
        raise ValueError("must be a number, [mean, deviation] or null")
    if not all(0 <= part <= 100 for part in parts):
        raise ValueError(f"must be percent from 0 to 100, not {', '.join(map(str, parts))}")
    return float(parts[0]), float(parts[1]) if len(parts) == 2 else None


Number = Annotated[tuple[float | None, float | None], PlainValidator(_mean_and_std)]
Count = Annotated[int, Field(ge=1)]
SettingBlock = Annotated[
    Mapping[str, Any], PlainValidator(lambda given: check_fields(Setting, given))
]


class _Source(StrictModel):
    kind: str
    title: str
    note: str = ""


class _Row(StrictModel):
    method: str | None
    label: str
    tasks: Count | None
    source: Annotated[tuple[Annotated[str, _known("sources")], ...], OneOrMore(least=1)]
    confidence: Confidence
    verified: bool
    recalled: bool
    n: Count | None = None
    note: str = ""
    final: Number = (None, None)
    average: Number = (None, None)
    final_weighted: Number = (None, None)
    average_weighted: Number = (None, None)

    @property
    def numbers(self) -> dict[str, tuple[float | None, float | None]]:
        """Mean and deviation of every metric that the row names."""
        return {name: getattr(self, name) for name in METRICS if name in self.model_fields_set}

    @model_validator(mode="after")
    def _marks_agree(self) -> _Row:
        errors = Errors()
        known = [mean is not None for mean, _ in self.numbers.values()]
        if not known:
            errors.add(f"has none of {', '.join(METRICS)}")
        if any(known) != (self.confidence != "none") or any(known) != all(known):
            errors.add("confidence is `none` where the numbers are null, and nowhere else")
        if self.verified and (self.recalled or not any(known)):
            errors.add("what is recalled or not there cannot be verified")
        if self.recalled and not any(known):
            errors.add("recalled, but there is no number")
        errors.check()
        return self


class _Table(StrictModel):
    """A table of a paper, or its part on one data set and backbone."""

    paper: Annotated[str, _known("papers")]
    table: str
    dataset: str
    backbone: str
    rows: tuple[_Row, ...]
    scenario: Literal["class", "domain"] = "class"
    spread: Spread = "unstated"
    setting: SettingBlock = Field(default_factory=dict)
    methods: Mapping[str, SettingBlock] = Field(default_factory=dict)

    @field_validator("methods")
    @classmethod
    def _have_rows(cls, methods: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        errors = Errors()
        if "rows" in info.data:
            there = {row.method for row in info.data["rows"]}
            for method in methods:
                if method not in there:
                    errors.add("has no row in this table", method)
        errors.check()
        return methods

    def setting_of(self, method: str | None) -> Setting:
        """The table's setting with what is known of one method over it."""
        own = self.methods.get(method or "", {})
        merged = {**self.setting, **own}
        for name in ("recipe", "settings", "augmentation", "evaluation"):
            merged[name] = {**self.setting.get(name, {}), **own.get(name, {})}
        merged["unknown"] = (*self.setting.get("unknown", ()), *own.get("unknown", ()))
        return Setting(**merged)


class _File(StrictModel):
    papers: Mapping[str, str]
    sources: Mapping[str, _Source]
    tables: tuple[_Table, ...]

    @field_validator("tables", mode="plain")
    @classmethod
    def _tables(cls, given: Any, info: ValidationInfo) -> tuple[_Table, ...]:
        if not isinstance(given, list):
            raise PydanticKnownError("list_type")
        errors = Errors()
        tables = []
        for index, table in enumerate(given):
            with errors.at(index):
                tables.append(_Table.model_validate(table, context=info.data))
        errors.check()
        return tuple(tables)


def _entries(file: _File) -> Iterator[Entry]:
    for table in file.tables:
        for row in table.rows:
            for metric, (mean, std) in row.numbers.items():
                yield Entry(
                    paper=table.paper,
                    title=file.papers[table.paper],
                    table=table.table,
                    dataset=table.dataset,
                    scenario=table.scenario,
                    tasks=row.tasks,
                    backbone=table.backbone,
                    method=row.method,
                    label=row.label,
                    metric=metric,
                    mean=mean,
                    std=std,
                    spread=table.spread,
                    n=row.n,
                    source=file.sources[row.source[0]].title,
                    also=tuple(file.sources[name].title for name in row.source[1:]),
                    confidence=row.confidence,
                    verified=row.verified,
                    recalled=row.recalled,
                    note=row.note,
                    setting=table.setting_of(row.method),
                )
