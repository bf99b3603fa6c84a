"""Finds images of earlier tasks among what a method keeps, wherever it keeps them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.method import Batch, Method

_DEEPEST = 8  # containers within containers


class SeenImages:
    """Remembers every training image of the tasks so far, by its content."""

    def __init__(self, numbers: int) -> None:
        self._numbers = numbers  # of one image
        self._seen: set[bytes] = set()

    def add(self, batch: Batch) -> None:
        """Remember the images of a batch."""
        self._seen |= set(_rows(batch.images, self._numbers))

    def kept_in(self, method: Method) -> list[str]:
        """The attributes of a method, or of its modules, that hold such an image."""
        found = []
        for path, value in _attributes(method):
            if any(self._seen.intersection(_rows(t, self._numbers)) for t in _tensors(value)):
                found.append(path)
        return found


def _attributes(method: Method) -> Iterator[tuple[str, Any]]:
    for name, module in method.named_modules():
        prefix = f"{name}." if name else ""
        own = vars(module)
        stored = {**own["_parameters"], **own["_buffers"]}
        for key, value in {**own, **stored}.items():
            if not key.startswith("_") or key not in vars(nn.Module()):
                yield f"{prefix}{key}", value
        if type(module).get_extra_state is not nn.Module.get_extra_state:
            yield f"{prefix}get_extra_state()", module.get_extra_state()


def _tensors(value: Any, depth: int = 0) -> Iterator[Tensor]:
    """Tensors and arrays in a value, at any depth of containers and plain objects."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, np.ndarray) and value.dtype.kind in "fiu":
        yield torch.from_numpy(np.ascontiguousarray(value))
    elif depth < _DEEPEST and not isinstance(value, (nn.Module, type, str, bytes)):
        inner: Any = ()
        if isinstance(value, Mapping):
            inner = [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple, set, frozenset)):
            inner = value
        elif hasattr(value, "__dict__"):
            inner = list(vars(value).values())
        for item in inner:
            yield from _tensors(item, depth + 1)


def _rows(tensor: Tensor, numbers: int) -> Iterator[bytes]:
    """The content of every image-sized piece of a tensor, whatever its shape."""
    if tensor.numel() and tensor.numel() % numbers == 0:
        pieces = tensor.detach().cpu().to(torch.float16).reshape(-1, numbers)
        for piece in pieces:
            yield piece.numpy().tobytes()
