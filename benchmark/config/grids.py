"""Where a suite's methods run: products of data sets, backbones and task splits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from benchmark.config.convert import Problems, convert_mapping, field_types
from benchmark.config.names import check_names


@dataclass(frozen=True)
class Grid:
    """One product; an empty list stands for the suite's own."""

    dataset: tuple[str, ...] = ()
    backbone: tuple[str, ...] = ()
    tasks: tuple[int | str, ...] = ()

    def over(self, base: Grid) -> Grid:
        """This grid, with the lists of `base` where it has none."""
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        return Grid(**{name: own[name] or getattr(base, name) for name in own})


def read_grids(entries: Iterable[Mapping[str, Any]], problems: Problems) -> tuple[Grid, ...]:
    """The grids that a suite's `also` adds to its own lists; a single value makes a list."""
    types = field_types(Grid)
    grids = []
    for index, entry in enumerate(entries):
        place = f"also[{index}]"
        if not entry:
            problems.add(place, f"must say one of {', '.join(types)}")
        lists = {
            key: value if isinstance(value, list) or key not in types else [value]
            for key, value in entry.items()
        }
        values = convert_mapping(lists, types, place, problems)
        for kind in ("dataset", "backbone"):
            check_names(kind, values.get(kind, ()), f"{place}.{kind}", problems)
        grids.append(Grid(**values))
    return tuple(grids)
