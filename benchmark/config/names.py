"""Checking that the data sets, backbones and methods a suite names exist."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from benchmark.backbones import catalogue
from benchmark.config.convert import Problems
from benchmark.data import dataset_info
from benchmark.registry import METHODS

_FINDERS: dict[str, Callable[[str], object]] = {
    "dataset": dataset_info,
    "backbone": catalogue.find,
    "method": METHODS.source,
}


def check_name(kind: str, name: str) -> None:
    """Raise `UnknownNameError` unless a data set, backbone or method of that name exists."""
    _FINDERS[kind](name)


def check_names(kind: str, names: Iterable[str], place: str, problems: Problems) -> None:
    """Note every name that does not exist."""
    for name in names:
        try:
            check_name(kind, name)
        except ValueError as error:
            problems.add(place, error)
