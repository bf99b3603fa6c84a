"""Where runs are carried out other than here: commands to print, or a Slurm array."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from benchmark.registry import Registry
from benchmark.storage import write_atomically

Say = Callable[[str], None]
Launcher = Callable[[list[str], Path, Say], int]
LAUNCHERS: Registry[Launcher] = Registry(
    "launcher",
    variable="LAUNCHERS",
    package="benchmark.engine.launchers",
    group="clbench.launchers",
)


class LaunchError(ValueError):
    """Runs that cannot be handed over."""


def print_commands(commands: list[str], results: Path, say: Say) -> int:
    """One command per run on standard output, each complete in itself."""
    for command in commands:
        say(command)
    return 0


def submit_to_slurm(commands: list[str], results: Path, say: Say) -> int:
    """Write an array script under the results folder and submit it: one array task per run."""
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise LaunchError(
            "--launcher slurm needs the program sbatch, which is not on the PATH: use it on a "
            "Slurm login node, or --launcher print and hand the commands over yourself"
        )
    if not commands:
        say("nothing to submit: every run asked for is done")
        return 0
    folder = results.resolve() / "launch" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    script = folder / "array.sh"
    write_atomically(script, array_script(commands, folder).encode())
    done = subprocess.run([sbatch, str(script)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LaunchError(f"sbatch refused {script}: {done.stderr.strip() or done.stdout.strip()}")
    say(f"{done.stdout.strip()}; script: {script}")
    say(f"when the runs have ended: clbench report --results {results}")
    return 0


def array_script(commands: list[str], folder: Path) -> str:
    """A bash script whose n-th array task carries out the n-th command."""
    cases = "\n".join(f"{index}) {command} ;;" for index, command in enumerate(commands))
    return f"""#!/usr/bin/env bash
#SBATCH --job-name=clbench
#SBATCH --array=0-{len(commands) - 1}
#SBATCH --output={folder}/%a.log
# Add what your cluster asks for (partition, time, GPUs) here, or through SBATCH_* variables.
set -euo pipefail
case "$SLURM_ARRAY_TASK_ID" in
{cases}
esac
"""


LAUNCHERS.add("print", print_commands)
LAUNCHERS.add("slurm", submit_to_slurm)
