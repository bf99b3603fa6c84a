"""Numbers and descriptions as text, the same in every table and figure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.words import inflected, plural

if TYPE_CHECKING:
    from benchmark.results.schema import ResultError


LONGEST_NAME = 100  # characters of a file's name without its ending


def number(value: float, decimals: int) -> str:
    """Fixed point with commas between thousands; an exact zero without decimals' noise of sign."""
    return f"{value + 0.0:,.{decimals}f}" if value else f"{0:.{decimals}f}"


def task_text(tasks: Sequence[int]) -> str:
    """`10 tasks of 10 classes`, or for uneven splits `6 tasks of 50 + 5 x 10 classes`."""
    parts = [(size, len(list(group))) for size, group in groupby(tasks)]
    sizes = " + ".join(f"{n} x {size}" if n > 1 else str(size) for size, n in parts)
    if len(parts) == 1:
        sizes = str(parts[0][0])
    count = len(tasks)
    return f"{plural(count, 'task')} of {sizes} {'class' if sizes == '1' else 'classes'}"


def setting_text(value: Any) -> str:
    """A setting's value as short as it can be said: `0.0005`, `sgd`, `[0.9, 0.999]`."""
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, list) and all(isinstance(item, float) for item in value):
        return f"[{', '.join(map(setting_text, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def file_name(text: str) -> str:
    """`text` as the stem of a file name: letters, digits, `-`, `_` and `.`, not too long.

    One that is cut ends with digits of the whole, so that two long texts stay two names.
    """
    name = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in text)
    if len(name) <= LONGEST_NAME:
        return name
    digits = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9]}-{digits}"


def listing(values: Sequence[object]) -> str:
    """`0, 1, 2`."""
    return ", ".join(map(str, values))


def pairs(values: Mapping[str, Any]) -> str:
    """`rank 10, betas [0.9, 0.999]`: names with their values as JSON."""
    return ", ".join(
        f"{name} {value if isinstance(value, str) else json.dumps(value)}"
        for name, value in values.items()
    )


def block_text(block: Mapping[str, Any] | str) -> str:
    """`scale [0.08, 1], flip 0.5`: a block of settings as short as it can be said, or a word."""
    if isinstance(block, str):
        return block
    return ", ".join(f"{name} {setting_text(value)}" for name, value in block.items())


def seed_text(seeds: Sequence[int]) -> str:
    """`seed 0` or `seeds 0, 2`."""
    return f"{inflected(len(seeds), 'seed')} {listing(seeds)}"


def left_out(problems: Iterable[ResultError]) -> list[str]:
    """Files that could not be used, those of one reason together."""
    files: dict[str, list[Path]] = {}
    for problem in problems:
        files.setdefault(problem.reason, []).append(problem.file)
    return [
        f"left out: {first}{f' and {len(others)} more' if others else ''}: {reason}"
        for reason, (first, *others) in files.items()
    ]
