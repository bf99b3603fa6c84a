"""How images are prepared, as a suite or a user asks for it: some values of a block, or a word."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Annotated, Any, Union

from pydantic import PlainValidator

from benchmark.spec import Augmentation, Evaluation, InputRange, NoAugmentation, Normalisation
from benchmark.validation import check_fields, some_fields

AUGMENTATION, EVALUATION, INPUT_RANGE = "augmentation", "evaluation", "input_range"
BLOCKS: Mapping[str, type[Any]] = {AUGMENTATION: Augmentation, EVALUATION: Evaluation}
NONE: NoAugmentation = "none"
_WORDS: Mapping[str, InputRange] = {"unit": "unit", "native": "native"}
_NOTHING = Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def read_change(given: Any) -> Mapping[str, Any] | NoAugmentation:
    """`none`, or the checked values of a mapping, of what is done to training images.

    Raises:
        ValueError: It is neither, or names a wrong key or value; pydantic's error then.
    """
    if given == NONE:
        return NONE
    if not isinstance(given, Mapping):
        keys = ", ".join(field.name for field in fields(Augmentation))
        raise ValueError(f"must be none, or a mapping of {keys}, not {given!r}")
    return check_fields(Augmentation, given)


def read_evaluation(given: Any) -> Mapping[str, Any]:
    """The checked values of a mapping, of how test images are resized.

    Raises:
        ValidationError: Names every wrong key and value.
    """
    if not isinstance(given, Mapping):
        keys = ", ".join(field.name for field in fields(Evaluation))
        raise ValueError(f"must be a mapping of {keys}, not {given!r}")
    return check_fields(Evaluation, given)


def read_input_range(given: Any) -> InputRange:
    """`unit`, `native`, or the checked mean and deviation of a mapping.

    Raises:
        ValueError: It is none of these; names every wrong key and value.
    """
    if isinstance(given, Normalisation):
        return given
    if isinstance(given, str) and given in _WORDS:
        return _WORDS[given]
    if not isinstance(given, Mapping):
        raise ValueError(
            f"must be one of {', '.join(_WORDS)}, or a mapping of mean and std, not {given!r}"
        )
    values = check_fields(Normalisation, given)
    if lacking := [field.name for field in fields(Normalisation) if field.name not in values]:
        raise ValueError(f"{lacking[0]}: is missing")
    asked = Normalisation(**values)
    return "unit" if asked == _NOTHING else asked


Change = Annotated[
    Mapping[str, Any] | NoAugmentation,
    PlainValidator(read_change, Union[some_fields(Augmentation), NoAugmentation]),  # noqa: UP007
]
EvaluationChange = Annotated[
    Mapping[str, Any], PlainValidator(read_evaluation, some_fields(Evaluation))
]
Pixels = Annotated[InputRange, PlainValidator(read_input_range, InputRange)]


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
