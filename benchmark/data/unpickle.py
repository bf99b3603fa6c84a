"""Reading pickles of numpy arrays and plain values without running any code they ask for."""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.base import DataError

SIZE_LIMIT = 1 << 30  # bytes; the largest file of CIFAR100 has 155 MB

_ALLOWED = "only numpy arrays, bytes, text, lists, tuples, dictionaries and numbers are read"
_NUMERIC = re.compile(r"[<>|=]?(\?|[biufc]\d{1,2})")
# Classes, sets and places outside of the file; plain calls go through `find_class`.
_REFUSED_OPCODES = frozenset(
    {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4"}
    | {"EMPTY_SET", "ADDITEMS", "FROZENSET", "NEXT_BUFFER", "READONLY_BUFFER"}
)
_BROKEN = (  # what the pickle machine raises at content it cannot follow
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
)


def load_pickle(file: Path, *, limit: int = SIZE_LIMIT) -> Any:
    """The object in `file`: arrays of numbers, bytes, str, lists, tuples, dicts and numbers.

    Byte strings of Python 2 come as str, one character a byte. Arrays come as a subclass of
    ndarray that `np.asarray` removes. `DataError` if the file is over `limit` bytes, is no
    complete pickle, or asks for anything else; nothing that it names is ever imported or called.
    """
    size = file.stat().st_size
    if size > limit:
        raise DataError(f"{file}: {size} bytes, more than the {limit} a data file may have")
    content = file.read_bytes()
    try:
        _check_opcodes(file, content)
        return _Reader(file, content, limit).load()
    except DataError:
        raise
    except _BROKEN as error:
        reason = str(error) or type(error).__name__
        raise DataError(f"{file}: damaged, cannot be read as a pickle: {reason}") from error


def _check_opcodes(file: Path, content: bytes) -> None:
    """Walk through the pickle without executing it, so that every length in it is a true one."""
    for opcode, argument, position in pickletools.genops(content):
        if opcode.name in _REFUSED_OPCODES:
            raise DataError(f"{file}: refused {opcode.name} at byte {position}: {_ALLOWED}")
        # A memo grows to the largest place named: one opcode could ask for all the memory.
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and int(argument or 0) > len(content):
            raise DataError(f"{file}: damaged, memo place {argument} at byte {position}")


class _Function:
    """A stand-in for a function that a pickle names; it can be called and nothing else."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *args: Any) -> Any:
        return self._call(*args)

    def __setstate__(self, state: Any) -> None:
        raise TypeError("a function has no state")


class _Dtype:
    """What stands for a dtype until an array is made: never numpy's own, whose state could lie."""

    def __init__(self, file: Path, name: Any, *_flags: Any) -> None:
        self._file, self._name, self._order = file, name, ""
        if not (isinstance(name, str) and _NUMERIC.fullmatch(name)):
            raise DataError(f"{file}: refused an array of dtype {name!r}: {_ALLOWED}")

    def __setstate__(self, state: Any) -> None:
        plain = isinstance(state, tuple) and len(state) in (8, 9)
        if not (plain and state[1] in ("<", ">", "|", "=") and state[2:5] == (None,) * 3):
            raise DataError(f"{self._file}: refused a dtype with fields: {_ALLOWED}")
        self._order = state[1].replace("|", "")

    def resolve(self) -> np.dtype[Any]:
        """The dtype; `TypeError` from numpy for a size that does not exist."""
        name = self._order + self._name.lstrip("<>|=") if self._order else self._name
        kind: np.dtype[Any] = np.dtype(name)
        return kind


class _Array(np.ndarray[Any, Any]):
    """An array whose state is checked before numpy sees it."""

    reader: _Reader

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, raw = state
        content, kind = self.reader.memory(raw, dtype, shape)
        del self.reader  # which holds the whole file
        checked: Any = (1, shape, kind, bool(fortran), bytes(content))
        super().__setstate__(checked)


class _Reader(pickle.Unpickler):
    """Gives stand-ins for the few names that arrays need and refuses every other."""

    def __init__(self, file: Path, content: bytes, limit: int) -> None:
        super().__init__(io.BytesIO(content), encoding="latin1")
        self._file = file
        self._left = 4 * limit  # bytes that stand-ins may make in all
        ndarray = object()  # an argument only: neither callable nor a class
        stand_ins: dict[tuple[str, str], Any] = {
            ("numpy", "ndarray"): ndarray,
            ("numpy", "dtype"): _Function(lambda *args: _Dtype(file, *args)),
            ("_codecs", "encode"): _Function(self._encode),
        }
        for core in ("numpy.core", "numpy._core"):
            stand_ins[f"{core}.multiarray", "_reconstruct"] = _Function(self._reconstruct)
            stand_ins[f"{core}.multiarray", "scalar"] = _Function(self._scalar)
            stand_ins[f"{core}.numeric", "_frombuffer"] = _Function(self._from_buffer)
        for builtins in ("builtins", "__builtin__"):  # how an empty bytes is written
            stand_ins[builtins, "bytes"] = _Function(lambda: b"")
        self._stand_ins = stand_ins

    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name; nothing is imported."""
        if (module, name) not in self._stand_ins:
            raise DataError(f"{self._file}: refused {module}.{name}: {_ALLOWED}")
        return self._stand_ins[module, name]

    def persistent_load(self, pid: Any) -> Any:
        """Refuse objects kept outside of the file."""
        raise DataError(f"{self._file}: refused a persistent object: {_ALLOWED}")

    def memory(self, raw: Any, dtype: Any, shape: Any) -> tuple[bytes | bytearray, np.dtype[Any]]:
        """Content and type of an array, once its length is what the shape needs."""
        content = self._encode(raw) if isinstance(raw, str) else raw
        if not isinstance(content, (bytes, bytearray)) or not isinstance(dtype, _Dtype):
            raise DataError(f"{self._file}: refused an array not made of bytes: {_ALLOWED}")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise ValueError(f"array of shape {shape!r}")
        kind = dtype.resolve()
        if math.prod(shape) * kind.itemsize != len(content):
            raise ValueError(f"{len(content)} bytes for an array of shape {shape!r} of {kind}")
        self._spend(len(content))
        return content, kind

    def _spend(self, count: int) -> None:
        """A few bytes can ask for the same long text again and again: bound what is made."""
        self._left -= count
        if self._left < 0:
            raise DataError(f"{self._file}: refused: it unpacks to far more than its own size")

    def _encode(self, text: Any, encoding: Any = "latin1") -> bytes:
        """How Python 3 writes bytes in the format of Python 2."""
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise DataError(f"{self._file}: refused _codecs.encode to {encoding!r}: {_ALLOWED}")
        self._spend(len(text))
        return text.encode("latin1")

    def _reconstruct(self, *_args: Any) -> _Array:
        """An empty array, to be filled by its state; type and shape asked for do not count."""
        array = np.empty(0, np.uint8).view(_Array)
        array.reader = self
        return array

    def _from_buffer(self, raw: Any, dtype: Any, shape: Any, order: Any) -> np.ndarray:
        content, kind = self.memory(raw, dtype, shape)
        flat: np.ndarray = np.frombuffer(content, kind)
        array: np.ndarray = flat.reshape(shape, order="F" if order == "F" else "C")
        return array

    def _scalar(self, dtype: Any, raw: Any) -> Any:
        content, kind = self.memory(raw, dtype, ())
        return np.frombuffer(content, kind)[0]
