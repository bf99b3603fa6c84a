"""Runs by hand: their commands are printed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmark.engine.launchers import LAUNCHERS, Output, Work


@LAUNCHERS.register("print")
def print_commands(work: Sequence[Work], results: Path, output: Output) -> None:
    """Print one command for each run, complete in itself."""
    for suite in work:
        for command in suite.commands:
            output.say(command)
