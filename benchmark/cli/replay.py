"""`clbench replay`: recorded cases, fed to our methods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.cli.console import say, say_table, warn
from benchmark.cli.options import argument, command, option

if TYPE_CHECKING:
    from benchmark.workshop.replay.run import Replay


@dataclass(frozen=True, kw_only=True)
class ReplayOptions:
    """Options of `clbench replay`."""

    files: list[Path] = argument(Path, "FILE.npz", "recorded cases", nargs="+")
    tolerance: float = option(
        float, "X", "largest absolute error that passes; default: 1e-8", default=1e-8
    )


@command(
    "replay",
    ReplayOptions,
    "feed recorded cases to the methods and print the largest absolute error of every array",
    "clbench replay golden/inflora/*.npz",
)
def replay(options: ReplayOptions) -> int:
    """Compare every array of every file; 1 when one lies further off than the tolerance."""
    from benchmark.workshop.replay.case import ReplayError
    from benchmark.workshop.replay.run import replay as replay_file

    failed, unreadable = [], 0
    for file in options.files:
        try:
            outcome = replay_file(file, options.tolerance)
        except ReplayError as error:  # the other files are still worth comparing
            warn(f"clbench: error: {error}")
            unreadable += 1
            continue
        _show(outcome)
        if not outcome.ok:
            failed.append(outcome)
    passed = len(options.files) - len(failed) - unreadable
    say(f"{passed} of {len(options.files)} files within {options.tolerance:g}")
    for outcome in failed:
        wrong = [line.name for line in outcome.results if not line.ok]
        warn(f"{outcome.file}: {', '.join(wrong) or 'nothing could be compared'}")
    return 2 if unreadable else 1 if failed else 0


def _show(outcome: Replay) -> None:
    verdict = "ok" if outcome.ok else "NOT OK"
    say(f"{outcome.file} ({outcome.kind}): {verdict}, largest error {outcome.error:.3g}")
    say_table(
        (
            f"  {line.name}",
            "-" if line.error is None else f"{line.error:.3g}",
            f"{line.status}: {line.note}" if line.note else line.status,
        )
        for line in outcome.results
    )
