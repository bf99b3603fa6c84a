"""Numbers that a method keeps outside its state: in its module, its classes and its functions."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from types import FunctionType
from typing import Any

import numpy as np
from torch import Tensor, nn

from benchmark.method import Method

PART_OF_EVERY_RUN = True  # see engine.provenance

DEPTH = 8  # containers inside containers that are looked into


def kept_outside(kind: type[Method]) -> dict[str, int]:
    """Numbers in arrays that are reached from the user's modules, by the names they start from.

    What is there lives as long as the process: longer than the state of a method, and not in a run
    that is resumed.
    """
    own = {c.__module__ for c in kind.__mro__ if c.__module__.partition(".")[0] in _tops(kind)}
    found: dict[str, int] = {}
    met: set[int] = set()
    for name in sorted(own):
        for attribute, value in list(vars(sys.modules[name]).items()):
            count = sum(_arrays(value, met, name, DEPTH))
            if count:
                found[attribute] = found.get(attribute, 0) + count
    return found


def _tops(kind: type[Method]) -> set[str]:
    """First part of the name of the method's module, unless it comes with clbench."""
    return {kind.__module__.partition(".")[0]} - {"benchmark", "methods"}


def _arrays(value: Any, met: set[int], module: str, depth: int) -> Iterator[int]:
    """Sizes of the arrays in a value, each once."""
    if depth == 0 or id(value) in met:
        return
    met.add(id(value))
    if isinstance(value, Tensor):
        yield value.numel()
    elif isinstance(value, np.ndarray):
        yield value.size
    elif isinstance(value, bytes | bytearray):
        yield len(value)
    else:
        for part in _parts(value, module):
            yield from _arrays(part, met, module, depth - 1)


def _parts(value: Any, module: str) -> list[Any]:
    if isinstance(value, Mapping):
        return [*value.keys(), *value.values()]
    if isinstance(value, list | tuple | set | frozenset | deque):
        return list(value)
    if isinstance(value, FunctionType):
        return [vars(value), value.__defaults__, value.__kwdefaults__]
    if isinstance(value, type):
        return list(vars(value).values()) if value.__module__ == module else []
    if type(value).__module__ == module or isinstance(value, nn.Module):
        return [getattr(value, "__dict__", None)]
    return []
