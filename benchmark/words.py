"""Quantities as a reader says them: durations, sizes and counts; and names that can be shown."""

from __future__ import annotations

import re

TIME_UNITS = (("s", 1.0), ("min", 60.0), ("h", 3600.0))
# Control characters, and those that turn the direction of a line.
_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SIZE_UNITS = ("bytes", "kB", "MB", "GB", "TB")


def time_unit(longest: float) -> tuple[str, float]:
    """The unit that suits times of up to `longest` seconds, and how many seconds it has."""
    return next((unit for unit in reversed(TIME_UNITS) if longest >= 2 * unit[1]), TIME_UNITS[0])


def duration(seconds: float) -> str:
    """A duration, such as `48 s`, `3 min 20 s`, `2 h 05 min` or `12 days`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    if whole < 3 * 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
    return f"{whole / 86_400:,.0f} days"


def size(count: float) -> str:
    """A number of bytes, such as `512 bytes` or `1.3 GB`."""
    amount, units = float(count), list(_SIZE_UNITS)
    while amount >= 999.95 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{amount:.0f} bytes" if units[0] == "bytes" else f"{amount:.1f} {units[0]}"


def plural(count: int, noun: str, nouns: str = "") -> str:
    """A count and its noun: `1 run`, `3 runs`; `nouns` where an s at the end is not enough."""
    return f"{count} {inflected(count, noun, nouns)}"


def inflected(count: int, noun: str, nouns: str = "") -> str:
    """The noun alone as `count` of it are called: `seed`, `seeds`."""
    return noun if count == 1 else nouns or f"{noun}s"


def visible(text: str) -> str:
    """`text` with control characters made visible, so that no name commands a terminal."""
    return _COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
