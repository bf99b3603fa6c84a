"""Where runs are carried out: here, as a Slurm array, or by hand; one file a launcher.

A launcher is a function under `@LAUNCHERS.register("name")`, in a file of this folder, an installed
package (entry-point group `clbench.launchers`) or a plug-in file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from benchmark.events import ProgressSink
from benchmark.registry import Registry

if TYPE_CHECKING:  # they import torch, which takes seconds
    from benchmark.engine.plan import PlannedRun
    from benchmark.engine.pool import ExecutionSettings


class LaunchError(ValueError):
    """Runs that cannot be handed over."""


@dataclass(frozen=True)
class Work:
    """The runs asked of one suite.

    Attributes:
        suite: Name of the suite.
        runs: All runs; the open ones are to be carried out.
        settings: How they are carried out.
        commands: A shell command for each open run, which does all that is needed.
    """

    suite: str
    runs: Sequence[PlannedRun]
    settings: ExecutionSettings
    commands: Sequence[str]


class Output(Protocol):
    """What a launcher shows."""

    def say(self, text: str = "") -> None:
        """Print a line."""

    def run_progress(self, total: int) -> AbstractContextManager[ProgressSink]:
        """Show the progress of `total` runs inside the block."""


Launcher = Callable[[Sequence[Work], Path, Output], Sequence[str] | None]
"""Takes the work, the results folder and the output. Gives labels of the runs that failed, or None
where the runs have only been handed over."""

LAUNCHERS: Registry[Launcher] = Registry(
    "launcher",
    variable="LAUNCHERS",
    package="benchmark.engine.launchers",
    group="clbench.launchers",
)
