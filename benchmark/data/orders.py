"""The order in which classes are learned, from its name or from a user's file."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmark.data.base import DataError, composed
from benchmark.data.listing import read_text
from benchmark.registry import UnknownNameError
from benchmark.spec import SEEDS, SHUFFLES, order_kind
from benchmark.storage import is_file

PART_OF_EVERY_RUN = True  # see engine.provenance


def class_order(order: str, class_names: Sequence[str]) -> list[int]:
    """The natural indices of the classes in the order in which they are learned.

    order: "natural"; "shuffled:SEED", numpy's legacy permutation as InfLoRA, LAMDA-PILOT and most
    published orders use it; "coda:SEED", the order of CODA-Prompt's repeat of that number, from 0
    on; or the path of a text file with one class name a line, in UTF-8 with or without a byte order
    mark. Spaces around a name and the spelling of its accents in Unicode do not matter. `DataError`
    names the line that is no class, and what is missing or listed twice.
    """
    natural = list(range(len(class_names)))
    if order == "natural":
        return natural
    seed = seed_of(order)
    if seed is not None and order_kind(order) == "coda":
        return _coda(natural, seed)
    if seed is not None:
        return [int(c) for c in np.random.RandomState(seed).permutation(len(class_names))]
    path = Path(order)
    if not is_file(path):
        forms = "natural, shuffled:SEED, coda:SEED nor a file"
        raise DataError(f"class order {order!r}: neither {forms}")
    found = _read(path, class_names)
    missing = sorted(set(range(len(class_names))) - set(found))
    if missing or len(found) != len(class_names):
        fault = "a class is listed twice"
        if missing:
            fault = f"class {class_names[missing[0]]!r} is missing"
        raise DataError(f"{path}: {fault}; every class must be listed once")
    return found


def seed_of(order: str) -> int | None:
    """The seed of `shuffled:SEED` or `coda:SEED`; None where the order is of another kind."""
    found = re.fullmatch(rf"(?:{'|'.join(SHUFFLES)}):0*([0-9]+)", order)
    if found is None:
        return None
    if len(found[1]) > len(str(SEEDS[-1])) or int(found[1]) not in SEEDS:
        raise DataError(f"the seed of {order} must be from 0 to {SEEDS[-1]}")
    return int(found[1])


def _coda(natural: list[int], seed: int) -> list[int]:
    """Python's shuffle by the seed; the first repeat of CODA-Prompt, 0, is not shuffled."""
    if seed:
        random.Random(seed).shuffle(natural)
    return natural


def _read(path: Path, class_names: Sequence[str]) -> list[int]:
    """The index of the class in every line; of two that differ in outer spaces the exact one."""
    exact = {name: index for index, name in enumerate(class_names)}
    alike: dict[str, list[int]] = defaultdict(list)
    for index, name in enumerate(class_names):
        alike[composed(name.strip())].append(index)
    found = []
    for number, line in enumerate(re.split(r"\r\n|\r|\n", read_text(path)), start=1):
        name = composed(line.strip())
        if not name:
            continue
        if line in exact:
            found.append(exact[line])
            continue
        near = alike.get(name, [])
        if not near:
            raise DataError(
                f"{path}, line {number}: {UnknownNameError('class', name, class_names)}"
            )
        if len(near) > 1:
            names = " and ".join(repr(class_names[index]) for index in near)
            raise DataError(f"{path}, line {number}: {line!r} may be {names}")
        found.append(near[0])
    return found
