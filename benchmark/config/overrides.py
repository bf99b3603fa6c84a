"""What the command line changes of a suite: chosen names and `--set KEY=VALUE`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from benchmark.config.convert import Problems, convert, unknown_key
from benchmark.config.reading import parse

STREAM_KEYS = ("order", "input_range", "precision", "validation", "split", "scenario")
BACKBONE_FILE = "backbone.file"
_BLOCKS = ("training", "settings")
_FORMS = (
    *STREAM_KEYS,
    BACKBONE_FILE,
    *(f"{owner}{b}.KEY" for owner in ("", "METHOD.") for b in _BLOCKS),
)


@dataclass(frozen=True)
class Overrides:
    """What the command line asks for in place of the suite's own; empty: as the suite says."""

    dataset: tuple[str, ...] = ()
    backbone: tuple[str, ...] = ()
    method: tuple[str, ...] = ()
    tasks: tuple[int | str, ...] = ()
    seeds: tuple[int, ...] = ()
    sets: tuple[str, ...] = ()  # KEY=VALUE


@dataclass(frozen=True)
class Assignment:
    """One `--set`: `block` is training, settings, or empty for a key of all runs.

    `method` is empty when the value is meant for every selected method that has the key.
    """

    option: str
    method: str
    block: str
    key: str
    value: Any


def read_assignments(sets: Iterable[str], problems: Problems) -> list[Assignment]:
    """The well-formed `--set` options; faults go to `problems`."""
    found = []
    for text in sets:
        try:
            found.append(_read(text))
        except ValueError as error:
            problems.add(f"--set {text}", error)
    return found


def _read(text: str) -> Assignment:
    path, equals, value = text.partition("=")
    if not equals:
        raise ValueError("must have the form KEY=VALUE")
    parts = path.strip().split(".")
    option = f"--set {text}"
    if len(parts) == 1 and parts[0] in STREAM_KEYS:
        return Assignment(option, "", "", parts[0], parse(value))
    if path.strip() == BACKBONE_FILE:  # a path is taken as it stands
        return Assignment(option, "", "", BACKBONE_FILE, value)
    if len(parts) in (2, 3) and parts[-2] in _BLOCKS:
        method = parts[0] if len(parts) == 3 else ""
        return Assignment(option, method, parts[-2], parts[-1], parse(value))
    raise ValueError(unknown_key(path, _FORMS))


def values_for(
    assignments: Iterable[Assignment],
    method: str,
    block: str,
    types: Mapping[str, Any],
    problems: Problems,
) -> dict[str, Any]:
    """The checked values meant for one block of a method; its own win over those for all."""
    values = {}
    for one in sorted(assignments, key=lambda a: bool(a.method)):
        if one.block == block and one.method in ("", method) and one.key in types:
            try:
                values[one.key] = convert(one.value, types[one.key])
            except ValueError as error:
                problems.add(one.option, error)
    return values


def check_used(
    assignments: Iterable[Assignment],
    keys: Mapping[str, Mapping[str, Iterable[str]]],
    problems: Problems,
) -> None:
    """Note every assignment that no selected method takes; keys: block -> method -> its keys."""
    for one in assignments:
        if not one.block:
            continue
        by_method = keys[one.block]
        if one.method and one.method not in by_method:
            problems.add(one.option, f"not a selected method: {unknown_key(one.method, by_method)}")
            continue
        known = [by_method[one.method]] if one.method else list(by_method.values())
        names = list(dict.fromkeys(key for group in known for key in group))
        if by_method and one.key not in names:
            problems.add(one.option, unknown_key(one.key, names))
