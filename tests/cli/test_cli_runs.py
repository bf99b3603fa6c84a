"""Real runs through the command line, on the embedded data set and backbone."""

from __future__ import annotations

import os
import re
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark.cli import main

ROOT = Path(__file__).resolve().parents[2]
# The cheapest comparison there is: nothing is trained, the features are read once.
QUICK = ["--suite", "icons", "--method", "ncm", "--tasks", "2", "--jobs", "1", "--threads", "1"]

FAILING = '''
"""One method."""
from benchmark import Method, register


@register("failing")
class Failing(Method):
    """Cannot train."""

    def loss(self, batch, task):
        raise RuntimeError("no loss today")
'''


def table(shown: str) -> str:
    """The printed table alone."""
    return shown[shown.index("\nicons, ") : shown.index("\nruns in ")]


@pytest.mark.slow
def test_a_run_prints_the_table_and_a_second_one_trains_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["run", *QUICK]) == 0
    first = capsys.readouterr().out
    assert "suite icons: 1 run, 0 done, 1 to do" in first
    assert "[1/1] ncm on icons/2, tiny_sup, seed 0: done, final accuracy " in first
    assert re.search(r"^ncm ", table(first), flags=re.MULTILINE)
    ((count, kinds, folder),) = re.findall(r"^(\d+) files of figures \((.*)\): (.*)$", first, re.M)
    assert {"pdf", "png"} <= set(kinds.split(", "))
    files = [file for kind in kinds.split(", ") for file in Path(folder).glob(f"*.{kind}")]
    assert len(files) == int(count) > 0
    (page,) = re.findall(r"^page with everything: (.*)$", first, re.M)
    assert Path(page).is_file()
    assert "\x1b" not in first

    (folder,) = Path("results/runs").iterdir()
    for left in ("checkpoint.pt", ".result.json.1-0.tmp"):  # by a kill after the result was there
        (folder / left).write_bytes(b"left")

    assert main(["run", *QUICK]) == 0
    second = capsys.readouterr().out
    assert "1 done, 0 to do" in second
    assert {file.name for file in folder.iterdir()} == {".lock", "result.json", "predictions.npz"}
    assert "[1/1]" not in second
    assert table(second) == table(first)

    assert main(["report"]) == 0
    assert table(capsys.readouterr().out) == table(first)
    assert main(["plan", *QUICK]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  ncm on icons/2, tiny_sup, seed 0  done",
        "nothing to do",
    ]
    assert main(["plan", *QUICK, "--seeds", "0,1"]) == 0
    assert re.search(r"about \d+ s with 1 at a time, up to [\d.]+ [MG]B", capsys.readouterr().out)


@pytest.mark.slow
def test_a_run_that_fails_stops_no_other_and_exits_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "failing.py").write_text(FAILING)
    words = ["run", *QUICK, "--method", "failing,ncm", "--plugin", "failing.py"]
    assert main(words) == 1
    shown = capsys.readouterr()
    assert "failed: failing on icons/2, tiny_sup, seed 0" in shown.err
    assert "no loss today" in shown.out
    assert re.search(r"^ncm ", table(shown.out), flags=re.MULTILINE)
    assert "Traceback" not in shown.out + shown.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--backbone", "file:nowhere.safetensors"], "nowhere.safetensors"),
        (["--backbone", "file:damaged.safetensors"], "damaged.safetensors"),
        (["--results", "damaged.safetensors"], "damaged.safetensors"),
        (["--results", "/proc/nowhere"], "/proc/nowhere"),
        (["--launcher", "slurm"], "sbatch, which is not on the PATH"),
    ],
)
def test_missing_and_damaged_input_is_one_message(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    (tmp_path / "damaged.safetensors").write_bytes(b"nonsense" * 100)
    assert main(["run", *QUICK, *options]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert shown.startswith("clbench: error: ")
    assert len(shown.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["damaged.safetensors"]


@pytest.mark.slow
def test_each_missing_run_becomes_a_command_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["run", *QUICK, "--seeds", "0,1", "--set", "settings.distance=cosine"]
    assert main([*words, "--launcher", "print"]) == 0
    commands = capsys.readouterr().out.splitlines()
    assert len(commands) == 2
    assert all("--set settings.distance=cosine" in command for command in commands)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run(["bash", "-c", commands[1]], check=True, env=environment, cwd="/")
    assert main(["plan", *words[1:]]) == 0
    assert "2 runs, 1 done, 1 to do" in capsys.readouterr().out

    sbatch = tmp_path / "bin" / "sbatch"
    sbatch.parent.mkdir()
    sbatch.write_text('#!/bin/sh\necho "Submitted batch job 7"\n')
    sbatch.chmod(sbatch.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{sbatch.parent}{os.pathsep}{os.environ['PATH']}")
    assert main([*words, "--launcher", "slurm"]) == 0
    assert "Submitted batch job 7; script: " in capsys.readouterr().out
    (script,) = (tmp_path / "results" / "launch").glob("*/array.sh")
    assert "#SBATCH --array=0-0" in script.read_text()


def _as_from_a_terminal() -> None:
    """Take back what a parent such as nohup or a background job had its children ignore."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "to"),  # as Ctrl-C, kill and a closed terminal send them
    [(signal.SIGINT, "group"), (signal.SIGTERM, "process"), (signal.SIGHUP, "group")],
)
def test_an_interruption_ends_all_processes_quietly(
    tmp_path: Path, number: signal.Signals, to: str
) -> None:
    command = [sys.executable, "-m", "benchmark", "run", "--method", "sequential,seq_lora"]
    process = subprocess.Popen(
        [*command, "--jobs", "2", "--set", "training.epochs=1000", "--checkpoint-every", "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        preexec_fn=_as_from_a_terminal,
    )
    try:
        deadline = time.monotonic() + 120
        while len(saved := list(tmp_path.glob("results/runs/*/checkpoint.pt"))) < 2:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        signalled = time.time()
        (os.killpg if to == "group" else os.kill)(process.pid, number)
        shown, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    # One that was being saved at this moment is not saved again.
    assert all(file.stat().st_mtime > signalled - 0.2 for file in saved)
    deadline = time.monotonic() + 10
    with pytest.raises(ProcessLookupError):  # nobody is left of the session
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
    assert "interrupted. Finished runs are kept" in shown
    assert "Traceback" not in shown
