"""Hashes of weights, and a memory of what was read: a plan need not read hundreds of megabytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter
from safetensors import deserialize

from benchmark.backbones.catalogue import BackboneSpec, Layers, WeightFacts
from benchmark.backbones.places import state_of, weights_folder
from benchmark.storage import write_atomically

SMALL = 16_000_000  # bytes up to which reading a file again is cheap
READING = 3  # raised when the same file would give other tensors than before

_FACTS = TypeAdapter(WeightFacts)
_STORED = {"F32": "<f4", "BF16": "<u2"}  # how numpy reads the bytes of a type


def hash_tensors(tensors: Mapping[str, NDArray[np.generic]]) -> str:
    """Return the SHA-256 over name, type, shape and bytes of every tensor, in order of name."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = np.ascontiguousarray(tensors[name])
        digest.update(f"{name}\0{array.dtype.name}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def with_heads(tensor_hash: str, heads: int, layers: Layers = Layers()) -> str:  # noqa: B008 - frozen
    """Return the hash of tensors that are used with heads and layers which no shape tells."""
    text = f"{tensor_hash} heads={heads}"
    if layers.activation != Layers().activation and not layers.gated:
        text += f" activation={layers.activation}"
    if layers.epsilon != Layers().epsilon:
        text += f" epsilon={layers.epsilon:g}"
    return hashlib.sha256(text.encode()).hexdigest()


def read_safetensors(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the float32 and bfloat16 tensors of a safetensors file as float32, without torch.

    Every bfloat16 number is a float32 number, so nothing is rounded. Raises `SafetensorError` for a
    damaged file and `KeyError` for another type.
    """
    tensors = {}
    for name, stored in deserialize(path.read_bytes()):  # type: ignore[no-untyped-call]
        raw = np.frombuffer(stored["data"], _STORED[stored["dtype"]])
        # The upper half of a float32 is the bfloat16 number: sign, exponent and 7 bits.
        value = (raw.astype("<u4") << 16).view("<f4") if stored["dtype"] == "BF16" else raw
        tensors[name] = value.reshape(stored["shape"]).astype(np.float32, copy=False)
    return tensors


def note_of(file: Path, spec: BackboneSpec) -> Path | None:
    """Return where the facts of a large weight file are kept; None for a small one.

    The name of the note changes with the content of the file and with what it is read as. The time
    of the last change of the directory entry (ctime) tells files apart that were copied over each
    other with size and date preserved.
    """
    state = state_of(file)
    if file.stat().st_size <= SMALL:
        return None
    shape = None if spec.shape is None else asdict(spec.shape)
    use = [READING, version("timm"), spec.timm_name, shape, spec.heads]
    name = hashlib.sha256(json.dumps([str(file.resolve()), state, use]).encode()).hexdigest()[:32]
    return weights_folder() / ".hashes" / f"{name}.json"


def remembered(note: Path | None) -> WeightFacts | None:
    """Return the facts in a note; None where there is none or it is damaged."""
    if note is None:
        return None
    try:
        return _FACTS.validate_json(note.read_bytes())
    except (OSError, ValueError):
        return None


def remember(note: Path | None, facts: WeightFacts) -> None:
    """Keep facts for later processes; a folder that cannot be written only costs time."""
    if note is not None and remembered(note) != facts:
        with suppress(OSError):
            write_atomically(note, _FACTS.dump_json(facts), durable=False)
