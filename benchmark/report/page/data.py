"""What the page's script reads: each run said once, the cells referring to it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from benchmark.report.evidence.explain import RunFact, counts, explain_cell, meaning
from benchmark.report.evidence.lookup import column_names
from benchmark.report.model import Cell, Column, Published, Table, TableRow, cell_text
from benchmark.results.store import Result

_RUNS = Column("runs", "n", kind="runs")
# Of a run's facts those that are its own; the others are the same for many runs.
_OWN = ("key", "seed", "order", "status", "error", "command", "started", "seconds")
_KNOWN_LATER = ("tuned", "network")  # older results do not have these
_NAMES = {"dirty": "uncommitted changes", "version": "clbench"}


def page_data(tables: Sequence[Table], results: Mapping[str, Result]) -> dict[str, Any]:
    """Tables, and once each: the groups of runs behind cells, runs, settings, environments.

    Every number is finite or None.
    """
    collected = _Collected(results)
    return {
        "tables": [_table(table, collected) for table in tables],
        "groups": collected.groups,
        "runs": collected.runs,
        "shared": collected.shared.items,
        "made": collected.made.items,
    }


def sort_value(cell: Cell, column: Column) -> float | None:
    """What a cell is sorted by: the number it shows; None where it shows none."""
    if column.source == "ours":
        mean = float(len(cell.values)) if column.kind == "runs" else cell.summary.mean
        return None if column.kind == "runs" and not cell.total else _finite(mean)
    if cell.published is None:
        return None
    if column.theirs:
        return _finite(cell.published.mean)
    return _finite(cell.summary.mean - cell.published.mean)


def in_script(value: Any) -> str:
    """JSON that may stand in a script element, whatever texts it holds."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", r"\u003c").replace(">", r"\u003e").replace("&", r"\u0026")


class _Once:
    """Values, each kept once."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """Where the value stands."""
        text = json.dumps(value, default=str)
        if text not in self._places:
            self._places[text] = len(self.items)
            self.items.append(json.loads(text, parse_constant=str))  # nan is no JSON
        return self._places[text]


class _Collected:
    """The groups of runs that stand behind cells; explaining one takes time: each is done once."""

    def __init__(self, results: Mapping[str, Result]) -> None:
        self._results = results
        self.groups: list[dict[str, Any]] = []
        self.runs: list[dict[str, Any]] = []
        self.shared, self.made = _Once(), _Once()
        self._group_places: dict[tuple[tuple[str, ...], tuple[str, ...]], int] = {}
        self._run_places: dict[str, int] = {}

    def group(self, cell: Cell) -> int:
        """Where the group of the cell's runs stands."""
        keys = (cell.runs, cell.broken)
        if keys not in self._group_places:
            self._group_places[keys] = len(self.groups)
            self.groups.append(self._explained(*keys))
        return self._group_places[keys]

    def _explained(self, runs: tuple[str, ...], broken: tuple[str, ...]) -> dict[str, Any]:
        cell = Cell(runs=runs, broken=broken, total=len(runs) + len(broken))
        row = TableRow("", "", 0, (cell,))
        found = explain_cell(Table("", "", "", (_RUNS,), (row,)), row, _RUNS, self._results)
        said = set(counts(cell, _RUNS))  # of a cell, not of its runs
        shared = {
            "Settings": found.settings,
            "Training recipe": found.recipe,
            "Protocol": found.spec,
        }
        return {
            "runs": [self._run(fact) for fact in found.runs],
            "shared": self.shared.place(shared),
            "notes": [note for note in found.notes if note not in said],
        }

    def _run(self, fact: RunFact) -> int:
        if fact.key not in self._run_places:
            self._run_places[fact.key] = len(self.runs)
            facts = {
                field.name: getattr(fact, field.name)
                for field in fields(fact)
                if field.name not in ("value", *_OWN)
                and (field.name not in _KNOWN_LATER or getattr(fact, field.name))
            }
            packages = {f"{name} version": text for name, text in facts.pop("packages").items()}
            named = {
                _NAMES.get(name, name.replace("_", " ")): value for name, value in facts.items()
            }
            made = self.made.place(named | packages)
            self.runs.append({name: getattr(fact, name) for name in _OWN} | {"made": made})
        return self._run_places[fact.key]


def _table(table: Table, collected: _Collected) -> dict[str, Any]:
    names = column_names(table)
    columns = [
        {"name": name, "meaning": meaning(column), "unit": column.unit, "scale": column.scale}
        for name, column in zip(names, table.columns, strict=True)
    ]
    rows = [
        {
            "label": row.label,
            "notes": row.notes,
            "cells": [
                _cell(cell, column, collected)
                for cell, column in zip(row.cells, table.columns, strict=True)
            ],
        }
        for row in table.rows
    ]
    return {"title": table.title, "notes": table.notes, "columns": columns, "rows": rows}


def _cell(cell: Cell, column: Column, collected: _Collected) -> dict[str, Any]:
    found: dict[str, Any] = {
        "text": cell_text(cell, column),
        "sort": sort_value(cell, column),
        "notes": list(counts(cell, column)),
    }
    if not column.theirs and (cell.runs or cell.broken):
        found["runs"] = collected.group(cell)
        if column.kind != "runs":
            found["values"] = [_finite(value) for value in cell.values]
    if column.source != "ours" and cell.published is not None:
        found["published"] = _published(cell.published)
    return found


def _published(published: Published) -> dict[str, Any]:
    facts = {
        "runs": "not stated" if published.n is None else published.n,
        "source": published.source,
        "confidence": published.confidence,
        "verified": "yes" if published.verified else "no: no first-hand source states it",
        "differs in": published.differs or "nothing known",
    }
    return {"mean": _finite(published.mean), "std": _finite(published.std), "facts": facts}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
