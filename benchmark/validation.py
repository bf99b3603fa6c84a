"""Faults in words: from pydantic's errors to the place of a fault and what is wanted there."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_KINDS = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "float_type": "a number",
    "finite_number": "a finite number",
    "int_type": "a whole number",
    "list_type": "a list",
    "mapping_type": "a mapping",
    "string_type": "a text",
    "tuple_type": "a list",
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def faults(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Place, such as `methods.lae.when[0]`, and description of every fault."""
    for details in error.errors(include_url=False):
        yield place_of(details["loc"]), _describe(details)


def place_of(location: Iterable[str | int]) -> str:
    """A path of keys and indices as one text: `tables[0].rows`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def unknown_key(key: object, known: Iterable[str]) -> str:
    """The message for a key nobody reads, with the nearest valid one."""
    names = list(known)
    near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown key, {hint}valid: {', '.join(names) or 'none'}"


def _describe(details: ErrorDetails) -> str:
    kind, value = details["type"], details["input"]
    context: dict[str, Any] = details.get("ctx", {})
    if kind == "missing":
        return "is missing"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"must be one of {context['expected']}, not {value!r}"
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"must be {words} {context[name]:g}, not {value!r}"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {value!r}"
    return f"{details['msg']}, not {value!r}"
