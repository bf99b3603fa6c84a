"""The restricted unpickler: arrays come out as they were, and nothing in a file can run."""

from __future__ import annotations

import io
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniatures import python2_pickle

from benchmark.data.base import DataError
from benchmark.data.unpickle import load_pickle


def _write(folder: Path, content: bytes) -> Path:
    file = folder / "data.pkl"
    file.write_bytes(content)
    return file


VALUES = {
    "data": np.arange(24, dtype=np.uint8).reshape(2, 12),
    "labels": [0, 1, 2**40, -3],
    "numbers": (1.5, True, None, np.int64(7), np.float32(0.5)),
    "bytes": b"\x00\xff",
    "no bytes": b"",
    "text": "ä",
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "foreign order": np.arange(4, dtype=">i2"),
    "flags": np.array([True, False]),
    "empty": np.zeros((0, 3), np.float32),
    "number": np.array(3),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_and_arrays_come_back(tmp_path: Path, protocol: int) -> None:
    content = pickle.dumps(VALUES, protocol=protocol)
    expected, found = pickle.loads(content), load_pickle(_write(tmp_path, content))
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert np.array_equal(found[key], value), key
        if isinstance(value, np.ndarray):
            array = np.asarray(found[key])
            assert type(array) is np.ndarray
            assert (array.dtype, array.shape) == (value.dtype, value.shape), key
        else:
            assert type(found[key]) is type(value), key


def test_python_2_pickles_with_byte_strings(tmp_path: Path) -> None:
    content = python2_pickle({b"data": np.full((2, 3), 200, np.uint8), b"labels": [1, 2]})
    found = load_pickle(_write(tmp_path, content))
    assert found["labels"] == [1, 2]
    assert (np.asarray(found["data"]) == 200).all()


class _Call:
    """Pickles as a call of whatever it is given."""

    def __init__(self, *reduced: Any) -> None:
        self._reduced = reduced

    def __reduce__(self) -> Any:
        return self._reduced


def _setstate_with_objects() -> bytes:
    """An array of uint8 whose state says that its bytes are pointers to Python objects."""
    reconstruct, arguments, _state = np.zeros(2, np.uint8).__reduce__()[:3]
    return pickle.dumps(_Call(reconstruct, arguments, (1, (1,), np.dtype(object), False, b"A" * 8)))


def _dtype_state(state: tuple[Any, ...]) -> bytes:
    """A plain dtype that a second step would turn into another."""
    call = _Call(np.dtype, ("V8", False, True), state)
    reconstruct, arguments, _state = np.zeros(1).__reduce__()[:3]
    return pickle.dumps(_Call(reconstruct, arguments, (1, (1,), call, False, b"A" * 8)))


MARKER = "hostile-code-ran"
HOSTILE = {
    "os.system": (pickle.dumps(_Call(os.system, (f"touch {MARKER}",))), "system"),
    "eval": (pickle.dumps(_Call(eval, (f"open({MARKER!r}, 'w')",))), r"builtins\.eval"),
    "protocol 0": (b"cos\nsystem\n(S'touch " + MARKER.encode() + b"'\ntR.", r"os\.system"),
    "INST": (b"(S'touch " + MARKER.encode() + b"'\nios\nsystem\n.", "INST|os.system"),
    "getattr": (
        pickle.dumps(_Call(getattr, (np.asarray(1), "tofile"))),
        r"builtins\.getattr",
    ),
    "dotted name": (
        b"\x80\x04\x8c\x05numpy\x8c\x0cndarray.dump\x93\x8c\x01x\x85R.",
        r"numpy\.ndarray\.dump",
    ),
    "numpy's own door": (
        b"\x80\x02cnumpy.testing._private.utils\nrunstring\n(U\x01xU\x01ytR.",
        "runstring",
    ),
    "numpy.load": (b"\x80\x02cnumpy\nload\n(U\x01xtR.", r"numpy\.load"),
    "object array": (pickle.dumps(np.array([{}], dtype=object)), "dtype 'O8'"),
    "object state": (_setstate_with_objects(), "dtype 'O8'"),
    "fields of objects": (
        _dtype_state((3, "|", None, ("f",), {"f": (np.dtype(object), 0)}, 8, 1, 27)),
        "dtype",
    ),
    "structured": (pickle.dumps(np.zeros(2, [("a", "u1")])), "dtype"),
    "subclass": (pickle.dumps(np.ma.zeros(2)), "refused numpy.ma"),
    "memory map": (
        pickle.dumps(_Call(np.memmap, (MARKER, np.dtype("u1"), "w+", 0, (10**6,)))),
        "memmap",
    ),
    "persistent": (b"\x80\x04\x8c\x01xQ.", "persistent"),
    "set": (pickle.dumps({1, 2}), "EMPTY_SET"),
    "extension": (b"\x80\x02\x82\x01.", "EXT1"),
    "codec": (b"\x80\x02c_codecs\nencode\n(X\x01\x00\x00\x00xX\x03\x00\x00\x00zlbtR.", "zlb"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_pickles_are_refused_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    content, named = HOSTILE[case]
    with pytest.raises(DataError, match=named) as caught:
        load_pickle(_write(tmp_path, content))
    assert str(tmp_path / "data.pkl") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data.pkl"]


def _array_pickle(shape: tuple[int, ...], raw: bytes) -> bytes:
    reconstruct, arguments, _state = np.zeros(1, np.uint8).__reduce__()[:3]
    return pickle.dumps(_Call(reconstruct, arguments, (1, shape, np.dtype("u1"), False, raw)))


GOOD = pickle.dumps(VALUES, protocol=2)
DAMAGED = {
    "empty": b"",
    "text": b"<html>404 not found</html>",
    "cut": GOOD[: len(GOOD) // 2],
    "without its end": GOOD[:-1],
    "zeros": bytes(1000),
    "more shape than bytes": _array_pickle((10**15,), b"abc"),
    "negative shape": _array_pickle((-1, -3), b"abc"),
    "length beyond the file": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 60) + b"x.",
    "memo beyond the file": b"\x80\x02K\x01r" + struct.pack("<I", 1 << 31) + b".",
    "bytearray beyond the file": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"x.",
    "state of a function": b"\x80\x02cnumpy\ndtype\n}U\x04_call" + b"K\x01sb.",
    "stack underflow": b"\x80\x02R.",
    "unhashable key": b"\x80\x02}]K\x01s.",
    "future protocol": b"\x80\xff.",
    "dtype that does not exist": b"\x80\x02cnumpy.core.multiarray\nscalar\n"
    b"(cnumpy\ndtype\n(U\x02u3tRU\x03abctR.",
}


@pytest.mark.parametrize("case", DAMAGED)
def test_damaged_files_are_named(tmp_path: Path, case: str) -> None:
    file = _write(tmp_path, DAMAGED[case])
    with pytest.raises(DataError, match="damaged") as caught:
        load_pickle(file)
    assert str(file) in str(caught.value)


def test_every_cut_and_every_changed_byte_is_an_error_or_a_value(tmp_path: Path) -> None:
    """No content makes the reader raise anything but `DataError`."""
    content = pickle.dumps(VALUES, protocol=2)
    random = np.random.default_rng(0)
    for _ in range(400):
        changed = bytearray(content)
        for place in random.integers(0, len(content), 3):
            changed[place] = random.integers(0, 256)
        try:
            load_pickle(_write(tmp_path, bytes(changed)))
        except DataError:
            continue


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    file = _write(tmp_path, pickle.dumps(b"x" * 1000))
    assert len(load_pickle(file, limit=2000)) == 1000
    with pytest.raises(DataError, match="more than the 500"):
        load_pickle(file, limit=500)


def test_a_small_file_cannot_unpack_to_a_large_one(tmp_path: Path) -> None:
    """One text of 10 kB, encoded 200 times by a few bytes each."""
    stream = io.BytesIO()
    stream.write(b"\x80\x02X" + struct.pack("<I", 10_000) + b"x" * 10_000 + b"q\x010]")
    stream.write(b"c_codecs\nencode\nq\x020" + b"h\x02h\x01\x85Ra" * 200 + b".")
    with pytest.raises(DataError, match="unpacks to far more"):
        load_pickle(_write(tmp_path, stream.getvalue()), limit=20_000)
