"""From what YAML gives to what a dataclass field wants, with errors in words."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


class SuiteError(ValueError):
    """A suite or an override that cannot be used; `problems` holds every fault found."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class Problems:
    """Collects the faults of one source (a file, an option), each with its place."""

    def __init__(self, source: str = "") -> None:
        self.source = source
        self.found: list[str] = []

    def add(self, place: str, fault: object, source: str | None = None) -> None:
        """Note one fault at `place`; one noted before is not repeated."""
        where = self.source if source is None else source
        text = ": ".join(part for part in (where, place, str(fault)) if part)
        if text not in self.found:
            self.found.append(text)

    def check(self) -> None:
        """Raise everything found, or do nothing."""
        if self.found:
            raise SuiteError(self.found)


def unknown_key(key: object, known: Iterable[str]) -> str:
    """The message for a key nobody reads, with the nearest valid one."""
    names = list(known)
    near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown key, {hint}valid: {', '.join(names) or 'none'}"


def field_types(cls: type) -> dict[str, Any]:
    """Type of every field of a dataclass; Any where an annotation cannot be resolved."""
    names = list(cls.__dataclass_fields__)  # type: ignore[attr-defined]
    try:
        hints = get_type_hints(cls)
    except NameError:
        hints = {}
    return {name: hints.get(name, Any) for name in names}


def convert_mapping(
    values: Mapping[str, Any], types: Mapping[str, Any], place: str, problems: Problems
) -> dict[str, Any]:
    """The known, well-typed entries of `values`; faults go to `problems`."""
    converted = {}
    for key, value in values.items():
        where = f"{place}.{key}" if place else str(key)
        if key not in types:
            problems.add(where, unknown_key(key, types))
            continue
        try:
            converted[key] = convert(value, types[key])
        except ValueError as error:
            problems.add(where, error)
    return converted


def convert(value: Any, wanted: Any) -> Any:
    """`value` as the annotated type `wanted`; raises ValueError saying what is wanted."""
    origin, arguments = get_origin(wanted), get_args(wanted)
    if origin is Literal:
        if value not in arguments or type(value) not in {type(a) for a in arguments}:
            raise ValueError(f"must be one of {', '.join(map(str, arguments))}, not {value!r}")
        return value
    if origin in (Union, UnionType):
        return _convert_union(value, arguments)
    if origin is tuple or wanted is tuple:
        return _convert_tuple(value, arguments)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError(f"must be a mapping, not {value!r}")
        return {convert(k, arguments[0]): convert(v, arguments[1]) for k, v in value.items()}
    if wanted in (bool, int, float, str):
        return _convert_scalar(value, wanted)
    return value


def _convert_scalar(value: Any, wanted: type) -> Any:
    if wanted is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        names = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
        raise ValueError(f"must be {names[wanted]}, not {value!r}")
    return value


def _convert_union(value: Any, choices: tuple[Any, ...]) -> Any:
    if value is None and NoneType in choices:
        return None
    faults = []
    for choice in choices:
        if choice is not NoneType:
            try:
                return convert(value, choice)
            except ValueError as error:
                faults.append(str(error))
    raise ValueError(" or ".join(faults))


def _convert_tuple(value: Any, items: tuple[Any, ...]) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"must be a list, not {value!r}")
    if not items:
        return tuple(value)
    if len(items) == 2 and items[1] is Ellipsis:
        return tuple(convert(item, items[0]) for item in value)
    if len(value) != len(items):
        raise ValueError(f"must be a list of {len(items)}, not {value!r}")
    return tuple(convert(item, kind) for item, kind in zip(value, items, strict=True))
