"""What a transfer tells while it goes on: plain values for whoever shows progress."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Step:
    """How far one file is: `done` of `total` bytes; total 0 while it is not known.

    The last step of a file has done == total.
    """

    action: Literal["fetch", "check", "unpack"]
    name: str
    done: int
    total: int


@dataclass(frozen=True)
class Note:
    """A line for the user: a broken connection, another process that is waited for."""

    text: str


Watch = Callable[[Step | Note], None]


def ignore(event: Step | Note) -> None:
    """A `Watch` that shows nothing."""
