"""Augmentation as a suite or a user asks for it: some of its values, or `none`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, Union

from pydantic import PlainValidator

from benchmark.spec import Augmentation, NoAugmentation
from benchmark.validation import check_fields, some_fields

NONE: NoAugmentation = "none"
KEYS = tuple(field.name for field in fields(Augmentation))


def read_change(given: Any) -> Mapping[str, Any] | NoAugmentation:
    """`none`, or the checked values of a mapping.

    Raises:
        ValueError: It is neither, or names a wrong key or value; pydantic's error then.
    """
    if given == NONE:
        return NONE
    if not isinstance(given, Mapping):
        raise ValueError(f"must be none, or a mapping of {', '.join(KEYS)}, not {given!r}")
    return check_fields(Augmentation, given)


Change = Annotated[
    Mapping[str, Any] | NoAugmentation,
    PlainValidator(read_change, Union[some_fields(Augmentation), NoAugmentation]),  # noqa: UP007
]


def changed(
    default: Augmentation, changes: Iterable[Mapping[str, Any] | NoAugmentation]
) -> Augmentation | NoAugmentation:
    """What is left of the data set's own augmentation after all changes, the last one winning.

    Values that follow a `none` change the data set's own again; an empty mapping changes nothing.
    """
    result: Augmentation | NoAugmentation = default
    for change in changes:
        if not isinstance(change, Mapping):
            result = change
        elif change:
            result = replace(default if result == NONE else result, **change)
    return result
