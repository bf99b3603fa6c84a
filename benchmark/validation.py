"""Validation by pydantic: strict models, and their errors in words."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache, partial
from typing import Annotated, Any, get_type_hints

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import CoreSchema, no_info_before_validator_function
from typing_extensions import TypedDict

_STRICT = ConfigDict(strict=True, extra="forbid", frozen=True, arbitrary_types_allowed=True)
_OURS = "error"  # type of an error whose text is already in words
_KINDS = {
    "bool_type": "true or false",
    "dict_type": "a mapping",
    "finite_number": "a finite number",
    "float_type": "a number",
    "int_type": "a whole number",
    "list_type": "a list",
    "mapping_type": "a mapping",
    "model_type": "a mapping",
    "string_type": "a text",
    "tuple_type": "a list",
}
_LIMITS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


def unknown_key(key: object, known: Iterable[str]) -> str:
    """The message for a key nobody reads, with the nearest valid one."""
    names = list(known)
    near = difflib.get_close_matches(str(key), names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown key, {hint}valid: {', '.join(names) or 'none'}"


# -- models -------------------------------------------------------------------------------------


def as_tuple(value: Any) -> Any:
    """YAML has lists where frozen models hold tuples."""
    return tuple(value) if isinstance(value, list) else value


def _naming_keys(value: Any, check: Callable[[Any], Any], names: Iterable[str]) -> Any:
    """What `check` makes of a mapping; a key it does not know is reported with `names`."""
    try:
        return check(value)
    except ValidationError as error:
        found = [
            (one["loc"], unknown_key(one["loc"][0], names) if _is_key(one) else _describe(one))
            for one in error.errors()
        ]
        raise _error(found) from error


def _is_key(details: ErrorDetails) -> bool:
    return details["type"] == "extra_forbidden" and len(details["loc"]) == 1


@dataclass(frozen=True)
class OneOrMore:
    """Annotates a tuple in whose place a file may have a single value.

    Attributes:
        least: How many items there must be.
    """

    least: int = 0

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Validates the tuple that a single value makes."""

        def listed(value: Any) -> tuple[Any, ...]:
            items = value if isinstance(value, tuple) else (value,)
            if len(items) < self.least:
                raise ValueError("must not be empty")
            return items

        return no_info_before_validator_function(listed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """One item, or a list of them."""
        items = handler(schema)
        return {"anyOf": [items["items"], items | {"minItems": self.least}]}


class StrictModel(BaseModel):
    """Base of what is read from a file: takes no bool for an int, no text for a number.

    Only lists become tuples, and whole numbers floats. An unknown key is reported with the nearest
    valid one.
    """

    model_config = _STRICT

    @field_validator("*", mode="before")
    @classmethod
    def _tuples(cls, value: Any) -> Any:
        return as_tuple(value)

    @model_validator(mode="wrap")
    @classmethod
    def _keys(cls, value: Any, check: Callable[[Any], Any]) -> Any:
        return _naming_keys(value, check, cls.model_fields)


@cache
def some_fields(kind: type) -> Any:
    """A type for mappings of some fields of a dataclass, for annotations and `TypeAdapter`."""
    names = [field.name for field in fields(kind)]
    try:
        hints = get_type_hints(kind, include_extras=True)
    except NameError:  # an annotation of a plug-in that cannot be resolved
        hints = {}
    types = {name: Annotated[hints.get(name, Any), BeforeValidator(as_tuple)] for name in names}
    make: Any = TypedDict  # as mypy knows it, it takes nothing that is computed
    mapping = make(kind.__name__, types, total=False)
    mapping.__pydantic_config__ = _STRICT
    return Annotated[mapping, WrapValidator(partial(_naming_keys, names=names))]


_adapter = cache(TypeAdapter)


def check_fields(kind: type, values: Any) -> dict[str, Any]:
    """Converts the values of some fields of a dataclass.

    Raises:
        ValidationError: Names every unknown key and every value that does not suit its field.
    """
    checked: dict[str, Any] = _adapter(some_fields(kind)).validate_python(values)
    return checked


def check_field(kind: type, name: str, value: Any) -> Any:
    """Converts the value of one field of a dataclass; ValueError where it does not suit."""
    try:
        return check_fields(kind, {name: value})[name]
    except ValidationError as error:
        texts = [
            f"{location.removeprefix(name)} {text}".strip() for location, text in messages(error)
        ]
        raise ValueError("; ".join(texts)) from error


# -- errors -------------------------------------------------------------------------------------

Location = tuple[str | int, ...]  # keys and indices


class Errors:
    """Collects errors, to raise all of them at once."""

    def __init__(self) -> None:
        self._found: dict[tuple[Location, str], None] = {}

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, error: object, *location: str | int) -> None:
        """Note an error at a location; one noted before is not repeated."""
        at = tuple(_utf8(part) if isinstance(part, str) else part for part in location)
        self._found[at, _utf8(str(error))] = None

    @contextmanager
    def at(self, *location: str | int) -> Iterator[None]:
        """Notes a ValueError that is raised inside, or every error of a ValidationError."""
        try:
            yield
        except ValidationError as error:
            for details in error.errors():
                self.add(_describe(details), *location, *details["loc"])
        except ValueError as error:
            self.add(error, *location)

    def check(self) -> None:
        """Raise everything noted as a ValidationError, or do nothing."""
        if self._found:
            raise _error(self._found)


def _utf8(text: str) -> str:
    """`text` with the bytes of a name that is no UTF-8 made visible: pydantic takes no others."""
    return text.encode("utf-8", "backslashreplace").decode()


def messages(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Location, such as `methods.lae.when[0]`, and description of every error."""
    for details in error.errors():
        text = ""
        for part in details["loc"]:
            text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
        yield text, _describe(details)


def _error(found: Iterable[tuple[Location, str]]) -> ValidationError:
    lines = [
        InitErrorDetails(
            type=PydanticCustomError(_OURS, "{text}", {"text": text}), loc=location, input=None
        )
        for location, text in found
    ]
    return ValidationError.from_exception_data("errors", lines)


def _describe(details: ErrorDetails) -> str:
    kind, value = details["type"], details["input"]
    shown = repr(list(value) if isinstance(value, tuple) else value)
    context: dict[str, Any] = details.get("ctx", {})
    if kind == _OURS:
        return str(context["text"])
    if kind == "value_error":
        return str(context["error"])
    if kind == "missing":
        return "is missing"
    if kind == "literal_error":
        return f"must be one of {context['expected']}, not {shown}"
    if kind in _LIMITS:
        name, words = _LIMITS[kind]
        return f"must be {words} {context[name]:g}, not {shown}"
    if kind in _KINDS:
        return f"must be {_KINDS[kind]}, not {shown}"
    return f"{details['msg']}, not {shown}"
