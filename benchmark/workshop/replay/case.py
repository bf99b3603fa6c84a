"""Reads recorded cases: `.npz` files of plain arrays with a `meta_json` beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmark.backbones.formats.base import UNREADABLE

META = "meta_json"
T = TypeVar("T", int, float, str, list[Any], dict[str, Any])


class ReplayError(ValueError):
    """A recorded case that cannot be replayed; the message says which file and why."""


@dataclass(frozen=True)
class RecordedCase:
    """A file read completely: its arrays by name, and the JSON object that describes it."""

    path: Path
    arrays: Mapping[str, np.ndarray]
    meta: Mapping[str, Any]

    def array(self, name: str, *shape: int | None) -> np.ndarray:
        """An array the replay cannot do without; None in `shape` stands for any size."""
        if name not in self.arrays:
            raise ReplayError(f"{self.path}: array {name} is missing")
        value = self.arrays[name]
        fits = len(value.shape) == len(shape) and all(
            want in (None, have) for want, have in zip(shape, value.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ReplayError(f"{self.path}: array {name} has shape {value.shape}, not ({wanted})")
        return value

    def field(self, *keys: str, kind: type[T]) -> T:
        """The field of the description under nested `keys`, of type `kind`."""
        value: Any = self.meta
        for key in keys:
            if not isinstance(value, Mapping) or key not in value:
                raise ReplayError(f"{self.path}: {META} has no field {'.'.join(keys)}")
            value = value[key]
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise ReplayError(
                f"{self.path}: field {'.'.join(keys)} of {META} is {value!r}, not {kind.__name__}"
            )
        return value

    def text(self, key: str) -> str:
        """The field as text, empty where it is missing."""
        return str(self.meta.get(key, ""))


def read_case(path: Path) -> RecordedCase:
    """Read a whole file, so that damage is found before anything is run."""
    try:
        file = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise ReplayError(f"{path}: no such file") from error
    except UNREADABLE as error:
        raise ReplayError(f"{path}: not an .npz file: {error}") from error
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ReplayError(f"{path}: a single array, not an .npz file")
    arrays = {}
    with file:
        for name in file.files:
            try:
                arrays[name] = np.asarray(file[name])
            except UNREADABLE as error:
                raise ReplayError(f"{path}: array {name} is damaged: {error}") from error
    if META not in arrays:
        raise ReplayError(f"{path}: not a recorded case, there is no {META} in it")
    try:
        meta = json.loads(str(arrays[META]))
    except json.JSONDecodeError as error:
        raise ReplayError(f"{path}: {META} is not JSON: {error}") from error
    if not isinstance(meta, dict):
        raise ReplayError(f"{path}: {META} is not a JSON object")
    return RecordedCase(path, arrays, meta)
