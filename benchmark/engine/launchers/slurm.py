"""Runs as a Slurm job array."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from benchmark.engine.launchers import LAUNCHERS, LaunchError, Output, Work
from benchmark.storage import write_atomically


@LAUNCHERS.register("slurm")
def submit_to_slurm(work: Sequence[Work], results: Path, output: Output) -> None:
    """Submit a Slurm array with one task for each run; its script is kept with the results."""
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise LaunchError(
            "--launcher slurm needs the program sbatch, which is not on the PATH: use it on a "
            "Slurm login node, or --launcher print and hand the commands over yourself"
        )
    commands = [command for suite in work for command in suite.commands]
    if not commands:
        output.say("nothing to submit: every run is done")
        return
    folder = results.resolve() / "launch" / datetime.now().strftime("%Y%m%d-%H%M%S-%f")
    script = folder / "array.sh"
    write_atomically(script, array_script(commands, folder).encode())
    done = subprocess.run([sbatch, str(script)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise LaunchError(f"sbatch refused {script}: {done.stderr.strip() or done.stdout.strip()}")
    output.say(f"{done.stdout.strip()}; script: {script}")
    output.say(f"when the runs have ended: clbench report --results {results}")


def array_script(commands: Sequence[str], folder: Path) -> str:
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
