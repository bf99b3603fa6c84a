"""Copies of a method that has learned nothing yet, without making it anew each time."""

from __future__ import annotations

import io
import pickle
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import IO, Generic, TypeVar

import torch
from torch import Tensor, nn

PART_OF_EVERY_RUN = True  # see engine.provenance

_VALUES = frozenset({type(None), bool, int, float, str})
# What may be copied by value. Others may be compared by identity, be shared on purpose, or leave
# out a part of themselves when they are pickled.
_PLAIN = frozenset(
    {
        complex, bytes, tuple, list, dict, set, frozenset, range,
        OrderedDict, partial, FunctionType, BuiltinFunctionType, MethodType,
        torch.dtype, torch.device, torch.Size,
    }
)  # fmt: skip
_PICKLING = ("__reduce__", "__reduce_ex__", "__getstate__", "__setstate__", "__new__")


M = TypeVar("M", bound=nn.Module)


class NotCopyableError(Exception):
    """A module that holds what cannot be copied with certainty."""


class Template(Generic[M]):
    """A module from which equal ones are made, faster than by `copy.deepcopy`.

    All but the tensors is pickled once; these wait on the CPU. Modules that hold functions without
    a name, tensors that share memory, objects of others' classes and the like are refused.
    """

    def __init__(
        self, module: M, shared: Iterable[object], marked: Sequence[Tensor | None]
    ) -> None:
        """Take the module as it is now; what becomes of it later is of no consequence.

        Args:
            module: What is copied.
            shared: Objects that the copies hold as the module does, themselves not copied.
            marked: Tensors whose copies are wanted with each copy of the module.

        Raises:
            NotCopyableError: The module holds what may not be copied.
        """
        content, self._shared = io.BytesIO(), {id(one): one for one in shared}
        pickler = _Pickler(content, self._shared)
        try:
            pickler.dump(module)
        except Exception as error:
            raise NotCopyableError(str(error)) from error
        places = [tensor.untyped_storage().data_ptr() for tensor in pickler.tensors]
        if len(set(places) - {0}) < len([place for place in places if place]):
            raise NotCopyableError("tensors that share their memory")
        self._content = content.getvalue()
        self._tensors = [_Kept.of(tensor) for tensor in pickler.tensors]
        numbers = {id(tensor): number for number, tensor in enumerate(pickler.tensors)}
        self._marked = [numbers.get(id(tensor)) for tensor in marked]

    def copy(self) -> tuple[M, list[Tensor | None]]:
        """A new module, and its copies of the marked tensors; None for those it does not hold."""
        made = [kept.copy() for kept in self._tensors]
        module: M = _Unpickler(io.BytesIO(self._content), self._shared, made).load()
        return module, [None if number is None else made[number] for number in self._marked]


@dataclass(frozen=True)
class _Kept:
    """A tensor on the CPU, and what its copies are like."""

    value: Tensor
    device: torch.device
    parameter: bool
    requires_grad: bool

    @classmethod
    def of(cls, tensor: Tensor) -> _Kept:
        parameter = isinstance(tensor, nn.Parameter)
        value = tensor.detach().to("cpu", copy=True)
        return cls(value, tensor.device, parameter, tensor.requires_grad)

    def copy(self) -> Tensor:
        own = self.value.clone().to(self.device)
        if self.parameter:
            return nn.Parameter(own, self.requires_grad)
        return own.requires_grad_(self.requires_grad)


class _Pickler(pickle.Pickler):
    """Pickles all but tensors and shared objects, for which their numbers stand."""

    def __init__(self, file: IO[bytes], shared: Mapping[int, object]) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.tensors: list[Tensor] = []
        self._shared, self._numbers = shared, dict[int, int]()
        self._shared_kinds = set(map(type, shared.values()))

    def persistent_id(self, held: object) -> tuple[bool, int] | None:
        kind = type(held)
        if kind in _VALUES:  # most of what is met
            return None
        if kind in self._shared_kinds and id(held) in self._shared:
            return True, id(held)
        if isinstance(held, Tensor):
            if kind not in (Tensor, nn.Parameter) or not held.is_leaf or vars(held):
                raise NotCopyableError("a tensor that is not plain")
            if id(held) not in self._numbers:
                self._numbers[id(held)] = len(self.tensors)
                self.tensors.append(held)
            return False, self._numbers[id(held)]
        if isinstance(held, nn.Module):
            ways = [(getattr(kind, n, None), getattr(nn.Module, n, None)) for n in _PICKLING]
            if any(own is not usual and not _of(own, "torch", "timm") for own, usual in ways):
                raise NotCopyableError(f"{kind.__qualname__} says itself how it is pickled")
        elif not (
            kind in _PLAIN or isinstance(held, Enum | type) or _of(kind, "benchmark", "methods")
        ):
            raise NotCopyableError(f"an object of {kind.__qualname__}")
        return None


def _of(function: object, *packages: str) -> bool:
    """Whether a function or class comes from one of these packages."""
    return str(getattr(function, "__module__", "")).partition(".")[0] in packages


class _Unpickler(pickle.Unpickler):
    """Puts tensors and shared objects in the place of their numbers."""

    def __init__(
        self, file: IO[bytes], shared: Mapping[int, object], tensors: Sequence[Tensor]
    ) -> None:
        super().__init__(file)
        self._shared, self._tensors = shared, tensors

    def persistent_load(self, name: tuple[bool, int]) -> object:
        is_shared, number = name
        return self._shared[number] if is_shared else self._tensors[number]
